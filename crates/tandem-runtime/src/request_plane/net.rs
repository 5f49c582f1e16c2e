//! TCP connections: those of the system, or simulated ones in tests.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use crate::lifecycle::Lifecycle;

/// Silence after which the other host is probed.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// Time between probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Probes without an answer after which the other host is given up.
const PROBES: u32 = 3;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A network that hosts reach each other over.
pub(super) trait Network: Clone + Send + Sync + 'static {
    type Listener: Send + Sync + 'static;
    type Reader: AsyncRead + Send + Unpin + 'static;
    type Writer: AsyncWrite + Send + Unpin + 'static;

    /// Listens at `address`, and says at which one if any port will do.
    fn listen(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send;

    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>> + Send;

    fn connect(
        &self,
        address: &str,
    ) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>> + Send;
}

/// The network of the system.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tcp;

impl Network for Tcp {
    type Listener = TcpListener;
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    async fn listen(&self, address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
        let (stream, _) = listener.accept().await?;
        halves(stream)
    }

    async fn connect(&self, address: &str) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
        halves(TcpStream::connect(address).await?)
    }
}

/// Nagle's algorithm is off: an answer's frames are small and must not wait. The system notices a
/// host that is gone without a word.
fn halves(stream: TcpStream) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY)
        .with_retries(PROBES);
    SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    Ok(stream.into_split())
}

/// Serves each connection to `listener` in a task of `lifecycle`.
pub(super) async fn serve<N: Network, F>(
    network: N,
    listener: N::Listener,
    lifecycle: Lifecycle,
    serve: impl Fn(N::Reader, N::Writer) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match network.accept(&listener).await {
            Ok((reader, writer)) => drop(lifecycle.spawn(serve(reader, writer))),
            Err(error) => {
                // Out of file descriptors, most likely: connections that end give some back.
                warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A new connection to `address`, or an error if that takes too long.
pub(super) async fn connect<N: Network>(
    network: &N,
    address: &str,
) -> io::Result<(N::Reader, N::Writer)> {
    tokio::time::timeout(CONNECT_TIMEOUT, network.connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
