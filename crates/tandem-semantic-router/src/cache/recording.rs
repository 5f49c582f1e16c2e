//! Keeping an answer while it passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;

use super::answer::{self, Answer};
use super::entry::{Asked, Entry, Moment};
use super::flight::Flight;
use super::key::Key;
use super::{MAX_ANSWER, ResponseCache};

/// An answer on its way, to be stored once it is complete. The transport passes every piece on to
/// it; dropping it stores nothing.
#[derive(Debug)]
pub struct Recording {
    cache: Arc<ResponseCache>,
    subject: Subject,
    stream: bool,
    kept: BytesMut,
    reserved: Reserved,
    /// Those who wait for the answer go on when this is dropped.
    _flight: Option<Flight>,
}

/// What the answer is to.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) key: Key,
    pub(super) question: Option<Asked>,
    pub(super) model: String,
    pub(super) decision: Option<String>,
    pub(super) ttl: Option<Duration>,
}

/// Bytes of all recordings together that this one has taken.
#[derive(Debug)]
struct Reserved {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Recording {
    pub(super) fn new(
        cache: Arc<ResponseCache>,
        subject: Subject,
        stream: bool,
        flight: Option<Flight>,
    ) -> Self {
        let all = Arc::clone(&cache.recording);
        Self {
            cache,
            subject,
            stream,
            kept: BytesMut::new(),
            reserved: Reserved { all, own: 0 },
            _flight: flight,
        }
    }

    /// A piece of the answer passes. `None` if the answer is too long to be kept.
    #[must_use]
    pub fn piece(mut self: Box<Self>, piece: &[u8]) -> Option<Box<Self>> {
        if self.kept.len() + piece.len() > MAX_ANSWER || !self.reserved.take(piece.len()) {
            self.cache.statistics.skipped();
            return None;
        }
        self.kept.extend_from_slice(piece);
        Some(self)
    }

    /// The answer is complete as far as the transport can tell: it is stored if it is whole.
    pub fn complete(self: Box<Self>) {
        let Some(kind) = answer::read(&self.kept, self.stream) else {
            self.cache.statistics.skipped();
            return;
        };
        let now = Moment::now();
        let Subject {
            key,
            question,
            model,
            decision,
            ttl,
        } = self.subject;
        let entry = Entry {
            key,
            question: question.filter(|_| kind == Answer::Text),
            answer: self.kept.freeze(),
            model,
            decision,
            stored: now,
            expires: ttl.map(|ttl| now.after(ttl)),
        };
        self.cache.store(Arc::new(entry), now);
    }
}

impl Reserved {
    /// Whether all recordings together may grow by so much.
    fn take(&mut self, bytes: usize) -> bool {
        self.own += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed) + bytes <= super::MAX_RECORDING
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}
