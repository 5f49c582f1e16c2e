//! HTTP to an engine: a connection for each request, because closing it is what aborts one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tandem_runtime::Lifecycle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::address::EngineAddress;

/// Most time until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most time for a short question, such as for the engine's health.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read whole.
const MAX_ANSWER: usize = 16 << 20;

/// Why an engine did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// There is no connection.
    #[error("failed to connect to the engine: {0}")]
    Connect(std::io::Error),
    /// The connection ended before the answer did.
    #[error("the engine's connection broke: {0}")]
    Broken(hyper::Error),
    /// The answer took too long.
    #[error("the engine did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The answer is longer than any that makes sense.
    #[error("failed to read the engine's answer: {0}")]
    Body(String),
    /// What was to be sent is no HTTP request: a defect, or a key with a line break in it.
    #[error("the request to the engine is not HTTP: {0}")]
    Request(hyper::http::Error),
}

/// What is sent to an engine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// Below the engine's address.
    pub(super) path: &'static str,
    /// JSON to be posted.
    pub(super) body: Value,
    /// Data-parallel rank that has to answer, where the engine wants it in a header.
    pub(super) rank: Option<u32>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Talks to one engine.
#[derive(Clone)]
pub(super) struct HttpClient {
    address: EngineAddress,
    authorization: Option<HeaderValue>,
    tls: Option<TlsConnector>,
    tasks: Lifecycle,
}

impl HttpClient {
    /// Talks to the engine at `address`, with `key` as a bearer token if there is one; connections
    /// are tasks of `tasks`.
    pub(super) fn new(address: EngineAddress, key: Option<&str>, tasks: &Lifecycle) -> Self {
        let tls = matches!(address, EngineAddress::Tcp { tls: true, .. });
        Self {
            address,
            authorization: key.and_then(bearer),
            tls: tls.then(|| {
                let roots = RootCertStore {
                    roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
                };
                let config = ClientConfig::builder()
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                TlsConnector::from(Arc::new(config))
            }),
            tasks: tasks.clone(),
        }
    }

    pub(super) fn address(&self) -> &EngineAddress {
        &self.address
    }

    /// Posts and returns as soon as the engine begins to answer. Dropping the response closes the
    /// connection.
    pub(super) async fn post(&self, call: &Call) -> Result<Response<Incoming>, HttpError> {
        let body = serde_json::to_vec(&call.body).expect("JSON values have string keys only");
        let request = self
            .request(Method::POST, call.path)
            .header(CONTENT_TYPE, "application/json");
        let request = match call.rank {
            Some(rank) => request.header("x-data-parallel-rank", rank),
            None => request,
        };
        let request = request.body(Full::new(body.into()));
        self.send(request.map_err(HttpError::Request)?).await
    }

    /// Posts a question that the engine answers at once.
    pub(super) async fn tell(&self, call: &Call) -> Result<Answer, HttpError> {
        in_time(async { whole(self.post(call).await?).await }).await
    }

    /// Gets something that is there at once.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, HttpError> {
        let request = self.request(Method::GET, path).body(Full::default());
        let request = request.map_err(HttpError::Request)?;
        in_time(async { whole(self.send(request).await?).await }).await
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(self.address.path(path))
            .header(HOST, self.address.authority());
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HttpError> {
        let connect = async {
            match &self.address {
                EngineAddress::Unix(path) => {
                    let stream = UnixStream::connect(path)
                        .await
                        .map_err(HttpError::Connect)?;
                    self.handshake(stream).await
                }
                EngineAddress::Tcp { host, port, .. } => {
                    let stream = TcpStream::connect((host.as_str(), *port))
                        .await
                        .map_err(HttpError::Connect)?;
                    stream.set_nodelay(true).map_err(HttpError::Connect)?;
                    match &self.tls {
                        None => self.handshake(stream).await,
                        Some(tls) => {
                            let name = ServerName::try_from(host.clone()).map_err(|error| {
                                HttpError::Connect(std::io::Error::other(error))
                            })?;
                            let stream = tls.connect(name, stream).await;
                            self.handshake(stream.map_err(HttpError::Connect)?).await
                        }
                    }
                }
            }
        };
        let mut sender = tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| HttpError::Timeout(CONNECT_TIMEOUT))??;
        sender
            .send_request(request)
            .await
            .map_err(HttpError::Broken)
    }

    async fn handshake<S>(&self, stream: S) -> Result<http1::SendRequest<Full<Bytes>>, HttpError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(HttpError::Broken)?;
        // It ends with the answer, or when nobody wants the answer any more; why, the reader knows.
        self.tasks.spawn(async { connection.await.ok() });
        Ok(sender)
    }
}

/// All of an answer.
pub(super) async fn whole(response: Response<Incoming>) -> Result<Answer, HttpError> {
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| HttpError::Body(error.to_string()))?;
    Ok(Answer {
        status,
        body: body.to_bytes(),
    })
}

async fn in_time<T>(answer: impl Future<Output = Result<T, HttpError>>) -> Result<T, HttpError> {
    tokio::time::timeout(ASK_TIMEOUT, answer)
        .await
        .map_err(|_| HttpError::Timeout(ASK_TIMEOUT))?
}

fn bearer(key: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
