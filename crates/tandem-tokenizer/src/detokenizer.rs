//! Token ids to text, one token at a time.
//!
//! The text of a prefix of the tokens is not always a prefix of the text: a character can be
//! spread over tokens. So text is released only in whole characters. With `prompt` before the
//! generated tokens, everything pushed and finished adds up to the text of `prompt + tokens`
//! after the whole characters of the prompt.
//!
//! That equals decoding all at once, exactly, for byte-level, SentencePiece and Metaspace
//! decoders, with one exception: of a run of byte tokens (SentencePiece) that is not valid UTF-8,
//! only the invalid bytes are replaced, while decoding at once replaces the whole run, whose valid
//! characters were released already. Other decoders (WordPiece, CTC) change
//! earlier text when a token is added; for them a window of recent tokens is decoded each time,
//! and the result may differ in spacing.

use std::sync::Arc;

use crate::Tokenizer;
use crate::pieces::{Joining, PieceKind};

/// Tokens that precede the generated ones in a window, at most.
const WINDOW: usize = 6;

/// Prompt tokens whose bytes may belong to a character that the first generated token completes:
/// a character has at most four bytes, and not every token has one.
const CONTEXT: usize = 16;

/// Turns a stream of tokens into text.
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    skip_special_tokens: bool,
    /// Bytes of a character that is not complete yet.
    pending: Vec<u8>,
    /// Whether no text came before.
    at_start: bool,
    /// Characters to cut off the start of the text.
    to_strip: usize,
    window: Window,
}

/// Recent tokens, for decoders that need context.
#[derive(Debug, Default)]
struct Window {
    ids: Vec<u32>,
    /// How many of the tokens have been released.
    released: usize,
}

impl Detokenizer {
    /// Starts after `prompt`, whose text is not repeated.
    pub fn new(tokenizer: Arc<Tokenizer>, prompt: &[u32], skip_special_tokens: bool) -> Self {
        let strip = match tokenizer.pieces().map(|pieces| &pieces.joining) {
            Some(Joining::Fallback {
                strip: Some((_, count)),
            }) => *count,
            _ => 0,
        };
        let mut detokenizer = Self {
            tokenizer,
            skip_special_tokens,
            pending: Vec::new(),
            at_start: true,
            to_strip: strip,
            window: Window::default(),
        };
        let context = &prompt[prompt.len().saturating_sub(CONTEXT)..];
        for &id in context {
            detokenizer.push(id);
        }
        if context.len() < prompt.len() {
            detokenizer.at_start = false;
            detokenizer.to_strip = 0;
        }
        detokenizer
    }

    /// Takes the next token; returns the text that it completes, if any.
    pub fn push(&mut self, id: u32) -> Option<String> {
        let mut text = String::new();
        self.push_into(id, &mut text);
        (!text.is_empty()).then_some(text)
    }

    /// Takes the next token; appends the text that it completes.
    pub fn push_into(&mut self, id: u32, text: &mut String) {
        // The table is borrowed apart from the state that it drives.
        let tokenizer = Arc::clone(&self.tokenizer);
        let Some(pieces) = tokenizer.pieces() else {
            self.push_to_window(id, text);
            return;
        };
        let (kind, bytes) = pieces.get(id);
        match kind {
            PieceKind::Unknown => return,
            PieceKind::Special if self.skip_special_tokens => return,
            _ => {}
        }
        match pieces.joining {
            Joining::Bytes => {
                self.pending.extend_from_slice(bytes);
                self.release_characters(text, |_| 1);
            }
            Joining::Fallback { strip } => {
                let start = text.len();
                if kind == PieceKind::Byte {
                    self.pending.extend_from_slice(bytes);
                    self.release_characters(text, |invalid| invalid);
                } else {
                    self.release_incomplete(text);
                    text.push_str(&String::from_utf8_lossy(bytes));
                }
                self.strip_start(text, start, strip);
            }
            Joining::FirstWithoutSpaces => {
                let piece = String::from_utf8_lossy(bytes);
                if self.at_start {
                    text.extend(piece.chars().filter(|char| *char != ' '));
                } else {
                    text.push_str(&piece);
                }
            }
        }
        self.at_start = false;
    }

    /// Ends the stream; returns what is left of it: a character that never became complete shows
    /// as U+FFFD.
    pub fn finish(&mut self) -> Option<String> {
        let mut text = String::new();
        if self.tokenizer.pieces().is_some() {
            self.release_incomplete(&mut text);
        } else {
            let released = self.decode(self.window.released);
            text = added(&released, &self.decode(self.window.ids.len())).to_owned();
            self.window.released = self.window.ids.len();
        }
        (!text.is_empty()).then_some(text)
    }

    /// Moves whole characters from `pending` to `text`. `replacements` says how many U+FFFD stand
    /// for a number of invalid bytes.
    fn release_characters(&mut self, text: &mut String, replacements: impl Fn(usize) -> usize) {
        let mut done = 0;
        loop {
            let rest = &self.pending[done..];
            let error = match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.pending.clear();
                    return;
                }
                Err(error) => error,
            };
            text.push_str(&String::from_utf8_lossy(&rest[..error.valid_up_to()]));
            done += error.valid_up_to();
            let Some(invalid) = error.error_len() else {
                break;
            };
            text.extend(std::iter::repeat_n('\u{fffd}', replacements(invalid)));
            done += invalid;
        }
        self.pending.drain(..done);
    }

    /// Gives up on the character in `pending`.
    fn release_incomplete(&mut self, text: &mut String) {
        let joined = self.tokenizer.pieces().map(|pieces| &pieces.joining);
        let count = match joined {
            Some(Joining::Bytes) => usize::from(!self.pending.is_empty()),
            _ => self.pending.len(),
        };
        text.extend(std::iter::repeat_n('\u{fffd}', count));
        self.pending.clear();
    }

    /// Cuts what the decoder cuts off the start of a text; what is new begins at `start`.
    fn strip_start(&mut self, text: &mut String, start: usize, strip: Option<(char, usize)>) {
        let Some((char, _)) = strip else {
            return;
        };
        while self.to_strip > 0 && text.len() > start {
            if text[start..].starts_with(char) {
                text.remove(start);
                self.to_strip -= 1;
            } else {
                self.to_strip = 0;
            }
        }
    }

    fn push_to_window(&mut self, id: u32, text: &mut String) {
        self.window.ids.push(id);
        let released = self.decode(self.window.released);
        let all = self.decode(self.window.ids.len());
        let new = added(&released, &all);
        let waiting = self.window.ids.len() - self.window.released;
        if new.is_empty() || new.ends_with('\u{fffd}') && waiting < CONTEXT {
            return;
        }
        text.push_str(new);
        let surplus = self.window.ids.len().saturating_sub(WINDOW);
        self.window.ids.drain(..surplus);
        self.window.released = self.window.ids.len();
    }

    /// Text of the first `count` tokens of the window.
    fn decode(&self, count: usize) -> String {
        let ids = &self.window.ids[..count];
        let text = self.tokenizer.decode(ids, self.skip_special_tokens);
        // A decoder that rejects its own vocabulary shows nothing rather than ending the stream.
        text.unwrap_or_default()
    }
}

/// What `after` has beyond `before`.
fn added<'a>(before: &str, after: &'a str) -> &'a str {
    let common = before
        .chars()
        .zip(after.chars())
        .take_while(|(a, b)| a == b);
    let common: usize = common.map(|(char, _)| char.len_utf8()).sum();
    &after[common..]
}

#[cfg(test)]
mod tests;
