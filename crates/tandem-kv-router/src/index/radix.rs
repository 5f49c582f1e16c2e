//! Exact index, fed by the workers' KV events.
//!
//! The tree is kept as runs (see [`super::run`]): paths without a fork are stored contiguously,
//! so that matching a long prompt is a memory comparison and a few hash lookups rather than one
//! lookup per block, and nothing ever moves.
//!
//! Memory: a block costs at most 48 bytes once (hash and pin count, with growth slack) and at most
//! 39 bytes per worker that holds it (engine hash to place), a fork about 170 bytes. Blocks that
//! nobody holds, kept because a worker holds deeper ones, are bounded by [`RadixIndex::sweep`].

use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};
use tandem_protocol::kv::{BlockHash, KvEventData, RouterEvent, SequenceHash, StoredBlock};
use thiserror::Error;

use super::Overlaps;
use super::run::Fork;
use super::tree::{Place, ROOT, Tree, common_prefix, index32, table_bytes};
use crate::Worker;

/// Unheld blocks below which sweeping is not worth it.
const SWEEP_SLACK: usize = 4096;

/// Prefix tree over the blocks of all workers.
#[derive(Debug)]
pub struct RadixIndex {
    tree: Tree,
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    slot_of: FxHashMap<Worker, u32>,
    /// Extra engine hashes of one worker for one place; nearly always empty.
    aliases: FxHashMap<(u32, Place), u32>,
    /// Engine hashes over all workers.
    held: usize,
    max_blocks_per_worker: usize,
    counts: EventCounts,
}

/// What one worker holds: where each of its engine hashes is.
#[derive(Debug)]
struct Slot {
    worker: Worker,
    places: FxHashMap<SequenceHash, Place>,
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
    /// Blocks not stored because their worker is at its cap: it reports more than it can hold,
    /// so removals were lost and the owner should remove the worker and ask for its blocks.
    pub over_cap: u64,
}

impl Default for RadixIndex {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl RadixIndex {
    /// An empty index that holds at most `max_blocks_per_worker` for each worker.
    pub fn new(max_blocks_per_worker: usize) -> Self {
        Self {
            tree: Tree::new(),
            slots: Vec::new(),
            free_slots: Vec::new(),
            slot_of: FxHashMap::default(),
            aliases: FxHashMap::default(),
            held: 0,
            max_blocks_per_worker,
            counts: EventCounts::default(),
        }
    }

    /// Applies one event.
    ///
    /// # Errors
    /// The parent of stored blocks is unknown. The index is unchanged then, and the event counted.
    pub fn apply(&mut self, event: &RouterEvent) -> Result<(), ApplyError> {
        let worker = Worker {
            worker_id: event.worker_id,
            dp_rank: event.event.dp_rank,
        };
        match &event.event.data {
            KvEventData::Stored(stored) => {
                self.store(worker, stored.parent_hash, &stored.blocks)?;
            }
            KvEventData::Removed { block_hashes } => self.remove(worker, block_hashes),
            KvEventData::Cleared => self.clear(worker),
        }
        Ok(())
    }

    /// Records that `worker` holds `blocks` after `parent`.
    ///
    /// # Errors
    /// The worker does not hold `parent`.
    pub fn store(
        &mut self,
        worker: Worker,
        parent: Option<SequenceHash>,
        blocks: &[StoredBlock],
    ) -> Result<(), ApplyError> {
        let mut at = ROOT;
        if let Some(parent) = parent {
            let Some(place) = self.place(worker, parent) else {
                self.counts.unknown_parent += 1;
                return Err(ApplyError::UnknownParent { worker, parent });
            };
            at = place.next();
        }
        let slot = self.slot(worker);
        let mut rest = self.within_cap(slot, blocks);
        let mut displaced = Vec::new();
        while let Some(first) = rest.first() {
            let tokens = rest.iter().map(|block| block.tokens_hash);
            let run = &self.tree.run(at.run).hashes()[at.offset as usize..];
            let mut here = common_prefix(run, tokens.clone());
            if here == 0 {
                if let Some(run) = self.tree.child(at, first.tokens_hash) {
                    at = Fork { run, offset: 0 };
                    continue;
                }
                at = self.tree.grow(at, first.tokens_hash, tokens);
                here = rest.len();
            }
            self.hold(slot, at, &rest[..here], &mut displaced);
            at.offset += index32(here);
            rest = &rest[here..];
        }
        self.counts.stored += 1;
        for place in displaced {
            self.release(slot, place);
        }
        self.sweep_if_worthwhile();
        Ok(())
    }

    /// Records that `worker` evicted blocks, named by its engine hashes.
    pub fn remove(&mut self, worker: Worker, blocks: &[SequenceHash]) {
        self.counts.removed += 1;
        let Some(&slot) = self.slot_of.get(&worker) else {
            self.counts.unknown_blocks += blocks.len() as u64;
            return;
        };
        for block in blocks {
            match self.slots[slot as usize].places.remove(block) {
                Some(place) => self.release(slot, place),
                None => self.counts.unknown_blocks += 1,
            }
        }
        self.sweep_if_worthwhile();
    }

    /// Records that `worker` dropped its whole cache.
    pub fn clear(&mut self, worker: Worker) {
        self.counts.cleared += 1;
        if let Some(&slot) = self.slot_of.get(&worker) {
            self.release_all(slot);
        }
    }

    /// Forgets all ranks of a process that is gone.
    pub fn remove_worker(&mut self, worker_id: u64) {
        let ranks = self
            .slot_of
            .iter()
            .filter(|(worker, _)| worker.worker_id == worker_id);
        let ranks: Vec<_> = ranks.map(|(worker, slot)| (*worker, *slot)).collect();
        for (worker, slot) in ranks {
            self.release_all(slot);
            self.slot_of.remove(&worker);
            self.free_slots.push(slot);
        }
    }

    /// Contiguous prefix of `blocks` that each worker holds.
    pub fn find_matches(&self, blocks: &[BlockHash]) -> Overlaps {
        let mut depths: SmallVec<[u32; 64]> = smallvec![0; self.slots.len()];
        let (mut at, mut rest, mut base) = (ROOT, blocks, 0);
        while let Some(&first) = rest.first() {
            let Some(child) = self.tree.child(at, first) else {
                break;
            };
            let run = self.tree.run(child);
            let common = common_prefix(run.hashes(), rest.iter().copied());
            let mut complete = false;
            for holder in &run.holders {
                let depth = &mut depths[holder.slot as usize];
                // A worker that missed an earlier block stays where it is.
                if *depth == base {
                    let held = holder.prefix(common);
                    *depth += index32(held);
                    complete |= held == common;
                }
            }
            if !complete {
                break;
            }
            base += index32(common);
            rest = &rest[common..];
            at = Fork {
                run: child,
                offset: index32(common),
            };
        }
        let slots = self.slots.iter().zip(depths);
        slots.map(|(slot, depth)| (slot.worker, depth)).collect()
    }

    /// Blocks that `worker` holds.
    pub fn blocks(&self, worker: Worker) -> usize {
        let slot = self.slot_of.get(&worker);
        slot.map_or(0, |&slot| self.slots[slot as usize].places.len())
    }

    /// Blocks over all workers; one that two workers hold counts twice.
    pub const fn len(&self) -> usize {
        self.held
    }

    /// Whether no worker holds any block.
    pub const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// What happened to the events so far.
    pub const fn counts(&self) -> EventCounts {
        self.counts
    }

    /// Bytes on the heap; walks all runs.
    pub fn heap_bytes(&self) -> usize {
        let places = self.slots.iter().map(|slot| slot.places.capacity());
        let places: usize = places.map(table_bytes::<(SequenceHash, Place)>).sum();
        self.tree.heap_bytes() + places + self.slots.capacity() * size_of::<Slot>()
    }

    /// Forgets blocks that no match can reach because nobody holds a block before them.
    ///
    /// Runs by itself once such gaps outnumber the held blocks, so that its cost per event is
    /// constant on average and memory stays proportional to what workers hold.
    pub fn sweep(&mut self) {
        let reachable = self.tree.reachable_prefixes();
        for slot in 0..index32(self.slots.len()) {
            let places = &self.slots[slot as usize].places;
            let lost = places
                .iter()
                .filter(|(_, place)| place.position >= reachable[place.run as usize]);
            let lost: Vec<_> = lost.map(|(hash, place)| (*hash, *place)).collect();
            for (hash, place) in lost {
                self.slots[slot as usize].places.remove(&hash);
                self.release(slot, place);
            }
        }
    }

    fn sweep_if_worthwhile(&mut self) {
        if self.tree.positions() > 2 * self.held + SWEEP_SLACK {
            self.sweep();
        }
    }

    fn place(&self, worker: Worker, block: SequenceHash) -> Option<Place> {
        let slot = *self.slot_of.get(&worker)?;
        self.slots[slot as usize].places.get(&block).copied()
    }

    fn slot(&mut self, worker: Worker) -> u32 {
        if let Some(&slot) = self.slot_of.get(&worker) {
            return slot;
        }
        let new = Slot {
            worker,
            places: FxHashMap::default(),
        };
        let slot = if let Some(slot) = self.free_slots.pop() {
            self.slots[slot as usize] = new;
            slot
        } else {
            self.slots.push(new);
            index32(self.slots.len() - 1)
        };
        self.slot_of.insert(worker, slot);
        slot
    }

    /// The longest start of `blocks` that the worker's cap allows.
    fn within_cap<'a>(&mut self, slot: u32, blocks: &'a [StoredBlock]) -> &'a [StoredBlock] {
        let places = &self.slots[slot as usize].places;
        let mut room = self.max_blocks_per_worker.saturating_sub(places.len());
        if blocks.len() <= room {
            return blocks;
        }
        let fitting = blocks.iter().take_while(|block| {
            let known = places.contains_key(&block.block_hash);
            let fits = known || room > 0;
            room -= usize::from(fits && !known);
            fits
        });
        let fitting = fitting.count();
        self.counts.over_cap += (blocks.len() - fitting) as u64;
        &blocks[..fitting]
    }

    /// Marks existing positions from `at` as held under the engine hashes of `blocks`.
    fn hold(&mut self, slot: u32, at: Fork, blocks: &[StoredBlock], displaced: &mut Vec<Place>) {
        let run = self.tree.run_mut(at.run);
        let holder = run.holder(slot);
        let places = &mut self.slots[slot as usize].places;
        let before = places.len();
        let displaced_before = displaced.len();
        for (block, position) in blocks.iter().zip(at.offset..) {
            let place = Place {
                run: at.run,
                position,
            };
            let previous = places.insert(block.block_hash, place);
            if previous == Some(place) {
                continue;
            }
            if !run.hold(holder, position as usize) {
                *self.aliases.entry((slot, place)).or_default() += 1;
            }
            displaced.extend(previous);
        }
        // Displaced hashes count until they are released.
        self.held += places.len() - before + displaced.len() - displaced_before;
    }

    fn release_all(&mut self, slot: u32) {
        let places = std::mem::take(&mut self.slots[slot as usize].places);
        for place in places.into_values() {
            self.release(slot, place);
        }
    }

    /// Undoes one engine hash's hold on `place`, and frees what nobody needs any more.
    fn release(&mut self, slot: u32, place: Place) {
        self.held -= 1;
        if !self.aliases.is_empty()
            && let Some(extra) = self.aliases.get_mut(&(slot, place))
        {
            *extra -= 1;
            if *extra == 0 {
                self.aliases.remove(&(slot, place));
            }
            return;
        }
        self.tree.release(slot, place);
    }
}

#[cfg(test)]
mod tests;
