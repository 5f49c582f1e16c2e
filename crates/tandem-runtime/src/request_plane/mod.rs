//! One request to one instance, and a stream of answers back.

mod memory;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::component::{EndpointId, Instance, Transport};

pub use memory::MemoryRequestPlane;

/// Answers of a call. Dropping it cancels the work on the other side.
pub type Responses = BoxStream<'static, Result<Bytes, CallError>>;

/// Carries requests to instances.
pub trait RequestPlane: Send + Sync {
    /// Lets `handler` answer the requests to one instance until the result is dropped.
    fn serve<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        instance_id: u64,
        handler: std::sync::Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<ServedEndpoint, CallError>>;

    /// Sends `request` to `instance`.
    fn call<'a>(
        &'a self,
        instance: &'a Instance,
        request_id: &'a str,
        request: Bytes,
    ) -> BoxFuture<'a, Result<Responses, CallError>>;
}

/// Answers requests on the serving side.
pub trait Handler: Send + Sync {
    /// Starts the work for one request. The stream is dropped when the caller goes away.
    fn handle(&self, request_id: &str, request: Bytes) -> BoxStream<'static, Bytes>;
}

/// An endpoint that takes requests as long as this value lives.
///
/// Dropping it refuses new requests and cuts the running ones, as a killed process would; to let
/// them finish, call [`ServedEndpoint::drain`] first.
#[derive(Debug)]
pub struct ServedEndpoint {
    transport: Transport,
    closing: CancellationToken,
    in_flight: tokio_util::task::TaskTracker,
    cut: tokio_util::sync::DropGuard,
}

impl ServedEndpoint {
    /// How callers reach it.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Refuses new requests and waits for the running ones.
    pub async fn drain(self) {
        self.closing.cancel();
        self.in_flight.close();
        self.in_flight.wait().await;
        drop(self.cut);
    }
}

/// Why a call has no answer, or no further answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody serves the instance; another instance may be tried.
    #[error("instance {instance_id:x} does not respond")]
    Unreachable {
        /// The instance.
        instance_id: u64,
    },
    /// The instance went away in the middle of an answer.
    #[error("the stream ended before the answer was complete")]
    StreamEnded,
}
