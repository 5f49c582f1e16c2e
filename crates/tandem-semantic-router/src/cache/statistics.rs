//! What the cache has done.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    exact: AtomicU64,
    semantic: AtomicU64,
    misses: AtomicU64,
    stored: AtomicU64,
    skipped: AtomicU64,
    followed: AtomicU64,
}

/// What the cache has done since the start, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Answers to the very same request.
    pub exact_hits: u64,
    /// Answers to a question that asks for the same.
    pub semantic_hits: u64,
    /// Requests that went to a model.
    pub misses: u64,
    /// Answers that were stored.
    pub stored: u64,
    /// Answers that were not stored: broken off, too long, or refused by the model.
    pub skipped: u64,
    /// Requests that waited for the answer to the same request.
    pub followed: u64,
    /// Answers held in this process.
    pub entries: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// Answers dropped to make room.
    pub evicted: u64,
    /// Answers dropped because their time was over.
    pub expired: u64,
}

impl Counters {
    pub(super) fn hit(&self, semantic: bool) {
        let counter = if semantic {
            &self.semantic
        } else {
            &self.exact
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn followed(&self) {
        self.followed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> CacheStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStatistics {
            exact_hits: read(&self.exact),
            semantic_hits: read(&self.semantic),
            misses: read(&self.misses),
            stored: read(&self.stored),
            skipped: read(&self.skipped),
            followed: read(&self.followed),
            ..CacheStatistics::default()
        }
    }
}
