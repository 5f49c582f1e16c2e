//! Serving HTTP: one accept loop for every listener of the process.

mod first_bytes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::lifecycle::Lifecycle;
use first_bytes::FirstBytes;

/// How connections are served, and limits that keep slow or silent clients from holding resources
/// for ever.
#[derive(Clone)]
pub struct HttpOptions {
    /// Most time a client may take to send its request head, and most idle time between requests.
    pub header_timeout: Duration,
    /// Most time that requests in flight get after the process was asked to stop.
    pub drain_timeout: Duration,
    /// Most connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Encrypts connections; plain text without it.
    pub tls: Option<TlsAcceptor>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_millis(3500),
            max_connections: Semaphore::MAX_PERMITS,
            tls: None,
        }
    }
}

/// Why a request body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the limit.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// Most bytes allowed.
        limit: usize,
    },
    /// The client took too long.
    #[error("the request body did not arrive in time")]
    Timeout,
    /// The client went away.
    #[error("the request body ended early")]
    Disconnected,
}

/// Serves `router` on `listener` until `lifecycle` stops; returns when the last request has
/// ended or the drain timeout has passed.
///
/// Nagle's algorithm is off: with it, a streamed answer's first event waits 40 ms for an ACK.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: HttpOptions,
    lifecycle: Lifecycle,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout);
    builder.http2().timer(TokioTimer::new());
    let graceful = GracefulShutdown::new();
    // Cancelled when the requests in flight have had their time.
    let abandon = CancellationToken::new();
    let slots = Arc::new(Semaphore::new(options.max_connections));
    while let Some((stream, slot)) = accept(&listener, &slots, &lifecycle).await {
        let connection = Conversation {
            first_bytes_timeout: options.header_timeout,
            builder: builder.clone(),
            router: router.clone(),
            watcher: graceful.watcher(),
        };
        let abandoned = abandon.clone();
        let (tls, handshake_timeout) = (options.tls.clone(), options.header_timeout);
        lifecycle.spawn_to_end(async move {
            let served = async {
                let Some(tls) = tls else {
                    return connection.hold(stream).await;
                };
                match tokio::time::timeout(handshake_timeout, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection.hold(stream).await,
                    Ok(Err(error)) => debug!(%error, "a client failed to speak TLS"),
                    Err(_) => debug!("a client did not speak TLS in time"),
                }
            };
            abandoned.run_until_cancelled(served).await;
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(options.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        warn!("cut off requests that were still running when the drain time had passed");
        abandon.cancel();
    }
}

/// Everything that one connection needs.
struct Conversation {
    first_bytes_timeout: Duration,
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    watcher: Watcher,
}

impl Conversation {
    /// Answers the requests on `stream` until it ends.
    async fn hold(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let stream = FirstBytes::within(self.first_bytes_timeout, stream);
        let Self {
            builder,
            router,
            watcher,
            ..
        } = self;
        let service = service_fn(move |request: Request<Incoming>| call(router.clone(), request));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            debug!(%error, "connection ended with an error");
        }
    }
}

/// Reads a whole request body.
///
/// # Errors
/// It is too large, too slow, or ends early.
pub async fn read_body(body: Body, limit: usize, timeout: Duration) -> Result<Bytes, BodyError> {
    let read = Limited::new(body, limit).collect();
    match tokio::time::timeout(timeout, read).await {
        Err(_) => Err(BodyError::Timeout),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { limit }),
        Ok(Err(_)) => Err(BodyError::Disconnected),
    }
}

/// The next connection and its place among those allowed; `None` when the process stops.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    lifecycle: &Lifecycle,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let next = async {
        let slot = Arc::clone(slots).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        debug!(%error, "could not set TCP_NODELAY");
                    }
                    return Some((stream, slot));
                }
                // Out of file descriptors, most likely: accepting again at once would spin.
                Err(error) => {
                    warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    lifecycle.stopping().run_until_cancelled(next).await?
}

async fn call(router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    router.oneshot(request.map(Body::new)).await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn start(router: Router, options: HttpOptions) -> (SocketAddr, Lifecycle) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lifecycle = Lifecycle::new();
        lifecycle.spawn_to_end(serve(listener, router, options, lifecycle.clone()));
        (address, lifecycle)
    }

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_during_a_drain() {
        let slow = Router::new().route(
            "/",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                "done"
            }),
        );
        let (address, lifecycle) = start(slow, HttpOptions::default()).await;
        let request = tokio::task::JoinSet::from_iter([exchange(
            address,
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        )]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        lifecycle.stop(Duration::from_secs(3)).await.unwrap();
        assert!(request.join_all().await[0].ends_with("done"));
    }

    #[tokio::test]
    async fn a_silent_client_is_cut_off() {
        let options = HttpOptions {
            header_timeout: Duration::from_millis(50),
            ..HttpOptions::default()
        };
        let (address, _lifecycle) = start(Router::new(), options).await;
        // The second could still become the preface of HTTP/2.
        for head in ["", "PR", "GET / HTTP/1.1\r\n"] {
            let answer = exchange(address, head);
            let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
            assert!(!answer.unwrap().contains("200"), "{head}");
        }
    }

    #[tokio::test]
    async fn a_connection_beyond_the_limit_waits_for_its_turn() {
        let options = HttpOptions {
            max_connections: 1,
            ..HttpOptions::default()
        };
        let (address, _lifecycle) = start(Router::new(), options).await;
        let first = TcpStream::connect(address).await.unwrap();
        let second = exchange(
            address,
            "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        );
        let mut second = std::pin::pin!(second);
        let early = tokio::time::timeout(Duration::from_millis(100), second.as_mut()).await;
        assert!(early.is_err(), "{early:?}");
        drop(first);
        let late = tokio::time::timeout(Duration::from_secs(5), second).await;
        assert!(late.unwrap().starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn bodies_are_bounded_in_size_and_time() {
        let read = |body: Body| async move {
            match read_body(body, 4, Duration::from_millis(50)).await {
                Ok(bytes) => format!("{} bytes", bytes.len()),
                Err(error) => error.to_string(),
            }
        };
        let (address, _lifecycle) =
            start(Router::new().route("/", post(read)), HttpOptions::default()).await;
        let request = |head: &str, body: &str| {
            format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n\r\n{body}")
        };
        let check = async |request: String, expected: &str| {
            let answer = exchange(address, &request).await;
            assert!(answer.contains(expected), "{answer}");
        };
        check(request("content-length: 4", "abcd"), "4 bytes").await;
        check(request("content-length: 5", "abcde"), "larger than 4 bytes").await;
        check(request("content-length: 3", "a"), "did not arrive in time").await;
    }
}
