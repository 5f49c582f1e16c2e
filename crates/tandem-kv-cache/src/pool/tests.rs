use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use tandem_protocol::kv::BlockHash;

use super::*;

fn identity(path: &[u64]) -> BlockIdentity {
    let mut parent = None;
    let mut last = BlockIdentity::after(None, BlockHash(path[0]));
    for &token in path {
        last = BlockIdentity::after(parent, BlockHash(token));
        parent = Some(last.sequence);
    }
    last
}

/// Stores the blocks of `path` and leaves them idle.
fn store(pool: &mut BlockPool, path: &[u64]) -> Vec<BlockId> {
    let blocks = pool.allocate(path.len()).unwrap();
    let blocks: Vec<_> = (1..=path.len())
        .map(|len| pool.commit(blocks[len - 1], identity(&path[..len])))
        .collect();
    pool.release_all(&blocks);
    blocks
}

fn hashes(path: &[u64]) -> Vec<SequenceHash> {
    (1..=path.len())
        .map(|len| identity(&path[..len]).sequence)
        .collect()
}

#[test]
fn a_prefix_is_shared_and_the_tail_is_evicted_first() {
    let mut pool = BlockPool::new(4);
    let blocks = store(&mut pool, &[1, 2, 3]);
    assert_eq!(pool.acquire_prefix(&hashes(&[1, 2, 9])), blocks[..2]);
    pool.release_all(&blocks[..2]);
    pool.take_events();
    pool.allocate(2).unwrap();
    let block_hashes = vec![identity(&[1, 2, 3]).sequence];
    assert_eq!(
        pool.take_events()[0].data,
        KvEventData::Removed { block_hashes }
    );
    assert_eq!(pool.prefix(&hashes(&[1, 2, 3])), blocks[..2]);
}

#[test]
fn allocation_is_all_or_nothing() {
    let mut pool = BlockPool::new(2);
    assert_eq!(pool.allocate(3), None);
    assert_eq!(pool.usage().free, 2);
    assert_eq!(pool.allocate(2).unwrap().len(), 2);
    assert_eq!(pool.allocate(1), None);
}

#[test]
fn a_second_copy_gives_way_to_the_first() {
    let mut pool = BlockPool::new(2);
    let first = store(&mut pool, &[1])[0];
    let copy = pool.allocate(1).unwrap()[0];
    assert_ne!(first, copy);
    assert_eq!(pool.commit(copy, identity(&[1])), first);
    let expect = PoolUsage {
        free: 1,
        referenced: 1,
        idle: 0,
    };
    assert_eq!(pool.usage(), expect);
    assert_eq!(pool.take_events().len(), 1);
}

#[test]
#[should_panic(expected = "released twice")]
fn a_double_release_is_caught() {
    let mut pool = BlockPool::new(1);
    let block = pool.allocate(1).unwrap()[0];
    pool.release(block);
    pool.release(block);
}

#[test]
fn a_run_of_blocks_is_one_event() {
    let mut pool = BlockPool::new(3);
    store(&mut pool, &[1, 2, 3]);
    let events = pool.take_events();
    assert_eq!(events.len(), 1);
    let KvEventData::Stored(run) = &events[0].data else {
        panic!("{events:?}");
    };
    assert_eq!((run.parent_hash, run.blocks.len()), (None, 3));
    assert_eq!(run.blocks[2].tokens_hash, BlockHash(3));
}

#[derive(Debug, Clone)]
enum Op {
    /// Runs a sequence: reuse a prefix, allocate and commit the rest, keep the references.
    Begin(Vec<u64>),
    /// Allocates without committing, as for a block that is being filled.
    Allocate(usize),
    /// Drops one of the held sequences.
    End(usize),
    /// Holds a held sequence twice, as a lease does.
    Pin(usize),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop::collection::vec(0..3_u64, 1..6).prop_map(Op::Begin),
        2 => (1..4_usize).prop_map(Op::Allocate),
        6 => any::<usize>().prop_map(Op::End),
        1 => any::<usize>().prop_map(Op::Pin),
        1 => Just(Op::Clear),
    ]
}

/// What a subscriber believes is reusable.
#[derive(Debug, Default, Clone, PartialEq)]
struct Replay {
    stored: HashSet<SequenceHash>,
    last: u64,
}

impl Replay {
    fn apply(&mut self, data: &KvEventData) {
        match data {
            KvEventData::Cleared => self.stored.clear(),
            KvEventData::Removed { block_hashes } => {
                for hash in block_hashes {
                    assert!(self.stored.remove(hash), "removed what was not stored");
                }
            }
            KvEventData::Stored(run) => {
                for block in &run.blocks {
                    assert!(self.stored.insert(block.block_hash), "stored twice");
                }
            }
        }
    }
}

/// The pool beside a model that is too simple to be wrong.
struct Checked {
    pool: BlockPool,
    held: Vec<Vec<BlockId>>,
    references: HashMap<BlockId, u32>,
    replay: Replay,
}

impl Checked {
    fn hold(&mut self, blocks: Vec<BlockId>) {
        for &block in &blocks {
            *self.references.entry(block).or_default() += 1;
        }
        self.held.push(blocks);
    }

    fn end(&mut self, at: usize) {
        let blocks = self.held.swap_remove(at);
        for block in &blocks {
            let count = self.references.get_mut(block).unwrap();
            *count -= 1;
            if *count == 0 {
                self.references.remove(block);
            }
        }
        self.pool.release_all(&blocks);
    }

    fn fresh(&mut self, count: usize) -> Option<Vec<BlockId>> {
        let available = self.pool.available();
        let blocks = self.pool.allocate(count);
        assert_eq!(blocks.is_some(), count <= available);
        for block in blocks.iter().flatten() {
            assert!(
                !self.references.contains_key(block),
                "handed out a referenced block"
            );
        }
        blocks
    }

    fn begin(&mut self, path: &[u64]) {
        let hashes = hashes(path);
        let mut blocks = self.pool.acquire_prefix(&hashes);
        let Some(rest) = self.fresh(path.len() - blocks.len()) else {
            self.pool.release_all(&blocks);
            return;
        };
        for block in rest {
            let identity = identity(&path[..=blocks.len()]);
            blocks.push(self.pool.commit(block, identity));
        }
        self.hold(blocks);
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Begin(path) => self.begin(&path),
            Op::Allocate(count) => {
                if let Some(blocks) = self.fresh(count) {
                    self.hold(blocks);
                }
            }
            Op::End(at) if !self.held.is_empty() => self.end(at % self.held.len()),
            Op::Pin(at) if !self.held.is_empty() => {
                let blocks = self.held[at % self.held.len()].clone();
                for &block in &blocks {
                    self.pool.share(block);
                }
                self.hold(blocks);
            }
            Op::End(_) | Op::Pin(_) => {}
            Op::Clear => self.pool.clear(),
        }
        for event in self.pool.take_events() {
            assert_eq!(event.event_id, self.replay.last + 1, "a gap");
            self.replay.last = event.event_id;
            self.replay.apply(&event.data);
        }
        self.check();
    }

    fn check(&self) {
        let pool = &self.pool;
        for (index, slot) in pool.slots.iter().enumerate() {
            let expect = self.references.get(&BlockId::new(index)).copied();
            assert_eq!(slot.references, expect.unwrap_or(0), "block {index}");
        }
        let usage = pool.usage();
        assert_eq!(usage.referenced, self.references.len());
        assert_eq!(
            usage.free + usage.idle + usage.referenced,
            pool.size(),
            "leak"
        );
        let places: HashSet<_> = pool.free.iter().chain(pool.idle.values()).collect();
        assert_eq!(
            places.len(),
            usage.free + usage.idle,
            "a block is in two places"
        );
        let reusable: HashSet<_> = pool.stored.keys().copied().collect();
        assert_eq!(self.replay.stored, reusable);
        let mut late = Replay::default();
        for event in pool.snapshot() {
            assert_eq!(event.event_id, self.replay.last);
            late.apply(&event.data);
        }
        assert_eq!(late.stored, reusable, "snapshot");
    }
}

proptest! {
    #[test]
    fn bookkeeping_equals_the_naive_model(
        size in 1..12_usize,
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut checked = Checked {
            pool: BlockPool::new(size),
            held: Vec::new(),
            references: HashMap::new(),
            replay: Replay::default(),
        };
        for op in ops {
            checked.apply(op);
        }
        while !checked.held.is_empty() {
            checked.end(0);
        }
        checked.check();
        prop_assert_eq!(checked.pool.available(), size);
    }

    #[test]
    fn snapshots_name_parents_before_children(paths in prop::collection::vec(
        prop::collection::vec(0..3_u64, 1..5), 1..6,
    )) {
        let mut pool = BlockPool::new(64);
        for path in &paths {
            store(&mut pool, path);
        }
        pool.take_events();
        let mut known = HashSet::new();
        for event in pool.snapshot() {
            if let KvEventData::Stored(run) = event.data {
                prop_assert!(run.parent_hash.is_none_or(|parent| known.contains(&parent)));
                known.extend(run.blocks.iter().map(|block| block.block_hash));
            }
        }
        for path in &paths {
            prop_assert!(hashes(path).iter().all(|hash| known.contains(hash)));
        }
    }
}
