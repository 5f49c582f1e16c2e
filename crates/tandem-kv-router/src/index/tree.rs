//! The tree of block runs: which paths exist, where they fork, and who holds which blocks.
//!
//! The tree is spread over [`SHARDS`] by the hash of the edge that leads to a run, so that even
//! prompts that all begin alike go different ways after their first fork. No more than one
//! shard is locked at a time, and never for longer than one run takes: a match waits for a part of
//! one event at most.
//!
//! What keeps writers apart without a lock over the whole tree:
//!
//! - A block that a worker holds keeps its run, and a run keeps those that it forks off from. A
//!   worker's events are applied one at a time, so what it holds stays where it is meanwhile.
//! - A fork is counted at its parent *before* its run exists, in the same step that finds that the
//!   parent does not continue with that block. A run with a fork at its end is not extended. So a
//!   block has one place only.
//! - A match holds nothing, and may come to a run's child after the run was freed and its id given
//!   to another: edges name the generation of the id.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use tandem_protocol::kv::{BlockHash, StoredBlock};

use super::index32;
use super::run::{Edge, Fork, Span};
use super::shard::{Held, Released, SHARDS, Shard, Writer, shard_of_edge, shard_of_run};
use super::tier::{Overlap, Tier};

/// Where a path starts: before the first block of the root run, which has no blocks itself.
pub(super) const ROOT: Fork = Fork { run: 0, offset: 0 };

/// All runs.
#[derive(Debug)]
pub(super) struct Tree {
    shards: Box<[Padded]>,
    positions: AtomicUsize,
}

/// Apart from its neighbours, so that locking one does not slow down another.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(RwLock<Shard>);

/// A block's position, valid while somebody holds the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) run: u32,
    pub(super) position: u32,
}

/// A run as one of its holders sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunAge {
    /// The holder's epoch when it last stored there; `None` if it holds nothing.
    pub(super) newest: Option<u32>,
    /// Where it forks off.
    pub(super) from: Fork,
}

impl Place {
    /// The place of the blocks that follow.
    pub(super) fn next(self) -> Fork {
        Fork {
            run: self.run,
            offset: self.position + 1,
        }
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        let shard = |number| Padded(RwLock::new(Shard::new(number)));
        Self {
            shards: (0..index32(SHARDS)).map(shard).collect(),
            positions: AtomicUsize::new(0),
        }
    }

    /// Positions over all runs, held or not.
    pub(super) fn positions(&self) -> usize {
        self.positions.load(Ordering::Relaxed)
    }

    /// Holds the first of `blocks` at `at`, as many as one run has or takes. The writer holds the
    /// block before `at`, and its `blocks` are not empty.
    pub(super) fn hold(&self, at: Fork, blocks: &[StoredBlock], writer: Writer) -> Held {
        let held = if at == ROOT {
            let edge = Edge {
                from: at,
                generation: 0,
                first: blocks[0].tokens_hash,
            };
            self.of_edge(&edge)
                .write()
                .hold_behind(edge, blocks, writer)
        } else {
            self.hold_after(at, blocks, writer)
        };
        if held.new > 0 {
            self.positions.fetch_add(held.new, Ordering::Relaxed);
        }
        held
    }

    /// Holds blocks in the run of `at` or in one that forks off there.
    fn hold_after(&self, at: Fork, blocks: &[StoredBlock], writer: Writer) -> Held {
        let mut shard = self.of_run(at.run).write();
        if let Some(held) = shard.hold_along(at, blocks, writer) {
            return held;
        }
        let run = shard.run(at.run);
        let edge = Edge {
            from: at,
            generation: run.generation,
            first: blocks[0].tokens_hash,
        };
        if run.is_forked(at.offset) {
            drop(shard);
            let mut child = self.of_edge(&edge).write();
            if let Some(held) = child.hold_child(&edge, blocks, writer) {
                return held;
            }
            drop(child);
            // Its parent may have been cut and extended meanwhile.
            shard = self.of_run(at.run).write();
            if let Some(held) = shard.hold_along(at, blocks, writer) {
                return held;
            }
        }
        shard.run_mut(at.run).fork(at.offset);
        drop(shard);
        let held = self
            .of_edge(&edge)
            .write()
            .hold_behind(edge, blocks, writer);
        if !held.new_run {
            // Whoever made the run has counted the fork, too.
            self.unfork(at);
        }
        held
    }

    /// Ends a worker's hold on blocks of one run, that of all `spans`, and frees what nobody needs
    /// any more.
    pub(super) fn release(&self, run: u32, holder: (u32, Tier), spans: &[Span]) {
        let mut shard = self.of_run(run).write();
        let released = shard.release(run, holder, spans);
        drop(shard);
        self.follow(released);
    }

    fn unfork(&self, at: Fork) {
        let released = self.of_run(at.run).write().unfork(at);
        self.follow(released);
    }

    /// Counts what is gone, and undoes the forks of runs that are, up to the root.
    fn follow(&self, mut released: Released) {
        let mut gone = released.gone;
        while let Some(at) = released.unfork.filter(|at| *at != ROOT) {
            released = self.of_run(at.run).write().unfork(at);
            gone += released.gone;
        }
        if gone > 0 {
            self.positions.fetch_sub(gone, Ordering::Relaxed);
        }
    }

    /// Contiguous prefix of `blocks` that each of the first `slots` holds.
    pub(super) fn find(&self, blocks: &[BlockHash], slots: usize) -> SmallVec<[Overlap; 32]> {
        let mut overlaps: SmallVec<[Overlap; 32]> = SmallVec::from_elem(Overlap::default(), slots);
        let Some(&first) = blocks.first() else {
            return overlaps;
        };
        let (mut rest, mut base) = (blocks, 0);
        let mut edge = Edge {
            from: ROOT,
            generation: 0,
            first,
        };
        loop {
            let shard = self.of_edge(&edge).read();
            let Some(child) = shard.child(&edge) else {
                break;
            };
            let run = shard.run(child);
            let common = common_prefix(run.hashes(), rest);
            let mut complete = false;
            for holder in &run.holders {
                // A worker that came after the match began has no place in its result.
                let Some(overlap) = overlaps.get_mut(holder.slot as usize) else {
                    continue;
                };
                // A worker that missed an earlier block stays where it is.
                if overlap.blocks() == base {
                    let here = holder.overlap(common);
                    overlap.device += here.device;
                    overlap.host += here.host;
                    overlap.disk += here.disk;
                    complete |= here.blocks() as usize == common;
                }
            }
            rest = &rest[common..];
            let offset = index32(common);
            let Some(&first) = rest.first() else {
                break;
            };
            if !complete || !run.is_forked(offset) {
                break;
            }
            base += offset;
            edge = Edge {
                from: Fork { run: child, offset },
                generation: run.generation,
                first,
            };
        }
        overlaps
    }

    /// A run as a worker sees it that holds something in it or in one that forks off from it.
    pub(super) fn age(&self, run: u32, slot: u32) -> RunAge {
        let shard = self.of_run(run).read();
        let run = shard.run(run);
        RunAge {
            newest: run.newest(slot),
            from: run.edge.from,
        }
    }

    /// How many blocks from the start of each of `runs` lie on a path that somebody holds without a
    /// gap. The caller holds something in each, so that they and all before them stay.
    pub(super) fn reachable_prefixes(
        &self,
        runs: impl Iterator<Item = u32>,
    ) -> FxHashMap<u32, u32> {
        let mut reachable = FxHashMap::default();
        reachable.insert(ROOT.run, 0);
        let mut path = Vec::new();
        for start in runs {
            path.push(start);
            while let Some(&id) = path.last() {
                if reachable.contains_key(&id) {
                    path.pop();
                    continue;
                }
                let shard = self.of_run(id).read();
                let run = shard.run(id);
                let from = run.edge.from;
                match reachable.get(&from.run) {
                    None => path.push(from.run),
                    Some(&length) if length < from.offset => {
                        reachable.insert(id, 0);
                    }
                    Some(_) => {
                        reachable.insert(id, index32(run.covered_prefix()));
                    }
                }
            }
        }
        reachable
    }

    /// Bytes on the heap; walks all runs.
    pub(super) fn heap_bytes(&self) -> usize {
        let shards = self.shards.iter().map(|shard| shard.0.read().heap_bytes());
        shards.sum::<usize>() + size_of_val(&*self.shards)
    }

    fn of_run(&self, run: u32) -> &RwLock<Shard> {
        &self.shards[shard_of_run(run)].0
    }

    fn of_edge(&self, edge: &Edge) -> &RwLock<Shard> {
        &self.shards[shard_of_edge(edge)].0
    }
}

/// Blocks that two paths have in common from their starts.
fn common_prefix(one: &[BlockHash], other: &[BlockHash]) -> usize {
    const STRIDE: usize = 8;
    // No early exit inside a stride, so that it takes a few vector instructions.
    let differs = |(one, other): (&BlockHash, &BlockHash)| one.0 ^ other.0;
    let equal = |(one, other): &(&[BlockHash], &[BlockHash])| {
        let pairs = one.iter().zip(*other);
        pairs.map(differs).fold(0, |all, one| all | one) == 0
    };
    let strides = one.chunks_exact(STRIDE).zip(other.chunks_exact(STRIDE));
    let whole = strides.take_while(equal).count() * STRIDE;
    let rest = one[whole..].iter().zip(&other[whole..]);
    whole + rest.take_while(|(one, other)| one == other).count()
}
