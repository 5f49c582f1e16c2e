//! Index for workers that publish no events: it assumes that a routed prompt stays cached for a
//! while.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tandem_protocol::kv::{BlockHash, SequenceHash, StoredBlock};

use super::{Overlaps, RadixIndex};
use crate::Worker;

/// How long and how much to remember.
#[derive(Debug, Clone, Copy)]
pub struct ApproximateConfig {
    /// How long a block is assumed to stay cached after its last use.
    pub time_to_live: Duration,
    /// Most blocks to remember per worker; beyond it the least recently used go first.
    pub max_blocks_per_worker: usize,
}

impl Default for ApproximateConfig {
    fn default() -> Self {
        Self {
            time_to_live: Duration::from_secs(120),
            max_blocks_per_worker: 1 << 20,
        }
    }
}

/// Prefixes that workers probably have cached, judged by where prompts were sent.
#[derive(Debug)]
pub(crate) struct ApproximateIndex {
    config: ApproximateConfig,
    blocks: RadixIndex,
    /// Matches do without.
    memories: Mutex<FxHashMap<Worker, Memory>>,
}

/// When each block of one worker is forgotten.
#[derive(Debug, Default)]
struct Memory {
    expiry: FxHashMap<SequenceHash, Instant>,
    /// One entry per block: when to look at it next. A block used since then is put back. Of
    /// blocks due at the same time the deepest goes first, so that prefixes stay whole.
    queue: BinaryHeap<Reverse<(Instant, Reverse<u32>, SequenceHash)>>,
}

impl ApproximateIndex {
    /// An empty index.
    pub(crate) fn new(config: ApproximateConfig) -> Self {
        Self {
            config,
            blocks: RadixIndex::default(),
            memories: Mutex::default(),
        }
    }

    /// Remembers that `worker` got a prompt; `sequence` holds the chained hashes of `blocks`.
    pub(crate) fn record(
        &self,
        worker: Worker,
        blocks: &[BlockHash],
        sequence: &[SequenceHash],
        now: Instant,
    ) {
        debug_assert_eq!(blocks.len(), sequence.len());
        let pairs = blocks.iter().zip(sequence);
        let stored = pairs.map(|(&tokens_hash, &block_hash)| StoredBlock {
            block_hash,
            tokens_hash,
        });
        let stored: Vec<_> = stored.take(self.config.max_blocks_per_worker).collect();
        let mut memories = self.memories.lock();
        let whole_prompt = self.blocks.store(worker, None, &stored);
        debug_assert!(whole_prompt.is_ok(), "a prompt has no parent");
        let memory = memories.entry(worker).or_default();
        let expiry = now + self.config.time_to_live;
        for (block, depth) in stored.iter().zip(0..) {
            if memory.expiry.insert(block.block_hash, expiry).is_none() {
                memory
                    .queue
                    .push(Reverse((expiry, Reverse(depth), block.block_hash)));
            }
        }
        let excess = memory
            .expiry
            .len()
            .saturating_sub(self.config.max_blocks_per_worker);
        let evicted: Vec<_> = (0..excess).filter_map(|_| memory.pop(None)).collect();
        self.blocks.remove(worker, &evicted);
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&self, now: Instant) {
        for (&worker, memory) in &mut *self.memories.lock() {
            let expired: Vec<_> = std::iter::from_fn(|| memory.pop(Some(now))).collect();
            if !expired.is_empty() {
                self.blocks.remove(worker, &expired);
            }
        }
    }

    /// Forgets all ranks of a process that is gone.
    pub(crate) fn remove_worker(&self, worker_id: u64) {
        let mut memories = self.memories.lock();
        self.blocks.remove_worker(worker_id);
        memories.retain(|worker, _| worker.worker_id != worker_id);
    }

    /// Contiguous prefix of `blocks` that each worker probably has cached.
    pub(crate) fn find_matches(&self, blocks: &[BlockHash]) -> Overlaps {
        self.blocks.find_matches(blocks)
    }
}

impl Memory {
    /// Takes the block that was not used for longest, if it expired by `limit`.
    fn pop(&mut self, limit: Option<Instant>) -> Option<SequenceHash> {
        loop {
            let &Reverse((due, depth, block)) = self.queue.peek()?;
            if limit.is_some_and(|limit| due > limit) {
                return None;
            }
            self.queue.pop();
            let Some(&expiry) = self.expiry.get(&block) else {
                continue;
            };
            if expiry == due {
                self.expiry.remove(&block);
                return Some(block);
            }
            self.queue.push(Reverse((expiry, depth, block)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_protocol::kv::hash_sequence;

    const WORKER: Worker = Worker::new(1);

    fn prompt(tokens: impl IntoIterator<Item = u64>) -> (Vec<BlockHash>, Vec<SequenceHash>) {
        let blocks: Vec<_> = tokens.into_iter().map(BlockHash).collect();
        let sequence = hash_sequence(&blocks);
        (blocks, sequence)
    }

    #[test]
    fn a_prompt_is_forgotten_after_its_last_use() {
        let index = ApproximateIndex::new(ApproximateConfig::default());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (blocks, sequence) = prompt(0..10);
        index.record(WORKER, &blocks, &sequence, at(0));
        index.record(WORKER, &blocks[..4], &sequence[..4], at(60));
        index.expire(at(119));
        assert_eq!(index.find_matches(&blocks).get(WORKER).device, 10);
        index.expire(at(120));
        assert_eq!(index.find_matches(&blocks).get(WORKER).device, 4);
        index.expire(at(179));
        assert_eq!(index.blocks.len(), 4);
        index.expire(at(180));
        assert!(index.blocks.is_empty());
        assert!(index.memories.lock()[&WORKER].queue.is_empty());
    }

    #[test]
    fn the_cap_takes_the_least_recently_used_from_the_deep_end() {
        let config = ApproximateConfig {
            max_blocks_per_worker: 12,
            ..ApproximateConfig::default()
        };
        let index = ApproximateIndex::new(config);
        let start = Instant::now();
        let (old, old_sequence) = prompt(0..8);
        let (new, new_sequence) = prompt(100..108);
        index.record(WORKER, &old, &old_sequence, start);
        index.record(WORKER, &new, &new_sequence, start + Duration::from_secs(1));
        assert_eq!(index.find_matches(&old).get(WORKER).device, 4);
        assert_eq!(index.find_matches(&new).get(WORKER).device, 8);
        index.remove_worker(1);
        assert!(index.blocks.is_empty());
    }
}
