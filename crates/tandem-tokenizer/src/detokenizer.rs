//! Incremental detokenization: text as soon as it is certain, never half a character.

use std::sync::Arc;

use crate::tokenizer::Tokenizer;

/// Prompt tokens that are decoded along, so that the first answer token has its left context.
const CONTEXT: usize = 5;
/// Tokens after which undecodable bytes are shown as they are: no character is that long.
const MAX_PENDING: usize = 16;

/// Turns tokens into text, one at a time.
///
/// The pieces together are the text of all tokens. For byte-level tokenizers, that is exactly
/// [`Tokenizer::decode`] of them. For others, it is the text that the tokens add to the last few
/// tokens of the prompt, as long as the tokens are valid text.
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    skip_special_tokens: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Bytes of an incomplete character.
    Bytes(Vec<u8>),
    Window(Window),
}

/// The tokens from the last certain place on.
#[derive(Debug)]
struct Window {
    tokens: Vec<u32>,
    /// Tokens whose text has been given out.
    given: usize,
}

impl Detokenizer {
    /// A detokenizer for the answer to `prompt`.
    pub fn new(tokenizer: Arc<Tokenizer>, prompt: &[u32], skip_special_tokens: bool) -> Self {
        let state = if tokenizer.is_byte_level() {
            State::Bytes(Vec::new())
        } else {
            let tokens = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
            State::Window(Window {
                given: tokens.len(),
                tokens,
            })
        };
        Self {
            tokenizer,
            skip_special_tokens,
            state,
        }
    }

    /// Text that has become certain with this token.
    pub fn push(&mut self, token: u32) -> Option<String> {
        let text = match &mut self.state {
            State::Bytes(pending) => {
                if !(self.skip_special_tokens && self.tokenizer.is_special(token)) {
                    pending.extend(self.tokenizer.token_bytes(token));
                }
                complete(pending)
            }
            State::Window(window) => {
                window.tokens.push(token);
                window.advance(&self.tokenizer, self.skip_special_tokens, false)
            }
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// What is left at the end: a replacement character for an incomplete one.
    pub fn finish(&mut self) -> Option<String> {
        let text = match &mut self.state {
            State::Bytes(pending) => String::from_utf8_lossy(&std::mem::take(pending)).into_owned(),
            State::Window(window) => {
                window.advance(&self.tokenizer, self.skip_special_tokens, true)
            }
        };
        Some(text).filter(|text| !text.is_empty())
    }
}

/// Takes the complete characters out of `pending`, with a replacement character for each sequence
/// that can never become one, as [`String::from_utf8_lossy`] has it.
fn complete(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = pending.as_slice();
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                rest = &[];
            }
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                rest = after;
                if let Some(bad) = error.error_len() {
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[bad..];
                    continue;
                }
            }
        }
        break;
    }
    let kept = rest.len();
    pending.drain(..pending.len() - kept);
    text
}

impl Window {
    fn advance(&mut self, tokenizer: &Tokenizer, skip_special: bool, last: bool) -> String {
        let before = tokenizer.decode(&self.tokens[..self.given], skip_special);
        let after = tokenizer.decode(&self.tokens, skip_special);
        let waiting = self.tokens.len() - self.given < MAX_PENDING && !last;
        let certain = !after.ends_with(char::REPLACEMENT_CHARACTER);
        let new = match after.strip_prefix(&before) {
            Some(new) if certain || !waiting => new.to_owned(),
            _ if waiting => return String::new(),
            // Bytes that were no character alone have become one: only what follows is new.
            _ => after.chars().skip(before.chars().count()).collect(),
        };
        self.tokens.drain(..self.given);
        self.given = self.tokens.len();
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::tests::{byte_fallback, byte_level};
    use proptest::prelude::*;

    fn incremental(tokenizer: &Arc<Tokenizer>, prompt: &[u32], ids: &[u32]) -> String {
        let mut detokenizer = Detokenizer::new(Arc::clone(tokenizer), prompt, true);
        let mut text = String::new();
        for id in ids {
            text.extend(detokenizer.push(*id));
        }
        text.extend(detokenizer.finish());
        text
    }

    #[test]
    fn a_character_appears_when_it_is_complete() {
        let tokenizer = Arc::new(byte_level());
        let ids = tokenizer.encode("🙂", false).unwrap();
        assert!(ids.len() > 1);
        let mut detokenizer = Detokenizer::new(tokenizer, &[], true);
        let pieces: Vec<_> = ids.iter().map(|id| detokenizer.push(*id)).collect();
        assert_eq!(pieces.last(), Some(&Some("🙂".to_owned())));
        assert!(pieces[..ids.len() - 1].iter().all(Option::is_none));
        assert_eq!(detokenizer.finish(), None);
    }

    #[test]
    fn the_answer_keeps_the_space_that_follows_the_prompt() {
        let tokenizer = Arc::new(byte_fallback());
        let prompt = tokenizer.encode("b", false).unwrap();
        let answer = tokenizer.encode("a", false).unwrap();
        assert_eq!(incremental(&tokenizer, &prompt, &answer), " a");
    }

    proptest! {
        #[test]
        fn byte_level_pieces_are_the_whole_for_any_tokens(
            ids in prop::collection::vec(0_u32..330, 0..60),
        ) {
            let tokenizer = Arc::new(byte_level());
            prop_assert_eq!(incremental(&tokenizer, &[], &ids), tokenizer.decode(&ids, true));
        }

        #[test]
        fn pieces_are_the_whole_for_any_text(text in "[a-c é日🙂]{0,20}") {
            let tokenizer = Arc::new(byte_fallback());
            let prompt = tokenizer.encode("abc", false).unwrap();
            let all = tokenizer.encode(&format!("abc{text}"), false).unwrap();
            let answer = &all[prompt.len()..];
            prop_assert_eq!(incremental(&tokenizer, &prompt, answer), text);
        }

        #[test]
        fn no_piece_ends_within_a_character(text in "\\PC{0,12}") {
            prop_assume!(!text.contains(char::REPLACEMENT_CHARACTER));
            for tokenizer in [byte_level(), byte_fallback()] {
                let ids = tokenizer.encode(&text, false).unwrap();
                let mut detokenizer = Detokenizer::new(Arc::new(tokenizer), &[], true);
                for id in ids {
                    let piece = detokenizer.push(id).unwrap_or_default();
                    prop_assert!(!piece.contains(char::REPLACEMENT_CHARACTER), "{piece:?}");
                }
            }
        }
    }
}
