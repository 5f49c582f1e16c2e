//! Accepting connections, and letting go of them.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::Gateway;

/// Pause after a failed accept: without file handles the next one would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(gateway.options.max_connections));
    // Cancelled when the wait for requests in flight is over.
    let abandon = CancellationToken::new();
    while let Some((stream, slot)) = accept(&listener, &slots, &shutdown).await {
        let connection = Connection {
            gateway: Arc::clone(&gateway),
            shutdown: shutdown.clone(),
            abandon: abandon.clone(),
        };
        connections.spawn(async move {
            connection.run(stream).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    let drain = gateway.options.drain_timeout;
    if tokio::time::timeout(drain, connections.wait())
        .await
        .is_err()
    {
        warn!(
            open = connections.len(),
            "gave up on connections that did not finish"
        );
        abandon.cancel();
        connections.wait().await;
    }
    info!("gateway stopped");
}

/// The next connection; `None` once the shutdown has begun.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let next = async {
        loop {
            let slot = Arc::clone(slots).acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, slot)),
                Err(error) => {
                    warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        next = next => next,
    }
}

struct Connection {
    gateway: Arc<Gateway>,
    shutdown: CancellationToken,
    abandon: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "failed to switch off Nagle's algorithm");
        }
        let gateway = &self.gateway;
        let service = service_fn(|request| {
            let gateway = Arc::clone(gateway);
            async move { Ok::<_, Infallible>(gateway.handle(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(gateway.options.header_timeout)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.abandon.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            debug!(%error, "connection ended early");
        }
    }
}
