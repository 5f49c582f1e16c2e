//! Token counts of an answer that passes by.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use tandem_protocol::openai::Usage;

/// Most bytes that are kept to find the counts: an answer that is longer goes uncounted.
const LIMIT: usize = 1 << 20;

/// Bytes of text that are about one token.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;

/// Reads an answer in the pieces in which it comes. What it keeps is bounded.
#[derive(Debug)]
pub(crate) struct UsageReader {
    stream: bool,
    /// The whole answer, or the unfinished line of a stream.
    pending: BytesMut,
    full: bool,
    found: Option<Usage>,
    size: Size,
}

/// How much has passed.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    bytes: u64,
    /// Of a stream.
    events: u64,
}

#[derive(Deserialize)]
struct Answer {
    usage: Option<Usage>,
}

impl UsageReader {
    pub(crate) fn new(stream: bool) -> Self {
        Self {
            stream,
            pending: BytesMut::new(),
            full: false,
            found: None,
            size: Size::default(),
        }
    }

    pub(crate) fn read(&mut self, mut piece: &[u8]) {
        self.size.bytes += piece.len() as u64;
        if self.stream {
            while let Some(end) = memchr(piece) {
                let (line, rest) = piece.split_at(end + 1);
                self.keep(line);
                self.line();
                piece = rest;
            }
        }
        self.keep(piece);
    }

    /// The counts, once the answer is complete.
    pub(crate) fn finish(mut self) -> Option<Usage> {
        if self.stream {
            self.line();
        } else if !self.full {
            let whole = self.pending.split().freeze();
            self.parse(&whole);
        }
        self.found
    }

    /// Generated tokens, as far as can be told from what has passed: an event of a stream is about
    /// one, and so are four bytes of other text.
    pub(crate) fn estimate(&self) -> u64 {
        match self.stream {
            true => self.size.events,
            false => self.size.bytes / BYTES_PER_TOKEN,
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.full |= self.pending.len() + piece.len() > LIMIT;
        if !self.full {
            self.pending.extend_from_slice(piece);
        }
    }

    /// Reads one line of an event stream. Most have no counts, so they are not parsed.
    fn line(&mut self) {
        let line = self.pending.split().freeze();
        let complete = !std::mem::take(&mut self.full);
        let data = line.strip_prefix(b"data:");
        self.size.events += u64::from(data.is_some());
        if let Some(data) = data.filter(|_| complete)
            && contains_usage(data)
        {
            self.parse(&line.slice_ref(data));
        }
    }

    fn parse(&mut self, json: &Bytes) {
        let answer: Option<Answer> = serde_json::from_slice(json).ok();
        self.found = answer.and_then(|answer| answer.usage).or(self.found);
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

fn contains_usage(bytes: &[u8]) -> bool {
    const NAME: &[u8] = br#""usage""#;
    bytes.windows(NAME.len()).any(|window| window == NAME)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = concat!(
        "data: {\"choices\":[{\"delta\":{\"content\":\"the \\\"usage\\\" of\"}}],\"usage\":null}\n\n",
        ": comment\r\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\r\n\r\n",
        "data: [DONE]\n\n"
    );
    const WHOLE: &str =
        "{\"id\":\"x\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}";

    fn total(stream: bool, pieces: &[&[u8]]) -> Option<u32> {
        let mut reader = UsageReader::new(stream);
        for piece in pieces {
            reader.read(piece);
        }
        reader.finish().map(|usage| usage.total_tokens)
    }

    #[test]
    fn answers_without_counts_have_none() {
        assert_eq!(total(false, &[b"not json"]), None);
        assert_eq!(total(true, &[b"data: [DONE]\n\n"]), None);
        assert_eq!(total(false, &[]), None);
    }

    #[test]
    fn tokens_are_estimated() {
        let estimate = |stream, text: &str| {
            let mut reader = UsageReader::new(stream);
            reader.read(text.as_bytes());
            reader.estimate()
        };
        assert_eq!(estimate(true, STREAM), 3);
        assert_eq!(estimate(false, "0123456789"), 2);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut reader = UsageReader::new(true);
        for _ in 0..40 {
            reader.read(&[b'x'; 100_000]);
        }
        assert!(reader.pending.len() <= LIMIT);
        reader.read(b"\n");
        reader.read(STREAM.as_bytes());
        assert_eq!(reader.finish().map(|usage| usage.total_tokens), Some(5));
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same_counts(cuts in prop::collection::vec(0..300_usize, 0..6)) {
            for (stream, text) in [(true, STREAM), (false, WHOLE)] {
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % text.len()).collect();
                cuts.push(text.len());
                cuts.sort_unstable();
                let mut from = 0;
                let mut pieces = Vec::new();
                for cut in cuts {
                    pieces.push(&text.as_bytes()[from..cut]);
                    from = cut;
                }
                prop_assert_eq!(total(stream, &pieces), Some(5));
            }
        }
    }
}
