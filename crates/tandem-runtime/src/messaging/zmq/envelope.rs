//! What a ZMQ message consists of: four frames, as Dynamo 1.6.1 has them.
//!
//! ```text
//! topic | publisher id, u64 | sequence, u64 | u8 1, length u32, MessagePack map
//! ```
//!
//! Numbers are big-endian. The map names publisher, sequence, time and topic again, and holds the
//! payload.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// First byte of the last frame.
const VERSION: u8 = 1;
/// Bytes of the last frame before the map.
const HEAD: usize = 5;

/// A message with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) publisher_id: u64,
    /// Counts the messages of the publisher, from 1.
    pub(super) sequence: u64,
    /// Milliseconds since 1970.
    pub(super) published_at: u64,
    pub(super) topic: String,
    pub(super) payload: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    publisher_id: u64,
    sequence: u64,
    published_at: u64,
    topic: &'a str,
    #[serde(borrow)]
    payload: &'a serde_bytes::Bytes,
}

/// Why frames are no message.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnvelopeError {
    #[error("it has {0} frames, not 4")]
    Frames(usize),
    #[error("its version is not 1")]
    Version,
    #[error("its length is wrong")]
    Length,
    #[error(transparent)]
    Body(#[from] rmp_serde::decode::Error),
}

impl Envelope {
    pub(super) fn to_frames(&self) -> Vec<Bytes> {
        let body = Body {
            publisher_id: self.publisher_id,
            sequence: self.sequence,
            published_at: self.published_at,
            topic: &self.topic,
            payload: serde_bytes::Bytes::new(&self.payload),
        };
        let map = rmp_serde::to_vec_named(&body).expect("numbers, a text and bytes");
        let mut last = BytesMut::with_capacity(HEAD + map.len());
        last.put_u8(VERSION);
        last.put_u32(u32::try_from(map.len()).unwrap_or(u32::MAX));
        last.put_slice(&map);
        vec![
            Bytes::copy_from_slice(self.topic.as_bytes()),
            Bytes::copy_from_slice(&self.publisher_id.to_be_bytes()),
            Bytes::copy_from_slice(&self.sequence.to_be_bytes()),
            last.freeze(),
        ]
    }

    pub(super) fn from_frames(frames: &[Bytes]) -> Result<Self, EnvelopeError> {
        let [_, _, _, last] = frames else {
            return Err(EnvelopeError::Frames(frames.len()));
        };
        let Some((head, map)) = last.split_first_chunk::<HEAD>() else {
            return Err(EnvelopeError::Length);
        };
        let [version, length @ ..] = head;
        if *version != VERSION {
            return Err(EnvelopeError::Version);
        }
        if usize::try_from(u32::from_be_bytes(*length)) != Ok(map.len()) {
            return Err(EnvelopeError::Length);
        }
        let body: Body<'_> = rmp_serde::from_slice(map)?;
        Ok(Self {
            publisher_id: body.publisher_id,
            sequence: body.sequence,
            published_at: body.published_at,
            topic: body.topic.to_owned(),
            payload: last.slice_ref(body.payload),
        })
    }
}

pub(super) fn millis_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            publisher_id: 0x001e_77b5_d0dc_65cd,
            sequence: 0x78,
            published_at: 1_795_204_922_707,
            topic: "kv-events".to_owned(),
            payload: Bytes::from_static(b"\x90\x01"),
        }
    }

    #[test]
    fn frames_have_the_captured_layout() {
        let frames = envelope().to_frames();
        assert_eq!(frames[0], "kv-events");
        assert_eq!(*frames[1], *b"\x00\x1e\x77\xb5\xd0\xdc\x65\xcd");
        assert_eq!(*frames[2], *b"\0\0\0\0\0\0\0\x78");
        let (head, map) = frames[3].split_at(HEAD);
        assert_eq!(head, [1, 0, 0, 0, u8::try_from(map.len()).unwrap()]);
        // A map of five, and its first key.
        assert!(map.starts_with(b"\x85\xacpublisher_id"));
        assert_eq!(Envelope::from_frames(&frames).unwrap(), envelope());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let frames = envelope().to_frames();
        assert!(Envelope::from_frames(&frames[..3]).is_err());
        for last in [
            &b""[..],
            b"\x02\0\0\0\0",
            b"\x01\0\0\0\x09\x80",
            b"\x01\0\0\0\x01\x80",
        ] {
            let mut frames = frames.clone();
            frames[3] = Bytes::copy_from_slice(last);
            assert!(Envelope::from_frames(&frames).is_err(), "{last:?}");
        }
    }
}
