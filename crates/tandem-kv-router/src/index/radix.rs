//! Exact index, fed by the workers' KV events.
//!
//! The tree is kept as runs (see [`super::run`]): paths without a fork are stored contiguously,
//! so that matching a long prompt is a memory comparison and a few hash lookups rather than one
//! lookup per block, and nothing ever moves.
//!
//! Any number of threads may match and apply events at once. Events of one worker wait for each
//! other, and have to be applied in order; those of different workers meet only where they change
//! the same part of the tree (see [`super::tree`]).
//!
//! Memory: a block costs at most 32 bytes once (its hash, with growth slack) and 24 to 32 bytes per
//! worker that holds it (engine hash to place; what a worker removed lately counts, up to three
//! times as much as it holds), a fork about 230 bytes. A worker that reports more than its cap loses
//! what is oldest. Blocks that nobody holds, kept because a worker holds deeper ones, are bounded by
//! [`RadixIndex::sweep`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tandem_protocol::kv::{BlockHash, KvEventData, RouterEvent, SequenceHash, StoredBlock};
use thiserror::Error;

use super::Overlaps;
use super::counts::{Counters, EventCounts};
use super::ledger::{Ledger, UnknownParent};
use super::roster::Roster;
use super::tier::Tier;
use super::tree::Tree;
use crate::Worker;

/// Unheld blocks below which sweeping is not worth it.
const SWEEP_SLACK: usize = 4096;

/// How many times more blocks a worker may have in each slower tier than on its device.
const LOWER_TIER_FACTOR: usize = 16;

/// Prefix tree over the blocks of all workers.
#[derive(Debug)]
pub struct RadixIndex {
    tree: Tree,
    roster: ArcSwap<Roster>,
    /// Held by whoever changes the roster.
    changing_roster: Mutex<()>,
    /// Held by whoever sweeps.
    sweeping: Mutex<()>,
    /// Engine hashes over all workers and tiers.
    held: AtomicUsize,
    max_blocks_per_worker: usize,
    counters: Counters,
}

/// Why an event was not applied.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum ApplyError {
    /// The parent was never stored or is gone: earlier events were lost.
    #[error("failed to store blocks of {worker}: parent block {parent:?} is unknown")]
    UnknownParent {
        /// Whose event.
        worker: Worker,
        /// The missing block.
        parent: SequenceHash,
    },
}

impl Default for RadixIndex {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl RadixIndex {
    /// An empty index that holds at most `max_blocks_per_worker` on the device of each worker, and
    /// a multiple of that in each of its slower tiers.
    pub fn new(max_blocks_per_worker: usize) -> Self {
        Self {
            tree: Tree::new(),
            roster: ArcSwap::default(),
            changing_roster: Mutex::new(()),
            sweeping: Mutex::new(()),
            held: AtomicUsize::new(0),
            max_blocks_per_worker,
            counters: Counters::default(),
        }
    }

    /// Applies one event. Events of one worker have to come one after the other.
    ///
    /// # Errors
    /// The parent of stored blocks is unknown. The index is unchanged then, and the event counted.
    pub fn apply(&self, event: &RouterEvent) -> Result<(), ApplyError> {
        let worker = Worker {
            worker_id: event.worker_id,
            dp_rank: event.event.dp_rank,
        };
        let Some(tier) = Tier::of(event.storage_tier) else {
            return Ok(());
        };
        match &event.event.data {
            KvEventData::Stored(stored) => {
                self.store_in(tier, worker, stored.parent_hash, &stored.blocks)?;
            }
            KvEventData::Removed { block_hashes } => self.remove_from(tier, worker, block_hashes),
            KvEventData::Cleared => self.clear(worker),
        }
        Ok(())
    }

    /// Records that `worker` holds `blocks` after `parent` on its device.
    ///
    /// # Errors
    /// The worker does not hold `parent`.
    pub fn store(
        &self,
        worker: Worker,
        parent: Option<SequenceHash>,
        blocks: &[StoredBlock],
    ) -> Result<(), ApplyError> {
        self.store_in(Tier::Device, worker, parent, blocks)
    }

    fn store_in(
        &self,
        tier: Tier,
        worker: Worker,
        parent: Option<SequenceHash>,
        blocks: &[StoredBlock],
    ) -> Result<(), ApplyError> {
        let cap = self.cap(tier);
        let (stored, evicted) = self.write(worker, |ledger| {
            let stored = ledger.store(&self.tree, tier, parent, blocks);
            (stored, ledger.keep_within(&self.tree, tier, cap))
        });
        if let Err(UnknownParent(parent)) = stored {
            self.counters.add(|counters| &counters.unknown_parent, 1);
            return Err(ApplyError::UnknownParent { worker, parent });
        }
        self.counters.add(|counters| &counters.stored, 1);
        self.counters.add(|counters| &counters.over_cap, evicted);
        self.sweep_if_worthwhile();
        Ok(())
    }

    /// Records that `worker` evicted blocks from its device, named by its engine hashes.
    pub fn remove(&self, worker: Worker, blocks: &[SequenceHash]) {
        self.remove_from(Tier::Device, worker, blocks);
    }

    fn remove_from(&self, tier: Tier, worker: Worker, blocks: &[SequenceHash]) {
        let known = self.roster.load().ledger(worker).is_some();
        let unknown = if known {
            self.write(worker, |ledger| ledger.remove(&self.tree, tier, blocks))
        } else {
            blocks.len()
        };
        self.counters.add(|counters| &counters.removed, 1);
        self.counters
            .add(|counters| &counters.unknown_blocks, unknown);
        self.sweep_if_worthwhile();
    }

    /// Records that `worker` dropped its whole cache.
    pub fn clear(&self, worker: Worker) {
        self.counters.add(|counters| &counters.cleared, 1);
        if self.roster.load().ledger(worker).is_some() {
            self.write(worker, |ledger| ledger.clear(&self.tree));
        }
    }

    /// Forgets all ranks of a process that is gone.
    pub fn remove_worker(&self, worker_id: u64) {
        let _changing = self.changing_roster.lock();
        let roster = self.roster.load_full();
        let ranks = roster.ranks(worker_id);
        for ledger in ranks.iter().filter_map(|rank| roster.ledger(*rank)) {
            let mut ledger = ledger.lock();
            self.held.fetch_sub(ledger.len(), Ordering::Relaxed);
            ledger.clear(&self.tree);
            ledger.closed = true;
        }
        self.roster.store(Arc::new(roster.without(&ranks)));
    }

    /// Contiguous prefix of `blocks` that each worker holds.
    pub fn find_matches(&self, blocks: &[BlockHash]) -> Overlaps {
        let roster = self.roster.load();
        let overlaps = self.tree.find(blocks, roster.slot_count());
        let workers = roster.in_order().iter();
        Overlaps::in_order(workers.map(|&(worker, slot)| (worker, overlaps[slot as usize])))
    }

    /// Blocks that `worker` holds.
    pub fn blocks(&self, worker: Worker) -> usize {
        let roster = self.roster.load();
        let ledger = roster.ledger(worker);
        ledger.map_or(0, |ledger| ledger.lock().len())
    }

    /// Blocks over all workers; one that two workers hold counts twice.
    pub fn len(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether no worker holds any block.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened to the events so far.
    pub fn counts(&self) -> EventCounts {
        self.counters.read()
    }

    /// Bytes on the heap; walks all runs.
    pub fn heap_bytes(&self) -> usize {
        let roster = self.roster.load();
        let ledgers = roster.ledgers().map(|ledger| ledger.lock().heap_bytes());
        self.tree.heap_bytes() + ledgers.sum::<usize>()
    }

    /// Forgets blocks that no match can reach because nobody holds a block before them.
    ///
    /// Runs by itself once such gaps outnumber the held blocks, so that its cost per event is
    /// constant on average and memory stays proportional to what workers hold. Events of a worker
    /// wait while it is that worker's turn.
    pub fn sweep(&self) {
        for &(worker, _) in self.roster.load_full().in_order() {
            if self.roster.load().ledger(worker).is_some() {
                self.write(worker, |ledger| ledger.sweep(&self.tree));
            }
        }
    }

    fn sweep_if_worthwhile(&self) {
        if self.tree.positions() > 2 * self.len() + SWEEP_SLACK
            && let Some(_sweeping) = self.sweeping.try_lock()
        {
            self.sweep();
        }
    }

    fn cap(&self, tier: Tier) -> usize {
        match tier {
            Tier::Device => self.max_blocks_per_worker,
            Tier::Host | Tier::Disk => self.max_blocks_per_worker.saturating_mul(LOWER_TIER_FACTOR),
        }
    }

    /// Changes what a worker holds, in a new ledger if it has none.
    fn write<T>(&self, worker: Worker, change: impl FnOnce(&mut Ledger) -> T) -> T {
        loop {
            let roster = self.roster.load();
            let Some(ledger) = roster.ledger(worker) else {
                self.admit(worker);
                continue;
            };
            let mut ledger = ledger.lock();
            if ledger.closed {
                drop(ledger);
                // The roster that lacks it comes before this lock is free.
                drop(self.changing_roster.lock());
                continue;
            }
            let before = ledger.len();
            let result = change(&mut ledger);
            // Wraps around when there are fewer, and so does the sum.
            let added = ledger.len().wrapping_sub(before);
            self.held.fetch_add(added, Ordering::Relaxed);
            return result;
        }
    }

    fn admit(&self, worker: Worker) {
        let _changing = self.changing_roster.lock();
        let roster = self.roster.load_full();
        if roster.ledger(worker).is_none() {
            self.roster.store(Arc::new(roster.with(worker)));
        }
    }
}

#[cfg(test)]
mod tests;
