//! Text to token ids and back.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use crate::Error;
use crate::control_tokens::{ControlTokens, Marks};
use crate::pieces::{PieceKind, Pieces};

/// A model's tokenizer, read from `tokenizer.json`.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pieces: Option<Pieces>,
    control_tokens: ControlTokens,
    /// The same tokenizer without control tokens; made when a message first spells one out.
    plain: OnceLock<tokenizers::Tokenizer>,
}

/// Tokens of a text, with where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Bytes of the text that each token stands for; empty for tokens that were added.
    pub offsets: Vec<Range<usize>>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a model directory.
    ///
    /// # Errors
    /// The file is missing or not a tokenizer.
    pub fn from_dir(directory: &Path) -> Result<Self, Error> {
        let file = directory.join("tokenizer.json");
        if !file.is_file() {
            return Err(Error::MissingFile {
                directory: directory.to_owned(),
                file: "tokenizer.json".to_owned(),
            });
        }
        Self::from_file(&file)
    }

    /// Reads a tokenizer file.
    ///
    /// # Errors
    /// The file cannot be read or is not a tokenizer.
    pub fn from_file(file: &Path) -> Result<Self, Error> {
        let json = std::fs::read(file).map_err(|source| Error::Read {
            path: file.to_owned(),
            source,
        })?;
        Self::from_json(&json).map_err(|message| Error::InvalidFile {
            path: file.to_owned(),
            message,
        })
    }

    fn from_json(json: &[u8]) -> Result<Self, String> {
        let parsed = tokenizers::Tokenizer::from_bytes(json);
        let mut inner = parsed.map_err(|error| error.to_string())?;
        // Some checkpoints carry the settings of their training: a prompt is never cut or padded.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            pieces: Pieces::new(&inner),
            control_tokens: ControlTokens::new(&inner)?,
            plain: OnceLock::new(),
            inner,
        })
    }

    /// The control tokens, such as `<|im_end|>`, that clients must not be able to forge.
    pub const fn control_tokens(&self) -> &ControlTokens {
        &self.control_tokens
    }

    /// Tokens of `text`. Templated prompts bring their own special tokens; plain ones want
    /// `add_special_tokens`.
    ///
    /// # Errors
    /// The tokenizer has no token for a part of the text.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, add_special_tokens);
        let encoding = encoding.map_err(|error| failed("tokenize text", &error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokens of a prompt that a chat template wrote. What `marks` are in is tokenized as the
    /// characters that it is written with, not as control tokens.
    ///
    /// # Errors
    /// The tokenizer has no token for a part of the text.
    pub fn encode_prompt(&self, prompt: &str, marks: Marks) -> Result<Vec<u32>, Error> {
        let Some(unmarked) = self.control_tokens.unmark(prompt, marks) else {
            return self.encode(prompt, false);
        };
        let mut ids = Vec::new();
        let mut done = 0;
        for literal in unmarked.literal {
            ids.extend(self.encode(&unmarked.text[done..literal.start], false)?);
            done = literal.end;
            let encoding = self.plain().encode_fast(&unmarked.text[literal], false);
            let encoding = encoding.map_err(|error| failed("tokenize text", &error))?;
            ids.extend(encoding.get_ids());
        }
        ids.extend(self.encode(&unmarked.text[done..], false)?);
        Ok(ids)
    }

    /// The tokenizer that knows no control tokens.
    fn plain(&self) -> &tokenizers::Tokenizer {
        self.plain.get_or_init(|| {
            let mut plain = self.inner.clone();
            plain.set_encode_special_tokens(true);
            plain
        })
    }

    /// Tokens of `text`, with the bytes that each stands for.
    ///
    /// # Errors
    /// The tokenizer has no token for a part of the text.
    pub fn encode_with_offsets(
        &self,
        text: &str,
        add_special_tokens: bool,
    ) -> Result<Encoding, Error> {
        let encoding = self.inner.encode(text, add_special_tokens);
        let encoding = encoding.map_err(|error| failed("tokenize text", &error))?;
        let offsets = encoding.get_offsets().iter();
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            offsets: offsets.map(|&(start, end)| start..end).collect(),
        })
    }

    /// Text of `ids` as a whole.
    ///
    /// # Errors
    /// The decoder does not accept the tokens.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, Error> {
        let text = self.inner.decode(ids, skip_special_tokens);
        text.map_err(|error| failed("decode tokens", &error))
    }

    /// The token as the vocabulary writes it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token, as the vocabulary writes it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The bytes that a token adds inside a text; not always whole characters.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        match &self.pieces {
            Some(pieces) => match pieces.get(id) {
                (PieceKind::Unknown, _) => None,
                (_, bytes) => Some(bytes.to_vec()),
            },
            None => self.inner.id_to_token(id).map(String::into_bytes),
        }
    }

    /// Whether a token is a control token rather than text.
    pub fn is_special(&self, id: u32) -> bool {
        if let Some(pieces) = &self.pieces {
            return pieces.get(id).0 == PieceKind::Special;
        }
        let token = self.inner.id_to_token(id);
        token.is_some_and(|token| {
            let added = self.inner.get_added_vocabulary();
            added.is_special_token(&token)
        })
    }

    /// Size of the vocabulary, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    pub(crate) const fn pieces(&self) -> Option<&Pieces> {
        self.pieces.as_ref()
    }
}

fn failed(action: &'static str, error: &tokenizers::Error) -> Error {
    Error::Tokenizer {
        action,
        message: error.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
