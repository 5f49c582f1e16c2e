//! Runs an engine and serves it.
//!
//! [`engine`] is the engine itself, tokens in and tokens out, with the embedded transformer
//! engine as the default implementation. [`serve`] publishes any engine as a worker, [`launch`]
//! goes from a model directory to a worker that serves.
//!
//! This crate must not know who calls it: requests come over the request plane, in wire form.

mod component_metrics;
pub mod engine;
pub mod launch;
mod load_report;
pub mod metrics;
mod registration;
pub mod serve;
mod spans;

pub use component_metrics::ComponentMetrics;
pub use launch::{LaunchError, Worker, WorkerOptions};
pub use serve::{Planes, RunningWorker, WorkerRole};
pub use tandem_kv_cache::tier::{DiskConfig, TierConfig};
