//! Beginnings of prompts, as text: what a router that has no tokenizer can compare with what a
//! serving plane has cached.
//!
//! A prompt is a text that is cut every [`CHUNK`] bytes, and each full chunk has a hash that covers
//! everything before it. Both sides compute the hashes with the functions of this module, so that
//! they agree.

mod filter;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::openai::body::JsonObject;
pub use filter::{MAX_PREFIXES, PrefixFilter, UndecodableFilter};

/// Bytes between two hashes.
pub const CHUNK: usize = 512;

/// Ends a role, a content and a tool call, so that text cannot move between them unseen.
const END: u8 = 0;

/// Hash of a beginning of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixHash(pub u64);

/// The beginnings of one prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptPrefixes {
    /// Of each full chunk, the first of the prompt first.
    pub hashes: Vec<PrefixHash>,
    /// Bytes of the whole prompt.
    pub bytes: usize,
}

impl PromptPrefixes {
    /// Those of a request's prompts, by its body: its `messages` after its `tools`, as chat
    /// templates write them, or else its `prompt`. Token ids are no text, and a body that cannot be
    /// read has no prompt.
    pub fn of(body: &JsonObject) -> Vec<Self> {
        if let Some(messages) = body.raw("messages") {
            return conversation(body.raw("tools"), messages)
                .into_iter()
                .collect();
        }
        let prompt = body.raw("prompt").map(RawValue::get);
        let prompt = prompt.and_then(|raw| serde_json::from_str::<Texts<'_>>(raw).ok());
        match prompt {
            Some(Texts::One(Text(text))) => vec![Self::of_text(&text)],
            Some(Texts::Many(texts)) => {
                texts.iter().map(|Text(text)| Self::of_text(text)).collect()
            }
            None => Vec::new(),
        }
    }

    /// Those of a text.
    pub fn of_text(text: &str) -> Self {
        let mut chain = Chain::default();
        chain.write(text.as_bytes());
        chain.prefixes
    }

    /// How many bytes of the prompt's beginning a filter holds.
    pub fn overlap(&self, filter: &PrefixFilter) -> usize {
        let held = self.hashes.iter().take_while(|hash| filter.holds(**hash));
        held.count() * CHUNK
    }
}

/// A text that borrows from the body where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts<'a> {
    #[serde(borrow)]
    One(Text<'a>),
    Many(Vec<Text<'a>>),
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

fn conversation(tools: Option<&RawValue>, messages: &RawValue) -> Option<PromptPrefixes> {
    let messages: Vec<Message<'_>> = serde_json::from_str(messages.get()).ok()?;
    let mut chain = Chain::default();
    if let Some(tools) = tools {
        chain.end(tools.get().as_bytes());
    }
    for message in &messages {
        chain.end(message.role.as_bytes());
        if let Some(content) = message.content {
            chain.content(content.get())?;
        }
        chain.end(&[]);
        if let Some(calls) = message.tool_calls {
            chain.end(calls.get().as_bytes());
        }
    }
    Some(chain.prefixes)
}

/// Hashes a text that comes in pieces; how it is cut makes no difference.
#[derive(Debug, Default)]
struct Chain {
    prefixes: PromptPrefixes,
    /// The beginning of the next chunk.
    rest: Vec<u8>,
}

impl Chain {
    fn write(&mut self, mut piece: &[u8]) {
        self.prefixes.bytes += piece.len();
        if !self.rest.is_empty() {
            let (head, tail) = piece.split_at(piece.len().min(CHUNK - self.rest.len()));
            self.rest.extend_from_slice(head);
            piece = tail;
            if self.rest.len() == CHUNK {
                let chunk = std::mem::take(&mut self.rest);
                self.push(&chunk);
            }
        }
        let mut chunks = piece.chunks_exact(CHUNK);
        for chunk in &mut chunks {
            self.push(chunk);
        }
        self.rest.extend_from_slice(chunks.remainder());
    }

    fn end(&mut self, piece: &[u8]) {
        self.write(piece);
        self.write(&[END]);
    }

    /// A message's content, which is a text or a list of parts that follow each other.
    fn content(&mut self, raw: &str) -> Option<()> {
        if let Ok(Text(text)) = serde_json::from_str(raw) {
            self.write(text.as_bytes());
            return Some(());
        }
        let parts: Option<Vec<Part<'_>>> = serde_json::from_str(raw).ok()?;
        for text in parts.into_iter().flatten().filter_map(|part| part.text) {
            self.write(text.as_bytes());
        }
        Some(())
    }

    fn push(&mut self, chunk: &[u8]) {
        let before = self.prefixes.hashes.last().map_or(0, |hash| hash.0);
        let hash = xxh3_64_with_seed(chunk, before);
        self.prefixes.hashes.push(PrefixHash(hash));
    }
}

#[cfg(test)]
mod tests;
