//! A stored answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::key::Key;

/// An answer with what it answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// What similar requests are found by; `None` if only the same request may have the answer.
    pub(crate) question: Option<Asked>,
    /// The body as the model gave it: JSON, or all frames of a stream.
    pub(crate) answer: Bytes,
    pub(crate) model: String,
    pub(crate) decision: Option<String>,
    pub(crate) stored: Moment,
    /// `None` is never.
    pub(crate) expires: Option<Moment>,
}

/// The question of an entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// Of the request around it.
    pub(crate) rest: Key,
    pub(crate) text: String,
    pub(crate) embedding: Arc<[f32]>,
    /// What its words are found by.
    pub(crate) terms: Vec<u64>,
}

/// A point in time that processes share: milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(pub(crate) u64);

/// Bytes of an entry beside its texts: its places in the maps.
const OVERHEAD: usize = 640;
/// Bytes of a term: its place in the index.
const TERM: usize = 64;

impl Entry {
    /// Bytes that it takes in memory, a little too many rather than too few.
    pub(crate) fn bytes(&self) -> usize {
        let names = self.model.len() + self.decision.as_ref().map_or(0, String::len);
        let question = self.question.as_ref().map_or(0, |question| {
            question.text.len() + size_of_val(&*question.embedding) + question.terms.len() * TERM
        });
        OVERHEAD + self.answer.len() + names + question
    }

    pub(crate) fn is_expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// How long it has been stored.
    pub(crate) fn age(&self, now: Moment) -> Duration {
        Duration::from_millis(now.0.saturating_sub(self.stored.0))
    }
}

impl Moment {
    /// After everything.
    pub(crate) const MAX: Self = Self(u64::MAX);

    pub(crate) fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = now.map_or(0, |now| now.as_millis());
        Self(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    pub(crate) fn before(self, wait: Duration) -> Self {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    pub(crate) fn after(self, wait: Duration) -> Self {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}
