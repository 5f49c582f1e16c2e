//! Frames: what goes over a multiplexed connection. The table is in the module above.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::request_plane::Encoding;

/// Bytes before the payload.
pub(super) const HEADER: usize = 8;
/// Most bytes of a message in one frame, so that no stream keeps the others waiting for long.
pub(super) const MAX_CHUNK: usize = 16 * 1024;

const OPEN: u8 = 1;
const ACCEPT: u8 = 2;
const DATA: u8 = 3;
const END: u8 = 4;
const REFUSE: u8 = 5;
const RESET: u8 = 6;
const CREDIT: u8 = 7;
const PING: u8 = 8;
const GO_AWAY: u8 = 9;

/// OPEN: the caller reads compact answers.
const COMPACT: u8 = 1;
/// DATA: the message goes on in the next frame of the stream.
const MORE: u8 = 1;
/// REFUSE: another instance may be tried.
const UNAVAILABLE: u8 = 1;
/// PING: this is the answer to one.
const PONG: u8 = 1;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Open { stream: u32, open: Open },
    Accept { stream: u32 },
    Data { stream: u32, chunk: Chunk },
    End { stream: u32 },
    Refuse { stream: u32, refusal: Refusal },
    Reset { stream: u32 },
    Credit { stream: u32, bytes: u32 },
    Ping,
    Pong,
    GoAway,
}

/// Begins a stream: what is asked of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Open {
    /// Endpoint and instance, `ns/component/endpoint/id`.
    pub(in super::super) endpoint: String,
    pub(in super::super) request_id: String,
    /// What the caller reads.
    pub(in super::super) encoding: Encoding,
    /// The caller's span; empty if it has none.
    pub(in super::super) traceparent: String,
}

/// A message, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    /// Whether the message goes on in the next chunk.
    pub(super) more: bool,
}

/// Why there will be no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Refusal {
    pub(in super::super) reason: String,
    /// Whether another instance may be tried.
    pub(in super::super) unavailable: bool,
}

/// Why bytes are not frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("there is no frame of type {0}")]
    Type(u8),
    #[error("a frame of type {0} is malformed")]
    Malformed(u8),
}

impl Frame {
    /// Appends the frame.
    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        match self {
            Self::Open { stream, open } => open.encode(*stream, buffer),
            Self::Accept { stream } => header(buffer, ACCEPT, 0, 0, *stream),
            Self::Data { stream, chunk } => {
                let flags = if chunk.more { MORE } else { 0 };
                let length = u16::try_from(chunk.bytes.len()).expect("chunks are short");
                header(buffer, DATA, flags, length, *stream);
                buffer.put_slice(&chunk.bytes);
            }
            Self::End { stream } => header(buffer, END, 0, 0, *stream),
            Self::Refuse { stream, refusal } => {
                let flags = if refusal.unavailable { UNAVAILABLE } else { 0 };
                let (length, reason) = short(&refusal.reason);
                header(buffer, REFUSE, flags, length, *stream);
                buffer.put_slice(reason);
            }
            Self::Reset { stream } => header(buffer, RESET, 0, 0, *stream),
            Self::Credit { stream, bytes } => {
                header(buffer, CREDIT, 0, 4, *stream);
                buffer.put_u32(*bytes);
            }
            Self::Ping => header(buffer, PING, 0, 0, 0),
            Self::Pong => header(buffer, PING, PONG, 0, 0),
            Self::GoAway => header(buffer, GO_AWAY, 0, 0, 0),
        }
    }

    /// Takes one frame off `buffer`; `None` if it is not complete yet.
    pub(super) fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(mut head) = buffer.get(..HEADER) else {
            return Ok(None);
        };
        let (kind, flags) = (head.get_u8(), head.get_u8());
        let (length, stream) = (usize::from(head.get_u16()), head.get_u32());
        let Some(payload) = buffer.get(HEADER..HEADER + length) else {
            buffer.reserve(HEADER + length - buffer.len());
            return Ok(None);
        };
        let frame = Self::read(kind, flags, stream, payload)?;
        buffer.advance(HEADER + length);
        Ok(Some(frame))
    }

    fn read(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Self, FrameError> {
        let malformed = || FrameError::Malformed(kind);
        Ok(match kind {
            OPEN => Self::Open {
                stream,
                open: Open::decode(flags, payload).ok_or_else(malformed)?,
            },
            ACCEPT => Self::Accept { stream },
            // A copy: a slice would keep the whole read buffer for as long as its stream is slow.
            DATA => Self::Data {
                stream,
                chunk: Chunk {
                    bytes: Bytes::copy_from_slice(payload),
                    more: flags & MORE != 0,
                },
            },
            END => Self::End { stream },
            REFUSE => Self::Refuse {
                stream,
                refusal: Refusal {
                    reason: String::from_utf8_lossy(payload).into_owned(),
                    unavailable: flags & UNAVAILABLE != 0,
                },
            },
            RESET => Self::Reset { stream },
            CREDIT => {
                let bytes = payload.try_into().map_err(|_| malformed())?;
                let bytes = u32::from_be_bytes(bytes);
                Self::Credit { stream, bytes }
            }
            PING if flags & PONG != 0 => Self::Pong,
            PING => Self::Ping,
            GO_AWAY => Self::GoAway,
            other => return Err(FrameError::Type(other)),
        })
    }
}

impl Open {
    /// Whether the frame can hold it.
    pub(in super::super) fn fits(&self) -> bool {
        3 * 2 + self.endpoint.len() + self.request_id.len() + self.traceparent.len()
            <= usize::from(u16::MAX)
    }

    fn encode(&self, stream: u32, buffer: &mut BytesMut) {
        let flags = match self.encoding {
            Encoding::Json => 0,
            Encoding::Compact => COMPACT,
        };
        let texts = [&self.endpoint, &self.request_id, &self.traceparent];
        let length = texts.map(|text| 2 + text.len()).iter().sum::<usize>();
        let length = u16::try_from(length).expect("`fits` is asked before");
        header(buffer, OPEN, flags, length, stream);
        for text in texts {
            let (length, text) = short(text);
            buffer.put_u16(length);
            buffer.put_slice(text);
        }
    }

    fn decode(flags: u8, mut payload: &[u8]) -> Option<Self> {
        let mut text = || {
            let length = usize::from(payload.try_get_u16().ok()?);
            let (text, rest) = payload.split_at_checked(length)?;
            payload = rest;
            Some(str::from_utf8(text).ok()?.to_owned())
        };
        Some(Self {
            endpoint: text()?,
            request_id: text()?,
            traceparent: text()?,
            encoding: if flags & COMPACT == 0 {
                Encoding::Json
            } else {
                Encoding::Compact
            },
        })
    }
}

fn header(buffer: &mut BytesMut, kind: u8, flags: u8, length: u16, stream: u32) {
    buffer.reserve(HEADER + usize::from(length));
    buffer.put_u8(kind);
    buffer.put_u8(flags);
    buffer.put_u16(length);
    buffer.put_u32(stream);
}

/// As much of `text` as fits into a frame.
fn short(text: &str) -> (u16, &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    (length, &text.as_bytes()[..usize::from(length)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<(Frame, &'static str)> {
        let open = Open {
            endpoint: "n/c/e/1f".to_owned(),
            request_id: "r".to_owned(),
            encoding: Encoding::Compact,
            traceparent: String::new(),
        };
        let chunk = |more| Chunk {
            bytes: Bytes::from_static(b"abc"),
            more,
        };
        let refusal = Refusal {
            reason: "no".to_owned(),
            unavailable: true,
        };
        vec![
            (
                Frame::Open { stream: 1, open },
                "0101000f000000010008 6e2f632f652f3166 000172 0000",
            ),
            (Frame::Accept { stream: 1 }, "0200000000000001"),
            (
                Frame::Data {
                    stream: 2,
                    chunk: chunk(true),
                },
                "0301000300000002 616263",
            ),
            (
                Frame::Data {
                    stream: 2,
                    chunk: chunk(false),
                },
                "0300000300000002 616263",
            ),
            (Frame::End { stream: 2 }, "0400000000000002"),
            (
                Frame::Refuse { stream: 3, refusal },
                "0501000200000003 6e6f",
            ),
            (Frame::Reset { stream: 3 }, "0600000000000003"),
            (
                Frame::Credit {
                    stream: 4,
                    bytes: 0x0001_0000,
                },
                "0700000400000004 00010000",
            ),
            (Frame::Ping, "0800000000000000"),
            (Frame::Pong, "0801000000000000"),
            (Frame::GoAway, "0900000000000000"),
        ]
    }

    #[test]
    fn frames_have_the_golden_bytes() {
        for (frame, golden) in frames() {
            let mut bytes = BytesMut::new();
            frame.encode(&mut bytes);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden.replace(' ', ""), "{frame:?}");
        }
    }

    #[test]
    fn every_split_of_the_bytes_gives_the_same_frames() {
        let mut bytes = BytesMut::new();
        for (frame, _) in frames() {
            frame.encode(&mut bytes);
        }
        for at in 0..=bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..at]);
            let mut got = Vec::new();
            while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                got.push(frame);
            }
            buffer.extend_from_slice(&bytes[at..]);
            while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                got.push(frame);
            }
            let want: Vec<_> = frames().into_iter().map(|(frame, _)| frame).collect();
            assert_eq!(got, want, "split at {at}");
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let check = |bytes: &[u8], want: FrameError| {
            let got = Frame::decode(&mut BytesMut::from(bytes));
            assert_eq!(got, Err(want), "{bytes:?}");
        };
        check(&[0, 0, 0, 0, 0, 0, 0, 0], FrameError::Type(0));
        check(&[77, 0, 0, 0, 0, 0, 0, 0], FrameError::Type(77));
        check(
            &[CREDIT, 0, 0, 1, 0, 0, 0, 0, 9],
            FrameError::Malformed(CREDIT),
        );
        check(
            &[OPEN, 0, 0, 2, 0, 0, 0, 0, 0, 9],
            FrameError::Malformed(OPEN),
        );
        check(
            &[OPEN, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0xff],
            FrameError::Malformed(OPEN),
        );
    }
}
