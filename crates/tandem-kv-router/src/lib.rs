//! Which worker should get these tokens.
//!
//! [`KvRouter`] joins four parts: the index knows which prefix each worker has cached, the load
//! knows what each worker is busy with, the cost weighs the two, and the selection picks.
//! Everything is synchronous and pure: the caller passes the time and the random number generator
//! in, delivers events and acts on the choice.
//!
//! This crate must not know about discovery, transports or engines.

mod router;

mod config;
mod request;
mod selection;

mod cost;
mod index;
mod load;
mod select;
mod worker;

pub use config::{IndexConfig, RouterConfig, RouterMode, TierWeights};
pub use cost::{Cost, CostModel};
pub use index::{ApplyError, ApproximateConfig, EventCounts, Overlap, Overlaps, RadixIndex};
pub use load::WorkerLoad;
pub use request::{Prompt, SelectRequest};
pub use router::KvRouter;
pub use selection::{Score, Selection};
pub use worker::{Worker, WorkerCandidate};
