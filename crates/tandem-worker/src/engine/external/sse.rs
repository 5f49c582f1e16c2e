//! Server-sent events, as far as engines use them: the data of one event after the other.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use bytes::{Buf, BytesMut};

/// Longest event: a token with many alternatives is far shorter.
const MAX_EVENT: usize = 16 << 20;

/// Takes bytes as they come and gives events.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    bytes: BytesMut,
    /// Data lines of the event that has begun.
    data: Option<String>,
}

/// An event that does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine sent an event of more than {MAX_EVENT} bytes")]
pub(super) struct EventTooLong;

impl EventReader {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), EventTooLong> {
        let held = self.bytes.len() + self.data.as_ref().map_or(0, String::len);
        if held + bytes.len() > MAX_EVENT {
            return Err(EventTooLong);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The data of the next event that is complete.
    pub(super) fn next(&mut self) -> Option<String> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line = self.bytes.split_to(end);
            self.bytes.advance(1);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                if let Some(data) = self.data.take() {
                    return Some(data);
                }
            } else if let Some(value) = line.strip_prefix(b"data:") {
                let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
                match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(&value);
                    }
                    None => self.data = Some(value.into_owned()),
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut reader = EventReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            reader.push(piece).unwrap();
            while let Some(event) = reader.next() {
                events.push(event);
            }
        }
        events
    }

    #[test]
    fn events_are_told_apart() {
        let text = b"data: {\"a\":1}\n\n: a comment\r\nevent: x\r\ndata:two\r\ndata:  lines\r\n\r\n\ndata: [DONE]\n\ndata: cut";
        assert_eq!(read(&[text]), ["{\"a\":1}", "two\n lines", "[DONE]"]);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = EventReader::default();
        let piece = vec![b'x'; MAX_EVENT / 2];
        reader.push(&piece).unwrap();
        reader.push(&piece).unwrap();
        assert_eq!(reader.push(b"x"), Err(EventTooLong));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_cut(
            events in prop::collection::vec("[a-z\u{e9}\u{1f600}]{1,12}", 0..8),
            cuts in prop::collection::vec(0_usize..200, 0..8),
        ) {
            let text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), events);
        }
    }
}
