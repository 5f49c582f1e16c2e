//! What each token adds to the text, worked out once per tokenizer.
//!
//! Decoders of language models act on each token alone, apart from what happens at the very start
//! of a text and from characters whose bytes are spread over tokens. So a table from token to
//! bytes replaces running the decoder, and makes decoding one token cheap.

use serde::Deserialize;
use tokenizers::Tokenizer;

/// How the bytes of successive tokens become text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Joining {
    /// Byte-level BPE: every token is bytes of UTF-8.
    Bytes,
    /// SentencePiece style: tokens are text, except those that are a single byte each.
    Fallback {
        /// Cut off the start of the text if present, this many times.
        strip: Option<(char, usize)>,
    },
    /// Metaspace: tokens are text, and the first one drops its spaces.
    FirstWithoutSpaces,
}

/// Bytes of every token of a vocabulary.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub(crate) joining: Joining,
    bytes: Vec<u8>,
    /// End of each token's bytes.
    ends: Vec<u32>,
    kinds: Vec<PieceKind>,
}

/// What a token is, for joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// A gap in the vocabulary; decoders ignore it.
    Unknown,
    /// Text, or bytes of it.
    Plain,
    /// One byte of a character that has no token.
    Byte,
    /// A control token, left out on request.
    Special,
}

/// The decoder as `tokenizer.json` writes it, as far as pieces can represent it.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Decoder {
    ByteLevel,
    ByteFallback,
    Fuse,
    Sequence {
        decoders: Vec<Decoder>,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    Metaspace {
        replacement: char,
        prepend_scheme: Option<String>,
    },
}

#[derive(Debug, Deserialize)]
enum Pattern {
    String(String),
}

/// How one token's text becomes its piece.
struct Recipe {
    joining: Joining,
    replace: Vec<(String, String)>,
    byte_fallback: bool,
}

impl Pieces {
    /// Works out the pieces; `None` if the decoder does not act on tokens one by one.
    pub(crate) fn new(tokenizer: &Tokenizer) -> Option<Self> {
        let decoder = serde_json::to_value(tokenizer.get_decoder()?).ok()?;
        let recipe = Recipe::new(serde_json::from_value(decoder).ok()?)?;
        let mut vocabulary: Vec<_> = tokenizer.get_vocab(true).into_iter().collect();
        vocabulary.sort_unstable_by_key(|(_, id)| *id);
        let added = tokenizer.get_added_tokens_decoder();
        let mut pieces = Self {
            joining: recipe.joining.clone(),
            bytes: Vec::new(),
            ends: Vec::new(),
            kinds: Vec::new(),
        };
        for (token, id) in vocabulary {
            let id = id as usize;
            if id < pieces.ends.len() {
                // Two names for one id: decoding uses the added one.
                continue;
            }
            let end = pieces.ends.last().copied().unwrap_or(0);
            pieces.ends.resize(id, end);
            pieces.kinds.resize(id, PieceKind::Unknown);
            let added = added.get(&u32::try_from(id).ok()?);
            let token = added.map_or(token, |added| added.content.clone());
            let mut kind = recipe.append(&token, &mut pieces.bytes);
            if added.is_some_and(|added| added.special) {
                kind = PieceKind::Special;
            }
            pieces.ends.push(u32::try_from(pieces.bytes.len()).ok()?);
            pieces.kinds.push(kind);
        }
        Some(pieces)
    }

    /// Kind and bytes of a token.
    pub(crate) fn get(&self, id: u32) -> (PieceKind, &[u8]) {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else {
            return (PieceKind::Unknown, &[]);
        };
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        (self.kinds[id], &self.bytes[start as usize..end as usize])
    }
}

impl Recipe {
    fn new(decoder: Decoder) -> Option<Self> {
        let mut recipe = Self {
            joining: Joining::Fallback { strip: None },
            replace: Vec::new(),
            byte_fallback: false,
        };
        let steps = match decoder {
            Decoder::Sequence { decoders } => decoders,
            single => vec![single],
        };
        let only = steps.len() == 1;
        let mut fused = false;
        for step in steps {
            match step {
                Decoder::ByteLevel if only => recipe.joining = Joining::Bytes,
                Decoder::Metaspace {
                    replacement,
                    prepend_scheme,
                } if only => {
                    recipe
                        .replace
                        .push((replacement.to_string(), " ".to_owned()));
                    if prepend_scheme.as_deref() != Some("never") {
                        recipe.joining = Joining::FirstWithoutSpaces;
                    }
                }
                Decoder::Replace {
                    pattern: Pattern::String(pattern),
                    content,
                } if !fused && !recipe.byte_fallback => {
                    recipe.replace.push((pattern, content));
                }
                Decoder::ByteFallback if !fused => recipe.byte_fallback = true,
                Decoder::Fuse => fused = true,
                Decoder::Strip {
                    content,
                    start,
                    stop: 0,
                } if fused => {
                    recipe.joining = Joining::Fallback {
                        strip: Some((content, start)),
                    };
                }
                _ => return None,
            }
        }
        Some(recipe)
    }

    fn append(&self, token: &str, bytes: &mut Vec<u8>) -> PieceKind {
        if self.joining == Joining::Bytes {
            let start = bytes.len();
            for char in token.chars() {
                let Some(byte) = byte_of(char) else {
                    // Not written in the byte alphabet, so it stands for itself.
                    bytes.truncate(start);
                    bytes.extend_from_slice(token.as_bytes());
                    break;
                };
                bytes.push(byte);
            }
            return PieceKind::Plain;
        }
        let mut token = token.to_owned();
        for (pattern, content) in &self.replace {
            token = token.replace(pattern, content);
        }
        if self.byte_fallback
            && let Some(byte) = fallback_byte(&token)
        {
            bytes.push(byte);
            return PieceKind::Byte;
        }
        bytes.extend_from_slice(token.as_bytes());
        PieceKind::Plain
    }
}

/// The byte that `<0x0A>` stands for.
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// The byte that a character of GPT-2's byte alphabet stands for: printable Latin-1 characters
/// stand for themselves, and the other bytes, in order, for U+0100 and up.
fn byte_of(char: char) -> Option<u8> {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u32::from(char) {
        code @ 0..=0xff => u8::try_from(code).ok().filter(|byte| is_printable(*byte)),
        code => {
            let index = usize::try_from(code - 0x100).ok()?;
            (0..=0xff).filter(|byte| !is_printable(*byte)).nth(index)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_gpt2s() {
        assert_eq!(byte_of('A'), Some(b'A'));
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
        assert_eq!(byte_of('é'), Some(0xe9));
        assert_eq!(byte_of('\u{143}'), Some(0xad));
        assert_eq!(byte_of('\u{144}'), None);
        assert_eq!(byte_of(' '), None);
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let mut bytes: Vec<_> = alphabet.iter().filter_map(|char| byte_of(*char)).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=0xff).collect::<Vec<_>>());
    }

    #[test]
    fn fallback_bytes_have_two_digits() {
        assert_eq!(fallback_byte("<0x0A>"), Some(10));
        assert_eq!(fallback_byte("<0xA>"), None);
        assert_eq!(fallback_byte("<0x+A>"), Some(10));
        assert_eq!(fallback_byte("0x0A"), None);
    }
}
