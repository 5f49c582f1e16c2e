//! One request to one instance, and a stream of answers back.

mod answers;
mod connection;
mod dial_back;
mod direct;
mod memory;
mod net;
mod network;
mod request;
mod serving;
mod two_part;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::component::{EndpointId, Instance, TcpAddress, Transport};

pub use memory::MemoryRequestPlane;
pub use network::{NetworkOptions, NetworkRequestPlane, Preference, reachable_host};
pub use request::{Encoding, Request};

/// Answers of a call. Dropping it cancels the work on the other side.
pub type Responses = BoxStream<'static, Result<Bytes, CallError>>;

/// Carries requests to instances.
pub trait RequestPlane: Send + Sync {
    /// Lets `handler` answer the requests to one instance until the result is dropped.
    fn serve<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        instance_id: u64,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<ServedEndpoint, CallError>>;

    /// Sends `request` to `instance`.
    fn call<'a>(
        &'a self,
        instance: &'a Instance,
        request: Request,
    ) -> BoxFuture<'a, Result<Responses, CallError>>;
}

/// Answers requests on the serving side.
pub trait Handler: Send + Sync {
    /// Starts the work for one request. The stream is dropped when the caller goes away.
    fn handle(&self, request: Request) -> BoxStream<'static, Bytes>;
}

/// An endpoint that takes requests as long as this value lives.
///
/// Dropping it refuses new requests and cuts the running ones, as a killed process would; to let
/// them finish, call [`ServedEndpoint::drain`] first.
#[derive(Debug)]
pub struct ServedEndpoint {
    transport: Transport,
    direct: Option<TcpAddress>,
    closing: CancellationToken,
    in_flight: tokio_util::task::TaskTracker,
    cut: tokio_util::sync::DropGuard,
}

impl ServedEndpoint {
    /// The record that tells callers how to reach it as instance `instance_id` of `endpoint`.
    pub fn instance(&self, endpoint: &EndpointId, instance_id: u64) -> Instance {
        Instance {
            component: endpoint.component.clone(),
            endpoint: endpoint.endpoint.clone(),
            namespace: endpoint.namespace.clone(),
            instance_id,
            transport: self.transport.clone(),
            direct: self.direct.clone(),
            http: None,
        }
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
    /// The instance does not want this request; no other one would.
    #[error("the instance refused the request: {0}")]
    Refused(String),
    /// This process cannot call or serve.
    #[error("the request plane does not work here: {0}")]
    Local(String),
}
