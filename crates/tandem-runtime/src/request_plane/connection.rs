//! A TCP connection that carries frames both ways.

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::two_part::{Frame, FrameReader};

/// A connection with what was read from it but not yet used.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) reader: FrameReader<OwnedReadHalf>,
    pub(super) writer: OwnedWriteHalf,
}

impl Connection {
    /// Nagle's algorithm is off: an answer's frames are small and must not wait.
    pub(super) fn new(stream: TcpStream) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
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
