//! Requests over TCP connections between our own processes: the caller connects, sends a request
//! frame, and gets the same frames back that a worker sends when it dials back. A connection is
//! used for one request at a time, and for many in turn.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tracing::debug;

use super::answers::{Answers, OpenError};
use super::connection::{Connection, accept};
use super::pool::{Pool, connect};
use super::serving::{Served, refuse};
use super::two_part::Frame;
use super::wire::{DirectRequest, json};
use super::{CallError, Responses};
use crate::lifecycle::Lifecycle;

/// How long a connection may be silent between requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Takes requests for every endpoint of this process on one port.
pub(super) struct DirectServer {
    address: SocketAddr,
    endpoints: Arc<Endpoints>,
}

#[derive(Default)]
struct Endpoints {
    served: Mutex<HashMap<String, Served>>,
}

impl DirectServer {
    /// Listens on any free port of `host`.
    pub(super) async fn start(host: IpAddr, lifecycle: &Lifecycle) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(host, 0)).await?;
        let address = listener.local_addr()?;
        let endpoints = Arc::new(Endpoints::default());
        let known = Arc::clone(&endpoints);
        let serve = move |connection| converse(connection, Arc::clone(&known));
        lifecycle.spawn(accept(listener, lifecycle.clone(), serve));
        Ok(Self { address, endpoints })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn add(&self, endpoint: String, served: Served) {
        let mut all = self.endpoints.served.lock();
        all.retain(|_, served| !served.cut.is_cancelled());
        all.insert(endpoint, served);
    }
}

/// Answers one request after the other.
async fn converse(mut connection: Connection, endpoints: Arc<Endpoints>) {
    loop {
        let next = tokio::time::timeout(IDLE_TIMEOUT, connection.reader.next()).await;
        let Ok(Ok(Some(Frame { header, body }))) = next else {
            return;
        };
        let request: DirectRequest = match serde_json::from_slice(&header) {
            Ok(request) => request,
            Err(error) => {
                debug!(%error, "received a request that is none");
                return;
            }
        };
        let served = endpoints.served.lock().get(&request.endpoint).cloned();
        let go_on = match served {
            Some(served) => served.answer(&mut connection, &request.id, body).await,
            None => refuse(&mut connection, "no such endpoint here", true).await,
        };
        if !go_on {
            return;
        }
    }
}

/// What is asked of whom.
pub(super) struct DirectCall<'a> {
    pub(super) address: &'a str,
    pub(super) endpoint: String,
    pub(super) instance_id: u64,
    pub(super) request_id: &'a str,
    pub(super) request: Bytes,
}

impl DirectCall<'_> {
    /// Sends the request over an idle connection, or over a new one.
    pub(super) async fn send(self, pool: &Pool) -> Result<Responses, CallError> {
        let header = DirectRequest {
            id: self.request_id.to_owned(),
            endpoint: self.endpoint,
        };
        let frame = Frame {
            header: json(&header).into(),
            body: self.request,
        };
        let home = pool.home(self.address);
        let unreachable = CallError::Unreachable {
            instance_id: self.instance_id,
        };
        // An idle connection may have been closed a moment ago, which says nothing of the worker.
        let mut reused = home.take();
        loop {
            let fresh = reused.is_none();
            let mut connection = match reused.take() {
                Some(connection) => connection,
                None => connect(self.address).await.map_err(|error| {
                    debug!(address = self.address, %error, "cannot reach a worker");
                    unreachable.clone()
                })?,
            };
            let opened = match connection.send(&frame).await {
                Ok(()) => {
                    Answers::open(connection, Some(Arc::clone(&home)), self.instance_id).await
                }
                Err(_) => Err(OpenError::Silent),
            };
            match opened {
                Ok(answers) => return Ok(answers.into_stream()),
                Err(OpenError::Refused(error)) => return Err(error),
                Err(OpenError::Silent) if fresh => return Err(unreachable),
                Err(OpenError::Silent) => {}
            }
        }
    }
}
