//! The frame of Dynamo 0.6.1's request and response planes: a header and a body, both optional.
//!
//! ```text
//! u64 header length | u64 body length | u64 checksum | header | body        (big-endian)
//! ```
//!
//! The checksum is XXH3-64 of header and body; 0 says that there is none.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes before the header.
const PREAMBLE: usize = 24;
/// Largest frame that is accepted, in bytes.
const MAX_FRAME: u64 = 256 * 1024 * 1024;

/// A frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) header: Bytes,
    pub(super) body: Bytes,
}

/// Why bytes are not frames.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is too large")]
    TooLarge(u64),
    #[error("the checksum of a frame is wrong")]
    Checksum,
    #[error("the connection ended inside a frame")]
    Truncated,
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

impl Frame {
    pub(super) fn header(header: impl Into<Bytes>) -> Self {
        Self {
            header: header.into(),
            body: Bytes::new(),
        }
    }

    /// Appends the frame, without a checksum as release builds of Dynamo do: TCP has its own.
    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        buffer.reserve(PREAMBLE + self.header.len() + self.body.len());
        buffer.put_u64(self.header.len() as u64);
        buffer.put_u64(self.body.len() as u64);
        buffer.put_u64(0);
        buffer.put_slice(&self.header);
        buffer.put_slice(&self.body);
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        let mut buffer = BytesMut::new();
        self.encode(&mut buffer);
        buffer.freeze()
    }

    /// Takes one frame off `buffer`; `None` if it is not complete yet.
    pub(super) fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(mut preamble) = buffer.get(..PREAMBLE) else {
            return Ok(None);
        };
        let (header, body, checksum) = (preamble.get_u64(), preamble.get_u64(), preamble.get_u64());
        let length = header.saturating_add(body);
        if length > MAX_FRAME {
            return Err(FrameError::TooLarge(length));
        }
        let (Ok(header), Ok(length)) = (usize::try_from(header), usize::try_from(length)) else {
            return Err(FrameError::TooLarge(length));
        };
        if buffer.len() < PREAMBLE + length {
            buffer.reserve(PREAMBLE + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(PREAMBLE);
        let mut content = buffer.split_to(length).freeze();
        if checksum != 0 && checksum != xxh3_64(&content) {
            return Err(FrameError::Checksum);
        }
        let header = content.split_to(header);
        Ok(Some(Self {
            header,
            body: content,
        }))
    }
}

/// Reads frames from a connection.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: BytesMut::with_capacity(4096),
        }
    }

    /// The next frame; `None` when the connection ended between frames. Nothing is lost if the
    /// future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::Truncated)
                };
            }
        }
    }

    /// The next frame, if it has arrived already.
    pub(super) fn buffered(&mut self) -> Result<Option<Frame>, FrameError> {
        Frame::decode(&mut self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn golden() -> Frame {
        Frame {
            header: Bytes::from_static(br#"{"a":1}"#),
            body: Bytes::from_static(b"xyz"),
        }
    }

    #[test]
    fn frames_have_the_golden_bytes() {
        let zero = "0000000000000000";
        let lengths = "00000000000000070000000000000003";
        let expected = format!("{lengths}{zero}7b2261223a317d78797a");
        assert_eq!(hex(&golden().to_bytes()), expected);
    }

    #[test]
    fn a_checksum_is_checked_if_there_is_one() {
        let mut bytes = BytesMut::from(&*golden().to_bytes());
        bytes[16..24].copy_from_slice(&2_900_288_363_500_501_833_u64.to_be_bytes());
        let frame = Frame::decode(&mut bytes.clone()).unwrap();
        assert_eq!(frame, Some(golden()));
        bytes[16] ^= 1;
        assert!(matches!(
            Frame::decode(&mut bytes),
            Err(FrameError::Checksum)
        ));
    }

    #[test]
    fn absurd_lengths_are_refused() {
        for length in [u64::MAX, MAX_FRAME + 1] {
            let mut bytes = BytesMut::new();
            bytes.put_u64(length);
            bytes.put_u64(length);
            bytes.put_u64(0);
            assert!(matches!(
                Frame::decode(&mut bytes),
                Err(FrameError::TooLarge(_))
            ));
        }
    }

    #[tokio::test]
    async fn every_split_of_the_bytes_gives_the_same_frames() {
        let frames = [golden(), Frame::default(), Frame::header("\"sentinel\"")];
        let mut bytes = BytesMut::new();
        for frame in &frames {
            frame.encode(&mut bytes);
        }
        for at in 0..bytes.len() {
            let (first, second) = bytes.split_at(at);
            let mut reader = FrameReader::new(AsyncReadExt::chain(first, second));
            for frame in &frames {
                assert_eq!(reader.next().await.unwrap().as_ref(), Some(frame));
            }
            assert!(reader.next().await.unwrap().is_none());
        }
        let mut cut = FrameReader::new(&bytes[..bytes.len() - 1]);
        cut.next().await.unwrap();
        cut.next().await.unwrap();
        assert!(matches!(cut.next().await, Err(FrameError::Truncated)));
    }
}
