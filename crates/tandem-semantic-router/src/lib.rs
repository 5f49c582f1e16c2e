//! Decides what happens to a request: which model serves it, what is added to it, or why it is
//! refused.
//!
//! [`Router::route`] is the one function that decides; a transport (ExtProc, the embedded proxy)
//! applies the [`Routing`] that it returns. A request goes through, in this order: signals (facts
//! about the text), decisions (boolean logic over the facts), security policies, selection (which
//! of a decision's models), plugins (edits of the request) and the cache (answers that were given
//! before).
//!
//! This crate must not know Envoy, HTTP libraries, or how a classifier works. Its only IO is that of
//! the stores in which processes share answers (`cache/`).

mod answer;
mod apply;
mod cache;
pub mod config;
mod decision;
mod edit_distance;
mod events;
mod explain;
mod header;
mod load_view;
mod models;
mod pipeline;
mod plugin;
mod redact;
mod request;
mod respond;
mod routing;
mod security;
mod selection;
mod signal;
mod spans;
mod statistics;
pub mod testing;
mod tools;

pub use answer::{AnswerFindings, AnswerScan, AnswerScanner};
pub use cache::{
    CacheControl, CacheKey, CacheStatistics, InvalidateError, OperationStatistics, Recording,
    RemoteStatistics, ResponseCache, Selector,
};
pub use config::{ConfigError, Loaded, Migrated, Problem, RouterConfig};
pub use decision::{Facts, Match, decide};
pub use explain::{
    CacheOutcome, Explanation, FirstTokenPrediction, MatchedDecision, PiiFinding, ReasonCode,
    Reasoning, SignalReading, Timings,
};
pub use load_view::{LoadView, LoadViews};
pub use models::{ListedModel, ListedModels};
pub use pipeline::{Parts, Router};
pub use request::{Client, Endpoint, RouteRequest};
pub use routing::{
    Block, Forward, HeaderEdits, ImmediateResponse, Rejection, Replay, Routed, Routing,
};
pub use signal::{CallError, ChatCall, LanguageModels};
pub use statistics::ModelStatistics;
pub use tools::ToolsError;
