//! Applies the semantic router to live traffic.
//!
//! [`Gateway`] is an embedded reverse proxy: clients talk to it as they would to Envoy with the
//! router behind it. It asks [`tandem_semantic_router::Router`] what should happen to a request
//! and does just that.
//!
//! This crate must not know how a request is decided; it is the only one that knows Envoy.

mod headers;
mod metrics;
mod proxy;
mod route;
mod usage;

pub use metrics::GatewayMetrics;
pub use proxy::{Gateway, GatewayError, GatewayOptions};
