//! Requests over NATS, answered over a TCP connection that the worker makes to the caller, as
//! Dynamo 0.6.1 does.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_nats::service;
use async_nats::service::endpoint::Endpoint;
use async_nats::{Client, HeaderMap};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::answers::{Answers, OpenError};
use super::connection::Connection;
use super::net::{self, Network, Tcp};
use super::serving::Served;
use super::two_part::Frame;
use super::wire::{Control, DialBack, Handshake, json};
use super::{CallError, Encoding, Request, Responses};
use crate::lifecycle::Lifecycle;

/// Most time between a worker's acknowledgement and its connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where workers dial back to.
pub(super) struct AnswerServer {
    address: SocketAddr,
    expected: Arc<Expected>,
}

/// Who waits for which connection.
#[derive(Default)]
struct Expected {
    waiting: Mutex<HashMap<String, oneshot::Sender<Connection>>>,
}

/// Stops to wait when dropped.
struct Waiting<'a> {
    expected: &'a Expected,
    subject: String,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.expected.waiting.lock().remove(&self.subject);
    }
}

impl AnswerServer {
    /// Listens on any free port of `host`.
    pub(super) async fn start(host: IpAddr, lifecycle: &Lifecycle) -> std::io::Result<Self> {
        let (listener, address) = Tcp.listen(SocketAddr::new(host, 0)).await?;
        let expected = Arc::new(Expected::default());
        let known = Arc::clone(&expected);
        let serve = move |reader, writer| {
            let connection = Connection::new(reader, writer);
            receive(connection, Arc::clone(&known))
        };
        lifecycle.spawn(net::serve(Tcp, listener, lifecycle.clone(), serve));
        Ok(Self { address, expected })
    }

    /// Sends a request to `subject` and waits for the worker to dial back.
    pub(super) async fn call(
        &self,
        client: &Client,
        subject: &str,
        instance_id: u64,
        request: Request,
    ) -> Result<Responses, CallError> {
        let unreachable = || CallError::Unreachable { instance_id };
        let answer = uuid::Uuid::new_v4().to_string();
        let (sender, connected) = oneshot::channel();
        self.expected.waiting.lock().insert(answer.clone(), sender);
        let waiting = Waiting {
            expected: &self.expected,
            subject: answer,
        };
        let address = self.address.to_string();
        let control = Control::new(&request.id, &address, &waiting.subject);
        let frame = Frame {
            header: json(&control).into(),
            body: request.body,
        };
        let message = async_nats::Request::new().payload(frame.to_bytes());
        let message = match request.traceparent {
            Some(traceparent) => message.headers(trace_headers(&traceparent)),
            None => message,
        };
        let sent = client.send_request(subject.to_owned(), message).await;
        sent.map_err(|error| {
            debug!(subject, %error, "a worker does not take a request");
            unreachable()
        })?;
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connected).await;
        let Ok(Ok(connection)) = connected else {
            debug!(subject, "a worker did not dial back");
            return Err(unreachable());
        };
        match Answers::open(connection, instance_id).await {
            Ok(answers) => Ok(answers.into_stream()),
            Err(OpenError::Silent) => Err(unreachable()),
            Err(OpenError::Refused(error)) => Err(error),
        }
    }
}

/// Hands a worker's connection to the call that waits for it.
async fn receive(mut connection: Connection, expected: Arc<Expected>) {
    let first = tokio::time::timeout(CONNECT_TIMEOUT, connection.reader.next()).await;
    let Ok(Ok(Some(frame))) = first else { return };
    let Ok(handshake) = serde_json::from_slice::<Handshake>(&frame.header) else {
        debug!("a connection did not say which answer it brings");
        return;
    };
    let waiting = expected.waiting.lock().remove(&handshake.subject);
    if let Some(waiting) = waiting {
        // If the caller has left in between, the connection ends here and tells the worker.
        drop(waiting.send(connection));
    }
}

/// Takes the requests of `endpoint` until it is stopped or `served` closes.
pub(super) async fn serve(mut endpoint: Endpoint, served: Served, tasks: TaskTracker) {
    loop {
        tokio::select! {
            biased;
            request = endpoint.next() => match request {
                Some(request) => {
                    let running = served.in_flight.token();
                    let served = served.clone();
                    tasks.spawn(async move {
                        answer(request, &served).await;
                        drop(running);
                    });
                }
                None => return,
            },
            () = served.closing.cancelled() => break,
            () = served.cut.cancelled() => break,
        }
    }
    if let Err(error) = endpoint.stop().await {
        warn!(%error, "failed to leave a NATS subject");
    }
}

async fn answer(message: service::Request, served: &Served) {
    if let Err(error) = message.respond(Ok(Bytes::new())).await {
        warn!(%error, "failed to acknowledge a request");
        return;
    }
    let mut payload = BytesMut::from(&*message.message.payload);
    let Ok(Some(Frame { header, body })) = Frame::decode(&mut payload) else {
        warn!("received a request that is not a frame");
        return;
    };
    let (request_id, dial_back) = match parse(&header) {
        Ok(parsed) => parsed,
        Err(error) => {
            warn!(%error, "received a request that does not say where to answer");
            return;
        }
    };
    let request = Request {
        id: request_id,
        body,
        encoding: Encoding::Json,
        traceparent: traceparent(message.message.headers.as_ref()),
    };
    let mut connection = match net::connect(&Tcp, &dial_back.address).await {
        Ok((reader, writer)) => Connection::new(reader, writer),
        Err(error) => {
            warn!(address = dial_back.address, %error, "cannot reach a caller");
            return;
        }
    };
    let handshake = Handshake {
        subject: dial_back.subject,
        stream_type: dial_back.stream_type,
    };
    let greeted = connection.send(&Frame::header(json(&handshake))).await;
    if greeted.is_ok() && served.answer(&mut connection, request).await {
        // The caller closes first, when it has read everything.
        drop(tokio::time::timeout(CONNECT_TIMEOUT, connection.reader.next()).await);
    }
}

/// Under the name that Dynamo gives it.
const TRACEPARENT: &str = "traceparent";

fn trace_headers(traceparent: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, traceparent);
    headers
}

fn traceparent(headers: Option<&HeaderMap>) -> Option<String> {
    let value = headers?.get(TRACEPARENT)?;
    Some(value.as_str().to_owned())
}

fn parse(header: &[u8]) -> Result<(String, DialBack), serde_json::Error> {
    let control: Control = serde_json::from_slice(header)?;
    let dial_back = serde_json::from_str(&control.connection_info.info)?;
    Ok((control.id, dial_back))
}
