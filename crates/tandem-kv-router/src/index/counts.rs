//! What happened to the events.

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened to the events so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Store events applied.
    pub stored: u64,
    /// Remove events applied.
    pub removed: u64,
    /// Clear events applied.
    pub cleared: u64,
    /// Store events rejected because their parent is unknown.
    pub unknown_parent: u64,
    /// Blocks that were to be removed but are unknown.
    pub unknown_blocks: u64,
    /// Blocks forgotten because their worker reported more than it can hold: it does not say what
    /// it evicts, or what it said was lost.
    pub over_cap: u64,
}

/// [`EventCounts`] while they are counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) stored: AtomicU64,
    pub(super) removed: AtomicU64,
    pub(super) cleared: AtomicU64,
    pub(super) unknown_parent: AtomicU64,
    pub(super) unknown_blocks: AtomicU64,
    pub(super) over_cap: AtomicU64,
}

impl Counters {
    pub(super) fn add(&self, counter: impl Fn(&Self) -> &AtomicU64, count: usize) {
        if count > 0 {
            counter(self).fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> EventCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EventCounts {
            stored: read(&self.stored),
            removed: read(&self.removed),
            cleared: read(&self.cleared),
            unknown_parent: read(&self.unknown_parent),
            unknown_blocks: read(&self.unknown_blocks),
            over_cap: read(&self.over_cap),
        }
    }
}
