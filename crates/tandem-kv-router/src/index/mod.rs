//! Which prefix of a prompt each worker has cached.
//!
//! [`RadixIndex`] follows the workers' KV events; [`ApproximateIndex`] guesses from past routing
//! decisions when there are no events. Both answer with [`Overlaps`].
//!
//! An overlap is a *contiguous* prefix: a worker that lost block 3 is not credited for blocks 4
//! and on, although it may still hold them, because an engine can only reuse a prefix from its
//! start. (Dynamo 0.6.1 credits them.)
//!
//! Reading needs `&self`, so any number of threads may match at once; applying events needs
//! `&mut self`. [`crate::KvRouter`] holds the index behind a `parking_lot::RwLock` that is
//! taken for one match or one event at a time, and is itself shared as an `Arc`.

mod approximate;
mod radix;
mod run;
mod tree;

use crate::Worker;

pub use approximate::ApproximateConfig;
pub(crate) use approximate::ApproximateIndex;
pub use radix::{ApplyError, EventCounts, RadixIndex};

/// Contiguous prefix, in blocks, that each worker has cached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlaps {
    /// Workers with at least one block, in order.
    by_worker: Vec<(Worker, u32)>,
}

impl Overlaps {
    /// Blocks of the prompt's prefix that `worker` has cached.
    pub fn get(&self, worker: Worker) -> u32 {
        let found = self
            .by_worker
            .binary_search_by_key(&worker, |entry| entry.0);
        found.map_or(0, |index| self.by_worker[index].1)
    }

    /// Workers with at least one block, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Worker, u32)> {
        self.by_worker.iter().copied()
    }

    /// Whether no worker has any block.
    pub fn is_empty(&self) -> bool {
        self.by_worker.is_empty()
    }
}

impl FromIterator<(Worker, u32)> for Overlaps {
    fn from_iter<I: IntoIterator<Item = (Worker, u32)>>(entries: I) -> Self {
        let mut by_worker: Vec<_> = entries.into_iter().filter(|entry| entry.1 > 0).collect();
        by_worker.sort_unstable();
        Self { by_worker }
    }
}
