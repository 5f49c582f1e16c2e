//! Serves the OpenAI API by routing tokenized requests to workers.
//!
//! Life of a request: `server` (routes) -> `handlers` (parse) -> `preprocess` (template, tokenize)
//! -> `generation` (prefill leg, decode leg; `worker_pool` chooses) -> `choice` (tokens to text)
//! -> `respond` and `answer` (JSON or server-sent events).
//!
//! Everything is a stream inside; a whole answer is a stream that was folded at the edge. This
//! crate must not know how an engine works, nor what a routing decision by meaning is.

mod answer;
mod busy;
mod choice;
pub mod config;
mod error;
mod generation;
mod handlers;
mod joined_prefill;
mod kv_feed;
mod load;
mod metrics;
mod model_registry;
mod picker;
mod prefill_cost;
mod prefill_policy;
mod preprocess;
mod quarantine;
mod replica_sync;
mod respond;
mod served_prefixes;
mod server;
mod server_pool;
mod spans;
mod worker_pool;

pub use answer::Form;
pub use config::{FrontendArgs, RoutingArgs};
pub use error::FrontendError;
pub use picker::{PickRequest, Picked, Picker};
pub use server::{Frontend, Planes};
