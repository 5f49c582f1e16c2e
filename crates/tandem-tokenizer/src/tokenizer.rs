//! A model's tokenizer.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use tokenizers::DecoderWrapper;

use crate::error::{ModelFilesError, TokenizerError};

/// Reads `tokenizer.json` and turns text into tokens and back.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: HashSet<u32>,
    byte_level: bool,
}

/// Tokens with their places in the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodedText {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Byte range of each token in the text; empty for tokens that stand for no text.
    pub offsets: Vec<Range<usize>>,
}

impl Tokenizer {
    /// Reads the tokenizer of the model in `directory`.
    ///
    /// # Errors
    /// The file is missing or not a tokenizer.
    pub fn from_dir(directory: &Path) -> Result<Self, ModelFilesError> {
        Self::from_file(&directory.join("tokenizer.json"))
    }

    /// Reads a tokenizer file.
    ///
    /// # Errors
    /// The file is missing or not a tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, ModelFilesError> {
        if !path.exists() {
            return Err(ModelFilesError::Missing {
                path: path.to_owned(),
            });
        }
        tokenizers::Tokenizer::from_file(path)
            .map(Self::new)
            .map_err(|error| ModelFilesError::Invalid {
                path: path.to_owned(),
                reason: error.to_string(),
            })
    }

    pub(crate) fn new(inner: tokenizers::Tokenizer) -> Self {
        let added = inner.get_added_tokens_decoder();
        let special = added
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(id, _)| *id)
            .collect();
        let byte_level = matches!(inner.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        Self {
            inner,
            special,
            byte_level,
        }
    }

    /// Tokens of `text`.
    ///
    /// # Errors
    /// The text has pieces that the vocabulary cannot express.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self
            .inner
            .encode_fast(text, add_special_tokens)
            .map_err(|error| TokenizerError(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokens of `text` with their places in it.
    ///
    /// # Errors
    /// The text has pieces that the vocabulary cannot express.
    pub fn encode_with_offsets(
        &self,
        text: &str,
        add_special_tokens: bool,
    ) -> Result<EncodedText, TokenizerError> {
        let encoding = self
            .inner
            .encode(text, add_special_tokens)
            .map_err(|error| TokenizerError(error.to_string()))?;
        Ok(EncodedText {
            ids: encoding.get_ids().to_vec(),
            offsets: encoding
                .get_offsets()
                .iter()
                .map(|(start, end)| *start..*end)
                .collect(),
        })
    }

    /// Text of `ids`. Ids outside the vocabulary have no text.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> String {
        // The only failures are those of decoders that cannot fail on tokens of their own.
        self.inner
            .decode(ids, skip_special_tokens)
            .unwrap_or_default()
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether the token is a control token rather than text.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// Bytes of one token in the middle of a text; a token may be part of a character.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let Some(token) = self.inner.id_to_token(id) else {
            return Vec::new();
        };
        if self.byte_level && !self.special.contains(&id) {
            return bytes_of(&token);
        }
        match hex_byte(&token) {
            Some(byte) => vec![byte],
            None => token.replace('\u{2581}', " ").into_bytes(),
        }
    }

    /// Text of one token in the middle of a text; a replacement character where it is part of a
    /// character.
    pub fn token_text(&self, id: u32) -> String {
        String::from_utf8_lossy(&self.token_bytes(id)).into_owned()
    }

    /// Whether the text of tokens is their bytes one after the other.
    pub(crate) fn is_byte_level(&self) -> bool {
        self.byte_level
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .finish()
    }
}

/// Byte-level BPE writes each byte as one printable character (GPT-2, Radford et al. 2019). A
/// token with any other character stands for itself.
fn bytes_of(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// Printable bytes stand for themselves; the 68 others were moved up from 256, in order.
fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    if let Ok(byte) = u8::try_from(code) {
        return is_printable(byte).then_some(byte);
    }
    let moved = usize::try_from(code - 256).ok()?;
    (0..=u8::MAX).filter(|byte| !is_printable(*byte)).nth(moved)
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The byte of a byte-fallback token such as `<0xE4>`.
fn hex_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::{AddedToken, models::TrainerWrapper};

    /// A byte-level BPE tokenizer with every byte in its vocabulary and one special token, `<e>`.
    pub(crate) fn byte_level() -> Tokenizer {
        let trainer = BpeTrainerBuilder::new()
            .show_progress(false)
            .vocab_size(320)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut inner = tokenizers::Tokenizer::new(BPE::default());
        let pre = ByteLevel::new(false, true, true);
        inner.with_pre_tokenizer(Some(pre)).with_decoder(Some(pre));
        let text = "the cat and the dog and the bird sat on the mat, the end";
        let mut trainer: TrainerWrapper = trainer.into();
        inner
            .train(&mut trainer, std::iter::repeat_n(text.to_owned(), 4))
            .unwrap();
        inner
            .add_special_tokens([AddedToken::from("<e>", true)])
            .unwrap();
        Tokenizer::new(inner)
    }

    /// A tokenizer in the form that Llama 2 uses: spaces as `▁`, unknown characters as bytes.
    pub(crate) fn byte_fallback() -> Tokenizer {
        let mut vocabulary = vec!["<unk>".to_owned()];
        vocabulary.extend((0..=255_u8).map(|byte| format!("<0x{byte:02X}>")));
        vocabulary.extend(["\u{2581}", "a", "b", "c", "\u{2581}a"].map(str::to_owned));
        let vocabulary: serde_json::Map<String, serde_json::Value> = vocabulary
            .into_iter()
            .zip(0..)
            .map(|(token, id)| (token, i32::into(id)))
            .collect();
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "\u{2581}"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}]},
            "pre_tokenizer": null, "post_processor": null,
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>",
                "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
                "byte_fallback": true, "vocab": vocabulary, "merges": [["\u{2581}", "a"]]}
        });
        Tokenizer::new(tokenizers::Tokenizer::from_bytes(json.to_string()).unwrap())
    }

    #[test]
    fn bytes_of_byte_level_tokens_make_up_the_text() {
        let tokenizer = byte_level();
        let text = "the cat 🙂 日本 \u{0} end";
        let ids = tokenizer.encode(text, false).unwrap();
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| tokenizer.token_bytes(*id))
            .collect();
        assert_eq!(bytes, text.as_bytes());
        assert_eq!(tokenizer.decode(&ids, true), text);
    }

    #[test]
    fn offsets_are_bytes_of_the_text() {
        let tokenizer = byte_level();
        let text = "日本 the";
        let encoded = tokenizer.encode_with_offsets(text, false).unwrap();
        let last = encoded.offsets.last().unwrap();
        assert_eq!(&text[last.clone()], " the");
    }

    #[test]
    fn bytes_of_byte_fallback_tokens_make_up_the_text() {
        let tokenizer = byte_fallback();
        let ids = tokenizer.encode("a é", false).unwrap();
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| tokenizer.token_bytes(*id))
            .collect();
        assert_eq!(bytes, " a é".as_bytes());
        assert_eq!(tokenizer.decode(&ids, true), "a é");
    }

    #[test]
    fn special_tokens_are_left_out_when_asked() {
        let tokenizer = byte_level();
        let ids = tokenizer.encode("a<e>b", false).unwrap();
        assert_eq!(tokenizer.decode(&ids, true), "ab");
        assert_eq!(tokenizer.decode(&ids, false), "a<e>b");
        assert_eq!(
            ids.iter().filter(|id| tokenizer.is_special(**id)).count(),
            1
        );
    }

    #[test]
    fn a_missing_or_broken_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = Tokenizer::from_dir(directory.path())
            .unwrap_err()
            .to_string();
        assert!(missing.contains("tokenizer.json is missing"), "{missing}");
        std::fs::write(directory.path().join("tokenizer.json"), "{").unwrap();
        let broken = Tokenizer::from_dir(directory.path())
            .unwrap_err()
            .to_string();
        assert!(broken.contains("tokenizer.json is not valid"), "{broken}");
    }
}
