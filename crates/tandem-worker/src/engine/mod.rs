//! One trait for every engine: tokens in, tokens out.

pub mod embedded;
mod error;
mod load;
pub mod mock;
mod offloading;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tandem_kv_cache::KvEventSubscription;
use tandem_protocol::engine::{EngineOutput, EngineRequest};

pub use error::EngineError;
pub use load::{EngineCounters, EngineInfo, EngineLoad};
pub use offloading::offloading_connector_config;

/// Runs a model.
///
/// Every stream ends with an output that has a finish reason; a failure is
/// [`FinishReason::Error`](tandem_protocol::engine::FinishReason::Error). One that ends without
/// says that the engine is gone: another worker may go on from there. Dropping a stream aborts its
/// request within one step.
pub trait Engine: Send + Sync {
    /// Whether the request would be taken now, for callers that want the reason as a type.
    /// [`submit`](Self::submit) checks again.
    fn check(&self, _request: &EngineRequest) -> Result<(), EngineError> {
        Ok(())
    }

    /// Starts a request. With `disaggregated_params`, the prompt's KV blocks are fetched from the
    /// prefill worker that they name; if that fails, the prompt is computed here.
    fn submit(&self, request: EngineRequest) -> BoxStream<'static, EngineOutput>;

    /// Computes the prompt and its first token only. The one output carries
    /// `disaggregated_params` for the decode worker's [`submit`](Self::submit), unless the engine
    /// does not transfer blocks.
    fn submit_prefill(&self, request: EngineRequest) -> BoxStream<'static, EngineOutput> {
        self.submit(request)
    }

    /// What became reusable and what ceased to be: a snapshot first, then live.
    fn subscribe_kv_events(&self) -> KvEventSubscription;

    /// How busy the engine is.
    fn load(&self) -> EngineLoad;

    /// Waits until the engine is gone: it was dropped, or has failed for good.
    fn gone(&self) -> BoxFuture<'static, ()>;

    /// What does not change while the engine runs.
    fn info(&self) -> &EngineInfo;
}
