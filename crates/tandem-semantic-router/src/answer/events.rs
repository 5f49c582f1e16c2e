//! An event stream, taken apart into its events.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// Cuts a stream into events, in whatever pieces it comes. An event keeps its exact bytes.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    pending: BytesMut,
    /// Bytes of `pending` in which no event ends.
    searched: usize,
}

impl EventReader {
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.pending.extend_from_slice(piece);
    }

    /// The next event with the empty line that ends it.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let from = self.searched;
        let mut lines = self.pending[from..].iter().enumerate();
        while let Some((at, _)) = lines.by_ref().find(|(_, byte)| **byte == b'\n') {
            let end = from + at + 1;
            if ends_with_empty_line(&self.pending[..end]) {
                self.searched = 0;
                return Some(self.pending.split_to(end).freeze());
            }
            self.searched = end;
        }
        None
    }

    /// How much of an unfinished event there is.
    pub(super) fn unfinished(&self) -> usize {
        self.pending.len()
    }

    /// The event that nothing ended.
    pub(super) fn rest(&mut self) -> Bytes {
        self.searched = 0;
        self.pending.split().freeze()
    }
}

fn ends_with_empty_line(bytes: &[u8]) -> bool {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.is_empty() || line.ends_with(b"\n")
}

/// What an event says; `None` if it says nothing, such as a comment.
pub(super) fn data(event: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut data: Option<Cow<'_, [u8]>> = None;
    for line in event.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let value = match line.strip_prefix(b"data:") {
            Some(value) => value.strip_prefix(b" ").unwrap_or(value),
            None if line == b"data" => b"",
            None => continue,
        };
        data = Some(match data {
            None => Cow::Borrowed(value),
            Some(before) => Cow::Owned([&before, value].join(&b'\n')),
        });
    }
    data
}

/// An event that says `json`.
pub(super) fn event(json: &[u8]) -> Bytes {
    Bytes::from([b"data: ", json, b"\n\n"].concat())
}

/// `event` with other data; its name, its number and comments stay.
pub(super) fn with_data(event: &[u8], json: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(event.len() + json.len());
    for line in event.split_inclusive(|byte| *byte == b'\n') {
        let empty = line.trim_ascii().is_empty();
        if !empty && !line.starts_with(b"data") {
            bytes.extend_from_slice(line);
        }
    }
    bytes.extend_from_slice(b"data: ");
    bytes.extend_from_slice(json);
    bytes.extend_from_slice(b"\n\n");
    bytes.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "data: 1\n\n: comment\n\r\ndata:2\r\ndata\r\nid: 7\r\ndata: 3\r\n\r\n\ndata: [DONE]\n\ndata: cut";

    fn events(pieces: &[&[u8]]) -> (Vec<Bytes>, Bytes) {
        let mut reader = EventReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            reader.push(piece);
            while let Some(event) = reader.next() {
                events.push(event);
            }
        }
        (events, reader.rest())
    }

    #[test]
    fn events_end_with_an_empty_line() {
        let (events, rest) = events(&[STREAM.as_bytes()]);
        let said: Vec<Option<String>> = events
            .iter()
            .map(|event| data(event).map(|data| String::from_utf8_lossy(&data).into_owned()))
            .collect();
        let want = [Some("1"), None, Some("2\n\n3"), None, Some("[DONE]")];
        assert_eq!(said, want.map(|text| text.map(str::to_owned)));
        assert_eq!(rest, "data: cut");
    }

    #[test]
    fn only_the_data_of_an_event_is_replaced() {
        let event = b"event: e\r\ndata: 1\r\nid: 7\r\ndata: 2\r\n\r\n";
        assert_eq!(with_data(event, b"3"), "event: e\r\nid: 7\r\ndata: 3\n\n");
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_events(cut in 0..STREAM.len(), more in 0..STREAM.len()) {
            let (first, second) = (cut.min(more), cut.max(more));
            let bytes = STREAM.as_bytes();
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            prop_assert_eq!(events(&pieces), events(&[bytes]));
        }
    }
}
