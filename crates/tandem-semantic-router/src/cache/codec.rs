//! Entries as bytes, for stores outside of this process.
//!
//! A form begins with its version, and what has another one is not read: processes of different
//! versions share a store without sharing answers. Numbers are little-endian, texts and bytes have
//! their length in front. The words of a question are not written: whoever reads it finds them as
//! its own version does.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::{Asked, Entry, Moment};
use super::key::Key;
use super::question::Question;

/// Version of the form of an entry.
const ENTRY: u8 = 1;
/// Version of the form of a question.
const QUESTION: u8 = 1;

/// The bytes of an entry.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(entry.bytes()));
    writer.0.push(ENTRY);
    writer.0.extend_from_slice(entry.key.as_bytes());
    writer.number(entry.stored.0);
    writer.option(entry.expires, |writer, expires| writer.number(expires.0));
    writer.bytes(entry.model.as_bytes());
    writer.option(entry.decision.as_ref(), |writer, decision| {
        writer.bytes(decision.as_bytes());
    });
    writer.option(entry.question.as_ref(), Writer::asked);
    writer.bytes(&entry.answer);
    writer.0
}

/// The entry that bytes are; `None` if they are of another version, or broken.
pub(super) fn decode(bytes: &[u8]) -> Option<Entry> {
    let mut reader = Reader::of(bytes, ENTRY)?;
    let entry = Entry {
        key: reader.key()?,
        stored: Moment(reader.number()?),
        expires: reader.option(|reader| reader.number().map(Moment))?,
        model: reader.text()?,
        decision: reader.option(Reader::text)?,
        question: reader.option(Reader::asked)?,
        answer: Bytes::copy_from_slice(reader.bytes()?),
    };
    reader.0.is_empty().then_some(entry)
}

/// The bytes of a question.
pub(super) fn encode_question(asked: &Asked) -> Vec<u8> {
    let mut writer = Writer(vec![QUESTION]);
    writer.asked(asked);
    writer.0
}

/// The question that bytes are; `None` if they are of another version, or broken.
pub(super) fn decode_question(bytes: &[u8]) -> Option<Asked> {
    let mut reader = Reader::of(bytes, QUESTION)?;
    let asked = reader.asked()?;
    reader.0.is_empty().then_some(asked)
}

/// The terms of a question as this version finds them.
pub(super) fn terms(text: &str) -> Vec<u64> {
    Question::read(text).map_or_else(Vec::new, |question| question.terms())
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn asked(&mut self, asked: &Asked) {
        self.0.extend_from_slice(asked.rest.as_bytes());
        self.bytes(asked.text.as_bytes());
        let vector: Vec<u8> = asked
            .embedding
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        self.bytes(&vector);
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn of(bytes: &'a [u8], version: u8) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        (*first == version).then_some(Self(rest))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn key(&mut self) -> Option<Key> {
        self.array().map(Key::from_bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.array()? {
            [0] => Some(None),
            [1] => read(self).map(Some),
            _ => None,
        }
    }

    fn asked(&mut self) -> Option<Asked> {
        let rest = self.key()?;
        let text = self.text()?;
        let (numbers, odd) = self.bytes()?.as_chunks();
        if !odd.is_empty() {
            return None;
        }
        let embedding: Arc<[f32]> = numbers.iter().copied().map(f32::from_le_bytes).collect();
        Some(Asked {
            terms: terms(&text),
            rest,
            text,
            embedding,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::entry;
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let whole = entry("What is the capital of Peru?");
        let bare = Entry {
            question: None,
            decision: None,
            expires: None,
            answer: Bytes::from_static(&[0, 255, 13, 10]),
            ..whole.clone()
        };
        for entry in [whole, bare] {
            assert_eq!(decode(&encode(&entry)).as_ref(), Some(&entry));
        }
    }

    #[test]
    fn what_is_broken_or_of_another_version_is_no_entry() {
        let entry = entry("What is the capital of Peru?");
        let good = encode(&entry);
        for end in 0..good.len() {
            assert_eq!(decode(&good[..end]), None, "{end}");
        }
        assert_eq!(decode(&[good.as_slice(), &[0]].concat()), None);
        let mut later = good;
        later[0] += 1;
        assert_eq!(decode(&later), None);
        let asked = entry.question.unwrap();
        let mut question = encode_question(&asked);
        assert_eq!(decode_question(&question), Some(asked));
        assert_eq!(decode_question(&question[..question.len() - 1]), None);
        question[0] += 1;
        assert_eq!(decode_question(&question), None);
    }

    /// Stores hold what other versions wrote: another form needs another version.
    #[test]
    fn the_form_is_fixed() {
        let entry = entry("What is the capital of Peru?");
        let digest = Key::of(&[&encode(&entry), &encode_question(&entry.question.unwrap())]);
        assert_eq!(digest.to_string(), "fdce4deb5ba8dd1d2330152d1007deac");
    }
}
