//! The way of one text through one network, window by window.

use std::sync::Arc;

use crate::encoder::{normalise, softmax};
use crate::model::{Answer, Model, Window};
use crate::pii::ModelSpan;
use crate::pii::decode::{TokenTag, decode};
use crate::tokenize::{Token, piece_end};
use crate::window::WeightedMean;
use crate::{Analysis, Heads, LabelScore};

/// Bytes that are tokenized at a time, so that a long text lets others through.
const PIECE: usize = 16 * 1024;

/// How far a text has come.
#[derive(Debug)]
pub(crate) struct Progress {
    heads: Heads,
    tokens: Vec<Token>,
    /// Bytes tokenized so far.
    read: usize,
    /// The normalised text, if it was tokenized in one piece.
    normalised: Option<String>,
    /// Windows answered so far.
    windows: usize,
    done: bool,
    domain: WeightedMean,
    jailbreak: Option<f32>,
    embedding: WeightedMean,
    /// One per token answered so far, with its distance to the nearer edge of its window.
    tags: Vec<(TokenTag, usize)>,
}

impl Progress {
    pub(crate) fn new(heads: Heads) -> Self {
        Self {
            heads,
            tokens: Vec::new(),
            read: 0,
            normalised: None,
            windows: 0,
            done: false,
            domain: WeightedMean::default(),
            jailbreak: None,
            embedding: WeightedMean::default(),
            tags: Vec::new(),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Tokenizes a piece if the next window lacks tokens. Returns whether the window is there.
    pub(crate) fn prepare(&mut self, model: &Model, text: &str) -> Result<bool, tokenizers::Error> {
        if self.next_range(model, text).is_none() {
            let end = piece_end(text, self.read, PIECE);
            let piece = self.read..end;
            let whole = piece == (0..text.len());
            let normalised = model.tokenizer.tokenize(text, piece, &mut self.tokens)?;
            self.normalised = normalised.filter(|_| whole);
            self.read = end;
        }
        Ok(self.next_range(model, text).is_some())
    }

    /// The next window; `None` unless [`Self::prepare`] said that it is there.
    pub(crate) fn window<'a>(&'a self, model: &Model, text: &'a str) -> Option<Window<'a>> {
        let (range, last) = self.next_range(model, text)?;
        let only = last && self.windows == 0;
        let tokens = &self.tokens[range];
        let text = match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) if !only => &text[first.start as usize..last.end as usize],
            _ => text,
        };
        Some(Window {
            heads: self.heads,
            tokens,
            text,
            normalised: self.normalised.as_deref().filter(|_| only),
        })
    }

    fn next_range(&self, model: &Model, text: &str) -> Option<(std::ops::Range<usize>, bool)> {
        let complete = self.read == text.len() && (self.read > 0 || text.is_empty());
        model
            .window
            .range(self.windows, self.tokens.len(), complete)
    }

    /// Takes in the answer to the window.
    pub(crate) fn absorb(&mut self, model: &Model, text: &str, answer: Answer) {
        let Some((range, last)) = self.next_range(model, text) else {
            return;
        };
        let count = range.len();
        if let Some(logits) = answer.domain_logits {
            self.domain.add(&logits, count);
        }
        if let Some(vector) = answer.embedding {
            self.embedding.add(&vector, count);
        }
        if let Some(probability) = answer.jailbreak {
            let so_far = self.jailbreak.unwrap_or(0.0);
            self.jailbreak = Some(so_far.max(probability));
        }
        for (position, tag) in answer.tags.into_iter().flatten().enumerate() {
            let edge = position.min(count - 1 - position);
            match self.tags.get_mut(range.start + position) {
                Some(slot) if edge > slot.1 => *slot = (tag, edge),
                Some(_) => {}
                None => self.tags.push((tag, edge)),
            }
        }
        self.windows += 1;
        self.done = last;
    }

    /// Writes the answers to the whole text into an analysis; spans of the model are returned.
    pub(crate) fn finish(
        self,
        model: &Model,
        text: &str,
        analysis: &mut Analysis,
    ) -> Option<Vec<ModelSpan>> {
        if let Some(head) = &model.domain
            && let Some(mut row) = self.domain.finish()
        {
            softmax(&mut row);
            let mut scores: Vec<_> = head
                .labels
                .iter()
                .zip(row)
                .map(|(label, score)| LabelScore {
                    label: Arc::clone(label),
                    score,
                })
                .collect();
            scores.sort_by(|a, b| b.score.total_cmp(&a.score));
            analysis.domain = Some(scores);
        }
        if let Some(probability) = self.jailbreak {
            analysis.jailbreak = Some(probability);
        }
        if let Some(mut vector) = self.embedding.finish() {
            normalise(&mut vector);
            analysis.embedding = Some(vector.into());
        }
        let head = model.pii.as_ref().filter(|_| self.heads.pii)?;
        let tags: Vec<TokenTag> = self.tags.into_iter().map(|(tag, _)| tag).collect();
        Some(decode(text, &head.scheme, &tags))
    }
}
