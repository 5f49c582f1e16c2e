//! A TCP connection that carries the frames of Dynamo both ways.

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::two_part::{Frame, FrameReader};

/// A connection with what was read from it but not yet used.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) reader: FrameReader<OwnedReadHalf>,
    pub(super) writer: OwnedWriteHalf,
}

impl Connection {
    pub(super) fn new(reader: OwnedReadHalf, writer: OwnedWriteHalf) -> Self {
        Self {
            reader: FrameReader::new(reader),
            writer,
        }
    }

    pub(super) async fn send(&mut self, frame: &Frame) -> std::io::Result<()> {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        self.writer.write_all(&bytes).await
    }
}
