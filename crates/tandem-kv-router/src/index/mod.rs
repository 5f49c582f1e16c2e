//! Which prefix of a prompt each worker has cached.
//!
//! [`RadixIndex`] follows the workers' KV events; [`ApproximateIndex`] guesses from past routing
//! decisions when there are no events. Both answer with [`Overlaps`].
//!
//! An overlap is a *contiguous* prefix: a worker that lost block 3 is not credited for blocks 4
//! and on, although it may still hold them, because an engine can only reuse a prefix from its
//! start. (Dynamo 0.6.1 credits them.)
//!
//! Both are shared between threads as they are: matches and events need `&self`.

mod age;
mod approximate;
mod bits;
mod counts;
mod ledger;
mod radix;
mod roster;
mod run;
mod shard;
mod table;
mod tier;
mod tree;

use crate::Worker;

pub use approximate::ApproximateConfig;
pub(crate) use approximate::ApproximateIndex;
pub use counts::EventCounts;
pub use radix::{ApplyError, RadixIndex};
pub use tier::Overlap;

/// Contiguous prefix, in blocks, that each worker has cached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlaps {
    /// Workers with at least one block, in order.
    by_worker: Vec<(Worker, Overlap)>,
}

impl Overlaps {
    /// Blocks of the prompt's prefix that `worker` has cached.
    pub fn get(&self, worker: Worker) -> Overlap {
        let found = self
            .by_worker
            .binary_search_by_key(&worker, |entry| entry.0);
        found.map_or(Overlap::default(), |index| self.by_worker[index].1)
    }

    /// Workers with at least one block, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Worker, Overlap)> {
        self.by_worker.iter().copied()
    }

    /// Whether no worker has any block.
    pub fn is_empty(&self) -> bool {
        self.by_worker.is_empty()
    }
}

impl Overlaps {
    /// Those of workers that come in order; some may have nothing.
    fn in_order(workers: impl ExactSizeIterator<Item = (Worker, Overlap)>) -> Self {
        let mut by_worker = Vec::with_capacity(workers.len());
        by_worker.extend(workers.filter(|entry| entry.1.blocks() > 0));
        debug_assert!(by_worker.is_sorted_by_key(|entry| entry.0));
        Self { by_worker }
    }
}

#[cfg(test)]
impl FromIterator<(Worker, Overlap)> for Overlaps {
    fn from_iter<I: IntoIterator<Item = (Worker, Overlap)>>(entries: I) -> Self {
        let mut by_worker: Vec<_> = entries.into_iter().collect();
        by_worker.sort_unstable_by_key(|entry| entry.0);
        Self::in_order(by_worker.into_iter())
    }
}

fn index32(index: usize) -> u32 {
    u32::try_from(index).expect("an index of 2^32 blocks does not fit into memory")
}
