//! Control tokens that a message spells out stay text.
//!
//! A chat template writes the turns of a conversation as one string, in which `<|im_end|>` ends a
//! turn. A client that puts those characters into a message could end its own turn and write one
//! in the name of the system. So everything that a client may choose is searched before it is
//! rendered: a mark, a character that occurs nowhere else, goes into each control token that is
//! spelled out. When the rendered prompt is tokenized the mark comes out again, and what it was in is
//! plain text.
//!
//! What is searched must be what the template sees: text that is decoded later may spell out more.

use std::collections::HashSet;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use serde_json::Value;

/// The control tokens of a tokenizer: those that it calls special.
#[derive(Debug)]
pub struct ControlTokens {
    automaton: AhoCorasick,
}

/// What [`ChatTemplate::render_marked`](crate::ChatTemplate::render_marked) put into the prompt, if
/// anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks(Option<char>);

/// A prompt without its marks, in stretches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unmarked {
    /// The prompt.
    pub text: String,
    /// Byte ranges of `text` that are control tokens by their characters only, ascending.
    pub literal: Vec<Range<usize>>,
}

impl ControlTokens {
    pub(crate) fn new(tokenizer: &tokenizers::Tokenizer) -> Result<Self, String> {
        let added = tokenizer.get_added_vocabulary();
        let tokens = added.get_added_tokens_decoder().values();
        let special = tokens.filter(|token| token.special && !token.content.is_empty());
        let automaton = AhoCorasick::new(special.map(|token| &token.content));
        Ok(Self {
            automaton: automaton.map_err(|error| error.to_string())?,
        })
    }

    /// Marks the control tokens that the strings of `inputs` spell out, also across the ends of
    /// strings, since templates join them. Inputs that spell out none stay as they are.
    pub(crate) fn mark(&self, inputs: &mut [Value]) -> Marks {
        let mut text = String::new();
        for_each_string(inputs, &mut |string| text.push_str(string));
        let found = self.automaton.find_overlapping_iter(&text);
        let mut starts: Vec<usize> = found.map(|token| token.start()).collect();
        starts.sort_unstable();
        starts.dedup();
        if starts.is_empty() {
            return Marks(None);
        }
        let Some(mark) = unused_character(&text) else {
            return Marks(None);
        };
        let mut end = 0;
        for_each_string(inputs, &mut |string| {
            let begin = end;
            end += string.len();
            let here = starts.partition_point(|start| *start < begin)
                ..starts.partition_point(|start| *start < end);
            for start in starts[here].iter().rev() {
                let first = string[start - begin..].chars().next();
                string.insert(start - begin + first.map_or(0, char::len_utf8), mark);
            }
        });
        Marks(Some(mark))
    }

    /// Takes the marks out of a prompt; `None` if there are none.
    pub(crate) fn unmark(&self, prompt: &str, marks: Marks) -> Option<Unmarked> {
        let mut pieces = prompt.split(marks.0?);
        let mut text = pieces.next()?.to_owned();
        let mut starts = Vec::new();
        for piece in pieces {
            let first = text.chars().next_back();
            starts.push(text.len() - first.map_or(0, char::len_utf8));
            text.push_str(piece);
        }
        let mut literal: Vec<Range<usize>> = Vec::new();
        for token in self.automaton.find_overlapping_iter(&text) {
            if starts.binary_search(&token.start()).is_ok() {
                literal.push(token.range());
            }
        }
        literal.sort_unstable_by_key(|range| range.start);
        // Overlapping ones become one: tokenized apart, the second could still be found.
        literal.dedup_by(|next, merged| {
            let overlap = next.start < merged.end;
            if overlap {
                merged.end = merged.end.max(next.end);
            }
            overlap
        });
        Some(Unmarked { text, literal })
    }
}

/// A character that `text` does not hold, of private use if there is one. To have none left, a
/// client would have to send all million of them, which is more than any model's context.
fn unused_character(text: &str) -> Option<char> {
    let range = '\u{e000}'..=char::MAX;
    let used: HashSet<char> = text.chars().filter(|one| range.contains(one)).collect();
    range.into_iter().find(|one| !used.contains(one))
}

/// Visits every string of `inputs`: first the texts, in the order in which a template would write
/// them, then the names between them, which must not keep two texts apart.
fn for_each_string(inputs: &mut [Value], visit: &mut impl FnMut(&mut String)) {
    for input in &mut *inputs {
        for_each_text(input, visit);
    }
    for input in inputs {
        for_each_name(input, visit);
    }
}

fn for_each_text(value: &mut Value, visit: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(string) => visit(string),
        Value::Array(items) => {
            for item in items {
                for_each_text(item, visit);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                if !names_a_kind(name, member) {
                    for_each_text(member, visit);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn for_each_name(value: &mut Value, visit: &mut impl FnMut(&mut String)) {
    match value {
        Value::Array(items) => {
            for item in items {
                for_each_name(item, visit);
            }
        }
        Value::Object(members) => {
            for (mut name, mut member) in std::mem::take(members) {
                match &mut member {
                    Value::String(kind) if NAMES_OF_KINDS.contains(&name.as_str()) => visit(kind),
                    _ => for_each_name(&mut member, visit),
                }
                visit(&mut name);
                members.insert(name, member);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Members whose value says what kind of thing their object is.
const NAMES_OF_KINDS: [&str; 2] = ["type", "role"];

fn names_a_kind(name: &str, member: &Value) -> bool {
    member.is_string() && NAMES_OF_KINDS.contains(&name)
}

#[cfg(test)]
mod tests;
