//! Text to tokens with the place of each in the original text.

use std::path::Path;

use tokenizers::{
    Model as _, NormalizedString, Normalizer as _, OffsetType, PreTokenizedString,
    PreTokenizer as _, Tokenizer,
};

use crate::error::LoadError;

/// A token of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    /// First byte in the text, blanks trimmed.
    pub(crate) start: u32,
    /// One past the last byte; equal to `start` for a token of blanks.
    pub(crate) end: u32,
    /// Letter case class; see [`case_class`].
    pub(crate) case: u8,
}

/// A `tokenizer.json`.
pub(crate) struct TextTokenizer {
    inner: Tokenizer,
    /// Ids that open and close a text.
    pub(crate) special: (u32, u32),
    /// Whether nothing but special tokens was added to the vocabulary, so that the stages can be
    /// run one by one.
    plain: bool,
}

impl std::fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextTokenizer").finish_non_exhaustive()
    }
}

impl TextTokenizer {
    /// Loads the tokenizer of a checkpoint. Texts are never cut, padded or searched for the names
    /// of special tokens.
    pub(crate) fn load(dir: &Path, special: Option<(u32, u32)>) -> Result<Self, LoadError> {
        let path = dir.join("tokenizer.json");
        let bytes = crate::error::read(&path)?;
        let invalid = |error: tokenizers::Error| LoadError::invalid(&path, error);
        let mut inner = Tokenizer::from_bytes(&bytes).map_err(invalid)?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(invalid)?;
        inner.set_encode_special_tokens(true);
        let special = match special {
            Some(special) => special,
            None => {
                let empty = inner.encode_fast("", true).map_err(invalid)?;
                match empty.get_ids() {
                    [open, close] => (*open, *close),
                    _ => return Err(LoadError::unsupported(&path, "no tokens around a text")),
                }
            }
        };
        let plain = inner
            .get_added_tokens_decoder()
            .values()
            .all(|token| token.special);
        Ok(Self {
            inner,
            special,
            plain,
        })
    }

    /// Appends the tokens of `text[from..to]`, with offsets into `text`. Returns the normalised
    /// piece where it is a by-product.
    pub(crate) fn tokenize(
        &self,
        text: &str,
        piece: std::ops::Range<usize>,
        tokens: &mut Vec<Token>,
    ) -> Result<Option<String>, tokenizers::Error> {
        let base = piece.start;
        let (encoding, normalised) = if self.plain {
            let mut normalised = self.normalised(&text[piece])?;
            let by_product = normalised.get().to_owned();
            let mut pieces = PreTokenizedString::from(std::mem::replace(
                &mut normalised,
                NormalizedString::from(""),
            ));
            if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut pieces)?;
            }
            let model = self.inner.get_model();
            pieces.tokenize(|piece| model.tokenize(piece.get()))?;
            let encoding = pieces.into_encoding(None, 0, OffsetType::Byte)?;
            (encoding, Some(by_product))
        } else {
            (self.inner.encode(&text[piece], false)?, None)
        };
        tokens.reserve(encoding.len());
        for (id, (start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            let (start, end) = trim(text, base + start, base + end);
            tokens.push(Token {
                id: *id,
                start: offset(start),
                end: offset(end),
                case: case_class(&text[start..end]),
            });
        }
        Ok(normalised)
    }

    /// The text as the tokenizer's normaliser leaves it.
    pub(crate) fn normalise(&self, text: &str) -> Result<String, tokenizers::Error> {
        Ok(self.normalised(text)?.get().to_owned())
    }

    fn normalised(&self, text: &str) -> Result<NormalizedString, tokenizers::Error> {
        let mut normalised = NormalizedString::from(text);
        if let Some(normaliser) = self.inner.get_normalizer() {
            normaliser.normalize(&mut normalised)?;
        }
        Ok(normalised)
    }
}

/// Texts are bounded far below 4 GiB before they come here.
fn offset(byte: usize) -> u32 {
    u32::try_from(byte).expect("a text is shorter than 4 GiB")
}

/// Moves both ends over blanks.
fn trim(text: &str, start: usize, end: usize) -> (usize, usize) {
    let Some(span) = text.get(start..end) else {
        // Byte-level tokens may split a character: take all of it.
        return trim(
            text,
            text.floor_char_boundary(start),
            text.ceil_char_boundary(end),
        );
    };
    let left = span.trim_start();
    let start = start + span.len() - left.len();
    (start, start + left.trim_end().len())
}

/// How the letters of a token are written: 0 without letters that have a case, 1 lower,
/// 2 capitalised, 3 upper, 4 mixed.
fn case_class(span: &str) -> u8 {
    let (mut upper, mut lower, mut first_is_upper) = (0, 0, false);
    for c in span.chars() {
        if is_upper(c) {
            first_is_upper |= upper + lower == 0;
            upper += 1;
        } else if is_lower(c) {
            lower += 1;
        }
    }
    match (upper, lower) {
        (0, 0) => 0,
        (0, _) => 1,
        (1, _) if first_is_upper => 2,
        (2.., 0) => 3,
        _ => 4,
    }
}

fn is_upper(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_uppercase();
    }
    let mut mapped = c.to_lowercase();
    !(mapped.next() == Some(c) && mapped.next().is_none())
}

fn is_lower(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_lowercase();
    }
    let mut mapped = c.to_uppercase();
    !(mapped.next() == Some(c) && mapped.next().is_none())
}

/// Where to cut a text that is read in pieces of about `size` bytes: before a single space
/// between two ASCII letters or digits, where no tokenizer joins anything; at another blank if
/// there is none; anywhere if the text has no blanks.
pub(crate) fn piece_end(text: &str, start: usize, size: usize) -> usize {
    if text.len() - start <= size {
        return text.len();
    }
    let bytes = text.as_bytes();
    let limit = text.floor_char_boundary(start + size);
    let floor = start + size / 2;
    let safe = (floor..limit).rev().find(|at| {
        bytes[*at] == b' '
            && bytes[at - 1].is_ascii_alphanumeric()
            && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric)
    });
    let blank = || {
        (floor..limit)
            .rev()
            .find(|at| bytes[*at].is_ascii_whitespace())
    };
    safe.or_else(blank).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_classes() {
        let check = |span, expect| assert_eq!(case_class(span), expect, "{span}");
        check("", 0);
        check("12", 0);
        check("word", 1);
        check("Word", 2);
        check("W", 2);
        check("'Word", 2);
        check("WORD", 3);
        check("wORd", 4);
        check("McDonald", 4);
        check("ß", 1);
        check("İ", 2);
        check("你", 0);
    }

    #[test]
    fn pieces_end_between_words() {
        assert_eq!(piece_end("short", 0, 10), 5);
        assert_eq!(piece_end("some words here", 0, 12), 10);
        assert_eq!(piece_end("ééééééééé", 0, 7), 6);
        assert_eq!(piece_end("aaa, bbb\ncc,dd", 0, 11), 8);
    }
}
