//! A part of the tree: some runs, and the edges that lead to them.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;
use tandem_protocol::kv::StoredBlock;

use super::bits::Positions;
use super::index32;
use super::run::{Edge, Fork, Run, Span};
use super::tier::Tier;

/// Bits of a run's id that say in which shard it is.
const SHARD_BITS: u32 = 6;

/// Parts of the tree, each behind a lock of its own.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;

/// Runs whose edges have the same shard. A run's id stays with it for life.
#[derive(Debug)]
pub(super) struct Shard {
    number: u32,
    /// The first is not used, so that no run has the id of the root.
    runs: Vec<Run>,
    free: Vec<u32>,
    edges: FxHashMap<Edge, u32>,
}

/// Who stores blocks, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    pub(super) slot: u32,
    pub(super) epoch: u32,
    pub(super) tier: Tier,
}

/// Blocks that a worker has begun to hold: the next ones it stored, from `start` on.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) start: Fork,
    pub(super) count: usize,
    /// Positions that it held before.
    pub(super) before: Positions,
    /// Blocks that were not in the tree.
    pub(super) new: usize,
    /// Whether there was no run yet.
    pub(super) new_run: bool,
}

/// What became of released blocks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Released {
    /// Blocks that left the tree.
    pub(super) gone: usize,
    /// The fork that has to be undone, because the run that forked off there is gone.
    pub(super) unfork: Option<Fork>,
}

/// In which shard a run is.
pub(super) const fn shard_of_run(id: u32) -> usize {
    (id & ((1 << SHARD_BITS) - 1)) as usize
}

/// In which shard the run behind an edge is.
#[allow(clippy::cast_possible_truncation, reason = "a few bits")]
pub(super) fn shard_of_edge(edge: &Edge) -> usize {
    (edge.spread() >> (64 - SHARD_BITS)) as usize
}

impl Shard {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            runs: vec![Run::new(Edge::NONE, 0)],
            free: Vec::new(),
            edges: FxHashMap::default(),
        }
    }

    pub(super) fn run(&self, id: u32) -> &Run {
        &self.runs[(id >> SHARD_BITS) as usize]
    }

    pub(super) fn run_mut(&mut self, id: u32) -> &mut Run {
        &mut self.runs[(id >> SHARD_BITS) as usize]
    }

    /// The run behind an edge.
    pub(super) fn child(&self, edge: &Edge) -> Option<u32> {
        self.edges.get(edge).copied()
    }

    /// Holds what `blocks` and the run have in common from `at`, or adds `blocks` to the run if it
    /// ends there without a fork. `None` if the run has other blocks there, or a fork.
    pub(super) fn hold_along(
        &mut self,
        at: Fork,
        blocks: &[StoredBlock],
        writer: Writer,
    ) -> Option<Held> {
        let run = self.run_mut(at.run);
        let tokens = blocks.iter().map(|block| block.tokens_hash);
        let pairs = run.hashes()[at.offset as usize..]
            .iter()
            .zip(tokens.clone());
        let mut count = pairs.take_while(|(there, here)| *there == here).count();
        let mut new = 0;
        if count == 0 {
            if run.len() > at.offset as usize || run.is_forked(at.offset) {
                return None;
            }
            run.extend(tokens);
            (count, new) = (blocks.len(), blocks.len());
        }
        let holder = run.holder(writer.slot);
        holder.newest = writer.epoch;
        Some(Held {
            start: at,
            count,
            before: holder.hold(writer.tier, at.offset, count),
            new,
            new_run: false,
        })
    }

    /// Holds what `blocks` and the run behind an edge have in common; `None` if there is no run.
    pub(super) fn hold_child(
        &mut self,
        edge: &Edge,
        blocks: &[StoredBlock],
        writer: Writer,
    ) -> Option<Held> {
        let run = self.child(edge)?;
        let held = self.hold_along(Fork { run, offset: 0 }, blocks, writer);
        debug_assert!(held.is_some(), "a run begins with the block of its edge");
        held
    }

    /// Holds what `blocks` and the run behind an edge have in common, or all of them in a new run if
    /// there is none.
    pub(super) fn hold_behind(
        &mut self,
        edge: Edge,
        blocks: &[StoredBlock],
        writer: Writer,
    ) -> Held {
        let (run, new_run) = match self.edges.entry(edge) {
            Entry::Occupied(entry) => (*entry.get(), false),
            Entry::Vacant(entry) => {
                let id = self.free.pop().unwrap_or_else(|| {
                    self.runs.push(Run::new(Edge::NONE, 0));
                    index32(self.runs.len() - 1) << SHARD_BITS | self.number
                });
                entry.insert(id);
                let run = self.run_mut(id);
                debug_assert!(run.len() == 0, "a free run is empty");
                run.edge = edge;
                (id, true)
            }
        };
        let held = self.hold_along(Fork { run, offset: 0 }, blocks, writer);
        let held = held.expect("a run begins with the block of its edge, or takes any");
        Held { new_run, ..held }
    }

    /// Ends a worker's hold on blocks of a run, that of all `spans`.
    pub(super) fn release(
        &mut self,
        run: u32,
        (slot, tier): (u32, Tier),
        spans: &[Span],
    ) -> Released {
        let gone = self.run_mut(run).release(slot, tier, spans);
        self.freed(run, gone)
    }

    /// Undoes a fork.
    pub(super) fn unfork(&mut self, at: Fork) -> Released {
        let gone = self.run_mut(at.run).unfork(at.offset);
        self.freed(at.run, gone)
    }

    /// Frees the run if nothing is left of it.
    fn freed(&mut self, id: u32, gone: usize) -> Released {
        let run = self.run_mut(id);
        if run.len() > 0 {
            return Released { gone, unfork: None };
        }
        debug_assert!(run.holders.is_empty(), "a held block keeps its run");
        let edge = run.edge;
        let generation = run.generation.wrapping_add(1);
        *run = Run::new(Edge::NONE, generation);
        self.edges.remove(&edge);
        self.free.push(id);
        Released {
            gone,
            unfork: Some(edge.from),
        }
    }

    /// Bytes on the heap; walks all runs.
    pub(super) fn heap_bytes(&self) -> usize {
        let runs: usize = self.runs.iter().map(Run::heap_bytes).sum();
        runs + self.runs.capacity() * size_of::<Run>()
            + self.free.capacity() * size_of::<u32>()
            // A hash table is 7/8 full at capacity and keeps a control byte per entry.
            + self.edges.capacity() * 8 / 7 * (size_of::<(Edge, u32)>() + 1)
    }
}
