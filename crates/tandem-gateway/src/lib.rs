//! Applies the semantic router to live traffic.
//!
//! [`ExtProc`] answers Envoy's external processing filter, and with an [`EndpointPicker`] it also
//! says which endpoint serves a request. [`Gateway`] is an embedded reverse
//! proxy: clients talk to it as they would to Envoy with the router behind it. Each asks [`tandem_semantic_router::Router`] what should happen to a request
//! and does just that.
//!
//! [`Api`] answers questions about texts without routing them.
//!
//! This crate must not know how a request is decided; it is the only one that knows Envoy.

mod admin;
mod api;
mod cache_metrics;
mod extproc;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod headers;
mod language_models;
mod load_poller;
mod metrics;
mod proxy;
mod route;
mod trace;
mod usage;
mod watch;

pub use admin::metrics_routes;
pub use api::{Api, ApiOptions};
pub use cache_metrics::register_cache;
pub use extproc::{
    Assignment, EndpointPicker, EndpointSubset, ExtProc, ExtProcError, ExtProcOptions, Pick,
    PickError, TlsIdentity,
};
pub use language_models::HttpLanguageModels;
pub use load_poller::LoadPoller;
pub use metrics::GatewayMetrics;
pub use proxy::{Gateway, GatewayError, GatewayOptions, GatewayParts};
