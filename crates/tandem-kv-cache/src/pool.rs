//! Which block holds what: allocation, sharing, prefix reuse, eviction, KV events.
//!
//! Pure bookkeeping over block ids; it never touches the numbers in a block. A block is *free*
//! (holds nothing), *referenced* (somebody uses it) or *idle* (nobody uses it, but its content is
//! stored under a hash and can be reused until it is evicted).

use std::collections::BTreeMap;
use std::mem;

use rustc_hash::{FxHashMap, FxHashSet};
use tandem_protocol::kv::{KvEvent, KvEventData, SequenceHash, StoredBlock, StoredBlocks};

use crate::block::{BlockId, BlockIdentity};

/// A fixed number of blocks.
#[derive(Debug)]
pub struct BlockPool {
    slots: Vec<Slot>,
    free: Vec<BlockId>,
    stored: FxHashMap<SequenceHash, BlockId>,
    /// Idle blocks, least recently used first.
    idle: BTreeMap<u64, BlockId>,
    clock: u64,
    changes: Vec<KvEventData>,
    last_event: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    references: u32,
    identity: Option<BlockIdentity>,
    /// Key in `idle`; meaningful while the block is idle.
    idle_since: u64,
}

/// How full a pool is. The three numbers add up to the pool's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Blocks that hold nothing.
    pub free: usize,
    /// Blocks that somebody uses.
    pub referenced: usize,
    /// Blocks that nobody uses and that can be reused by their hash.
    pub idle: usize,
}

/// Blocks that were taken from a pool.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Allocated {
    /// The blocks, each with one reference.
    pub blocks: Vec<BlockId>,
    /// Those that held something until now, and what; a block comes before its parent.
    pub evicted: Vec<(BlockId, BlockIdentity)>,
}

impl BlockPool {
    /// A pool of `blocks` free blocks.
    ///
    /// # Panics
    /// If `blocks` does not fit 32 bits.
    pub fn new(blocks: usize) -> Self {
        // Low ids are handed out first: a mostly empty pool touches little memory.
        let free = (0..blocks).rev().map(BlockId::new).collect();
        Self {
            slots: vec![Slot::default(); blocks],
            free,
            stored: FxHashMap::default(),
            idle: BTreeMap::new(),
            clock: 0,
            changes: Vec::new(),
            last_event: 0,
        }
    }

    /// Number of blocks.
    pub fn size(&self) -> usize {
        self.slots.len()
    }

    /// How full the pool is.
    pub fn usage(&self) -> PoolUsage {
        PoolUsage {
            free: self.free.len(),
            referenced: self.slots.len() - self.available(),
            idle: self.idle.len(),
        }
    }

    /// Blocks that [`allocate`](Self::allocate) can hand out.
    pub fn available(&self) -> usize {
        self.free.len() + self.idle.len()
    }

    /// Takes `count` blocks with unspecified content, each with one reference; evicts the least
    /// recently used idle blocks if needed. All or nothing.
    pub fn allocate(&mut self, count: usize) -> Option<Vec<BlockId>> {
        let allocated = self.allocate_evicting(count)?;
        Some(allocated.blocks)
    }

    /// The same, telling which blocks lost their content, which is still in their slots.
    pub fn allocate_evicting(&mut self, count: usize) -> Option<Allocated> {
        if count > self.available() {
            return None;
        }
        let mut allocated = Allocated::default();
        for _ in 0..count {
            let block = self.take(&mut allocated.evicted)?;
            allocated.blocks.push(block);
        }
        Some(allocated)
    }

    /// Takes a reference to each block of the longest stored prefix of `hashes`.
    pub fn acquire_prefix(&mut self, hashes: &[SequenceHash]) -> Vec<BlockId> {
        let blocks = self.prefix(hashes);
        for &block in &blocks {
            self.share(block);
        }
        blocks
    }

    /// The longest stored prefix of `hashes`, without taking references.
    pub fn prefix(&self, hashes: &[SequenceHash]) -> Vec<BlockId> {
        hashes
            .iter()
            .map_while(|hash| self.stored.get(hash).copied())
            .collect()
    }

    /// The stored block that holds exactly that, without taking a reference.
    pub fn find(&self, identity: &BlockIdentity) -> Option<BlockId> {
        let block = self.stored.get(&identity.sequence).copied()?;
        (self.slots[block.index()].identity == Some(*identity)).then_some(block)
    }

    /// Blocks of `blocks` that nobody uses now: acquiring them makes that many fewer available.
    pub fn count_idle(&self, blocks: &[BlockId]) -> usize {
        let idle = |block: &&BlockId| self.slots[block.index()].references == 0;
        blocks.iter().filter(idle).count()
    }

    /// Adds a reference to a block that is referenced or idle.
    pub fn share(&mut self, block: BlockId) {
        let slot = &mut self.slots[block.index()];
        if slot.references == 0 {
            debug_assert!(slot.identity.is_some(), "a free block cannot be shared");
            self.idle.remove(&slot.idle_since);
        }
        slot.references += 1;
    }

    /// Declares that `block`, which the caller references, now holds `identity` for good, and
    /// returns the block to use from now on: if equal content is stored already and nobody else
    /// uses `block`, the caller's reference moves to the stored block.
    pub fn commit(&mut self, block: BlockId, identity: BlockIdentity) -> BlockId {
        debug_assert!(self.slots[block.index()].references > 0);
        debug_assert!(
            self.slots[block.index()]
                .identity
                .is_none_or(|known| known == identity)
        );
        match self.stored.get(&identity.sequence) {
            Some(&known) if known == block => block,
            Some(&known) if self.slots[block.index()].references == 1 => {
                self.share(known);
                self.release(block);
                known
            }
            Some(_) => block,
            None => {
                self.stored.insert(identity.sequence, block);
                self.slots[block.index()].identity = Some(identity);
                self.note_stored(identity);
                block
            }
        }
    }

    /// Drops one reference to each block. Blocks are given in sequence order; the last is the
    /// first to be evicted, since a block is of no use without those before it.
    pub fn release_all(&mut self, blocks: &[BlockId]) {
        for &block in blocks.iter().rev() {
            self.release(block);
        }
    }

    /// Drops one reference.
    ///
    /// # Panics
    /// If nobody references `block`: the caller's bookkeeping is wrong, and going on would hand
    /// one block to two sequences.
    pub fn release(&mut self, block: BlockId) {
        let slot = &mut self.slots[block.index()];
        assert!(slot.references > 0, "block {block:?} released twice");
        slot.references -= 1;
        if slot.references > 0 {
            return;
        }
        if slot.identity.is_some() {
            self.clock += 1;
            slot.idle_since = self.clock;
            self.idle.insert(self.clock, block);
        } else {
            self.free.push(block);
        }
    }

    /// Forgets what is stored. Referenced blocks stay with their users.
    pub fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.identity = None;
        }
        self.stored.clear();
        self.free.extend(mem::take(&mut self.idle).into_values());
        self.changes.clear();
        self.changes.push(KvEventData::Cleared);
    }

    /// Takes the events since the last call, numbered from 1.
    pub fn take_events(&mut self) -> Vec<KvEvent> {
        let last = &mut self.last_event;
        mem::take(&mut self.changes)
            .into_iter()
            .map(|data| {
                *last += 1;
                numbered(*last, data)
            })
            .collect()
    }

    /// What is stored, as events for someone who saw none: `Cleared`, then `Stored` with parents
    /// before children. Each carries the number of the last event that it includes.
    ///
    /// Call it with no events pending, or the subscriber sees them twice.
    pub fn snapshot(&self) -> Vec<KvEvent> {
        debug_assert!(self.changes.is_empty());
        let stored = self.slots.iter().filter_map(|slot| slot.identity).collect();
        let mut changes = vec![KvEventData::Cleared];
        changes.extend(parents_first(stored));
        changes
            .into_iter()
            .map(|data| self.numbered_like_last(data))
            .collect()
    }

    /// Numbers a change that happened elsewhere, after the pool's own so far.
    pub(crate) fn number(&mut self, data: KvEventData) -> KvEvent {
        debug_assert!(self.changes.is_empty());
        self.last_event += 1;
        numbered(self.last_event, data)
    }

    /// Gives `data` the number of the last event, as snapshots have it.
    pub(crate) fn numbered_like_last(&self, data: KvEventData) -> KvEvent {
        numbered(self.last_event, data)
    }

    fn take(&mut self, evicted: &mut Vec<(BlockId, BlockIdentity)>) -> Option<BlockId> {
        let block = match self.free.pop() {
            Some(block) => block,
            None => self.evict(evicted)?,
        };
        self.slots[block.index()].references = 1;
        Some(block)
    }

    fn evict(&mut self, evicted: &mut Vec<(BlockId, BlockIdentity)>) -> Option<BlockId> {
        let (_, block) = self.idle.pop_first()?;
        let identity = self.slots[block.index()].identity.take();
        if let Some(identity) = identity {
            self.stored.remove(&identity.sequence);
            evicted.push((block, identity));
            self.note_removed(identity.sequence);
        }
        Some(block)
    }

    fn note_stored(&mut self, identity: BlockIdentity) {
        append_stored(&mut self.changes, identity);
    }

    fn note_removed(&mut self, hash: SequenceHash) {
        if let Some(KvEventData::Removed { block_hashes }) = self.changes.last_mut() {
            block_hashes.push(hash);
            return;
        }
        let block_hashes = vec![hash];
        self.changes.push(KvEventData::Removed { block_hashes });
    }
}

/// Runs that store `blocks`, parents before children as far as both are there.
pub(crate) fn parents_first(mut blocks: Vec<BlockIdentity>) -> Vec<KvEventData> {
    let known: FxHashSet<_> = blocks.iter().map(|block| block.sequence).collect();
    let mut children: FxHashMap<SequenceHash, Vec<BlockIdentity>> = FxHashMap::default();
    let mut pending = Vec::new();
    blocks.sort_by_key(|block| block.sequence);
    for block in blocks {
        match block.parent.filter(|parent| known.contains(parent)) {
            Some(parent) => children.entry(parent).or_default().push(block),
            None => pending.push(block),
        }
    }
    let mut runs = Vec::new();
    while let Some(block) = pending.pop() {
        append_stored(&mut runs, block);
        pending.extend(children.remove(&block.sequence).unwrap_or_default());
    }
    runs
}

/// Adds a stored block, to the last event if it continues that event's run.
pub(crate) fn append_stored(changes: &mut Vec<KvEventData>, identity: BlockIdentity) {
    let block = StoredBlock {
        block_hash: identity.sequence,
        tokens_hash: identity.local,
    };
    if let Some(KvEventData::Stored(run)) = changes.last_mut()
        && run.blocks.last().map(|last| last.block_hash) == identity.parent
    {
        run.blocks.push(block);
        return;
    }
    changes.push(KvEventData::Stored(StoredBlocks {
        parent_hash: identity.parent,
        blocks: vec![block],
    }));
}

fn numbered(event_id: u64, data: KvEventData) -> KvEvent {
    KvEvent {
        event_id,
        data,
        dp_rank: 0,
    }
}

#[cfg(test)]
mod tests;
