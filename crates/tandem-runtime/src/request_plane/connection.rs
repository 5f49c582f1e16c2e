//! A TCP connection that carries frames both ways.

use std::time::Duration;

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use super::two_part::{Frame, FrameReader};
use crate::lifecycle::Lifecycle;

/// Silence after which the other host is probed.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// Time between probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Probes without an answer after which the other host is given up.
const PROBES: u32 = 3;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves each connection to `listener` in a task of `lifecycle`.
pub(super) async fn accept<F>(
    listener: TcpListener,
    lifecycle: Lifecycle,
    serve: impl Fn(Connection) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Ok(connection) = Connection::new(stream) {
                    lifecycle.spawn(serve(connection));
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: connections that end give some back.
                warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection with what was read from it but not yet used.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) reader: FrameReader<OwnedReadHalf>,
    pub(super) writer: OwnedWriteHalf,
}

impl Connection {
    /// Nagle's algorithm is off: an answer's frames are small and must not wait. The system
    /// notices a host that is gone without a word.
    pub(super) fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        let probes = TcpKeepalive::new()
            .with_time(PROBE_AFTER)
            .with_interval(PROBE_EVERY)
            .with_retries(PROBES);
        SockRef::from(&stream).set_tcp_keepalive(&probes)?;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader: FrameReader::new(reader),
            writer,
        })
    }

    pub(super) async fn send(&mut self, frame: &Frame) -> std::io::Result<()> {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.writer.write_all(&bytes).await
    }

    /// Whether the other side is still there and silent, as it is between requests.
    pub(super) fn is_quiet(&self) -> bool {
        let Some(reader) = self.reader.idle() else {
            return false;
        };
        let read = reader.try_read(&mut [0; 1]);
        matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}
