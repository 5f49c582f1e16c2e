//! The processes that are called, and the connection to each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tracing::debug;

use super::mux::{Event, Mux, MuxStream, Open, Refusal, Side};
use crate::lifecycle::Lifecycle;
use crate::request_plane::net::{self, Network};
use crate::request_plane::{CallError, Request, Responses};

/// Most time between a request and the news that it is being worked on.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that is there, or that somebody makes.
type Connecting = Arc<OnceCell<Mux>>;

/// One connection for each address.
pub(super) struct Peers<N> {
    network: N,
    lifecycle: Lifecycle,
    connections: Mutex<HashMap<String, Connecting>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nobody is there, or nobody who serves the endpoint.
    Unreachable,
    /// The connection was lost before the request was accepted.
    Lost,
    /// The worker does not want the request.
    Refused(String),
    /// The request cannot be sent.
    Malformed(&'static str),
}

impl NoAnswer {
    /// The same, of an instance.
    pub(super) fn of(self, instance_id: u64) -> CallError {
        match self {
            Self::Unreachable | Self::Lost => CallError::Unreachable { instance_id },
            Self::Refused(reason) => CallError::Refused(reason),
            Self::Malformed(reason) => CallError::Refused(reason.to_owned()),
        }
    }
}

impl<N: Network> Peers<N> {
    pub(super) fn new(network: N, lifecycle: &Lifecycle) -> Self {
        Self {
            network,
            lifecycle: lifecycle.clone(),
            connections: Mutex::default(),
        }
    }

    /// Sends a request to `endpoint` at `address`, over the connection that is there or a new one.
    pub(super) async fn call(
        &self,
        address: &str,
        endpoint: String,
        request: Request,
    ) -> Result<Responses, NoAnswer> {
        let open = Open {
            endpoint,
            request_id: request.id,
            encoding: request.encoding,
            traceparent: request.traceparent.unwrap_or_default(),
        };
        if !open.fits() {
            return Err(NoAnswer::Malformed("the request id is too long"));
        }
        let connecting = self.connecting(address);
        let reused = connecting.initialized();
        let outcome = self.send(&connecting, address, open.clone(), request.body.clone());
        match outcome.await {
            // The process at the other end may have been replaced, which says nothing of the one
            // that is there now.
            Err(NoAnswer::Lost) if reused => {
                let connecting = self.connecting(address);
                self.send(&connecting, address, open, request.body).await
            }
            outcome => outcome,
        }
    }

    async fn send(
        &self,
        connecting: &OnceCell<Mux>,
        address: &str,
        open: Open,
        body: Bytes,
    ) -> Result<Responses, NoAnswer> {
        let mux = connecting.get_or_try_init(|| self.connect(address));
        let mux = mux.await.map_err(|error| {
            debug!(address, %error, "cannot reach a worker");
            NoAnswer::Unreachable
        })?;
        let stream = mux.open(open).ok_or(NoAnswer::Lost)?;
        send(stream, body).await
    }

    /// The connection to `address`; a new one, not made yet, if there is none that takes streams.
    fn connecting(&self, address: &str) -> Connecting {
        let mut connections = self.connections.lock();
        if let Some(connecting) = connections.get(address)
            && connecting.get().is_none_or(Mux::is_open)
        {
            return Arc::clone(connecting);
        }
        // Workers come and go: those that nobody calls any more are forgotten here.
        connections.retain(|_, connecting| match connecting.get() {
            Some(mux) => mux.is_open(),
            None => Arc::strong_count(connecting) > 1,
        });
        let connecting = Connecting::default();
        connections.insert(address.to_owned(), Arc::clone(&connecting));
        connecting
    }

    async fn connect(&self, address: &str) -> std::io::Result<Mux> {
        let connection = net::connect(&self.network, address).await?;
        let (mux, _nobody_calls_back) =
            Mux::start(connection, Side::Caller, address, &self.lifecycle);
        Ok(mux)
    }
}

/// Sends the request and waits until it is accepted.
async fn send(mut stream: MuxStream, body: Bytes) -> Result<Responses, NoAnswer> {
    let accepted = async {
        stream.send(body).await.map_err(|_| NoAnswer::Lost)?;
        match stream.next().await {
            Some(Event::Accepted) => Ok(()),
            Some(Event::Refused(Refusal {
                unavailable: true, ..
            })) => Err(NoAnswer::Unreachable),
            Some(Event::Refused(Refusal { reason, .. })) => Err(NoAnswer::Refused(reason)),
            Some(Event::Message(_) | Event::Ended) => Err(NoAnswer::Refused(
                "an answer without a beginning".to_owned(),
            )),
            None => Err(NoAnswer::Lost),
        }
    };
    tokio::time::timeout(ACCEPT_TIMEOUT, accepted)
        .await
        .unwrap_or(Err(NoAnswer::Unreachable))?;
    Ok(answers(stream))
}

/// What the worker sends from now on.
fn answers(stream: MuxStream) -> Responses {
    stream::unfold(Some(stream), |stream| async {
        let mut stream = stream?;
        match stream.next().await {
            Some(Event::Message(answer)) => Some((Ok(answer), Some(stream))),
            Some(Event::Ended) => None,
            Some(Event::Accepted | Event::Refused(_)) | None => {
                Some((Err(CallError::StreamEnded), None))
            }
        }
    })
    .boxed()
}
