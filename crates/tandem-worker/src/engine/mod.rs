//! One trait for every engine: tokens in, tokens out.

pub mod embedded;
mod error;
pub mod external;
mod load;
mod lora;
pub mod mock;
mod offloading;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tandem_kv_cache::KvEventSubscription;
use tandem_protocol::engine::{EngineOutput, EngineRequest};
use tokio::sync::watch;

pub use error::EngineError;
pub use load::{EngineCounters, EngineInfo, EngineLoad};
pub use lora::LoraModule;
pub use offloading::offloading_connector_config;

/// The answer to a request, as it comes.
///
/// It ends with an output that has a finish reason, or with an error. One that ends without either
/// says that the engine is gone: another worker may go on from there. Dropping it aborts the
/// request within one step.
pub type Outputs = BoxStream<'static, Result<EngineOutput, EngineError>>;

/// Runs a model.
pub trait Engine: Send + Sync {
    /// Whether the request would be taken now, for callers that want to know before they wait.
    /// [`submit`](Self::submit) checks again.
    fn check(&self, _request: &EngineRequest) -> Result<(), EngineError> {
        Ok(())
    }

    /// Starts a request. With `disaggregated_params`, the prompt's KV blocks are fetched from the
    /// prefill worker that they name; if that fails, the prompt is computed here.
    fn submit(&self, request: EngineRequest) -> Outputs;

    /// Computes the prompt and its first token only. The one output carries
    /// `disaggregated_params` for the decode worker's [`submit`](Self::submit), unless the engine
    /// does not transfer blocks.
    fn submit_prefill(&self, request: EngineRequest) -> Outputs {
        self.submit(request)
    }

    /// What became reusable and what ceased to be: a snapshot first, then live.
    fn subscribe_kv_events(&self) -> KvEventSubscription;

    /// How busy the engine is.
    fn load(&self) -> EngineLoad;

    /// How busy each of its data-parallel ranks is, from rank 0 on.
    fn loads(&self) -> Vec<EngineLoad> {
        vec![self.load()]
    }

    /// Whether the engine takes requests: one that is being started again does not, and its worker
    /// is not registered meanwhile. Without a sender, that does not change.
    fn available(&self) -> watch::Receiver<bool> {
        watch::channel(true).1
    }

    /// Waits until the engine is gone for good: it was dropped, or has failed and will not be
    /// started again.
    fn gone(&self) -> BoxFuture<'static, ()>;

    /// Ends what belongs to the engine outside of this process. Requests are over by then.
    fn stop(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What does not change while the engine runs.
    fn info(&self) -> &EngineInfo;
}
