//! Applies the semantic router to live traffic.
//!
//! [`ExtProc`] answers Envoy's external processing filter. [`Gateway`] is an embedded reverse proxy: clients talk to it as they would to Envoy with the
//! router behind it. It asks [`tandem_semantic_router::Router`] what should happen to a request
//! and does just that.
//!
//! This crate must not know how a request is decided; it is the only one that knows Envoy.

mod extproc;
mod headers;
mod language_models;
mod metrics;
mod proxy;
mod route;
mod usage;
mod watch;

pub use extproc::{ExtProc, ExtProcError, ExtProcOptions};
pub use language_models::HttpLanguageModels;
pub use metrics::GatewayMetrics;
pub use proxy::{Gateway, GatewayError, GatewayOptions};
