//! The tree of block runs: which paths exist and where they fork.

use rustc_hash::FxHashMap;
use tandem_protocol::kv::BlockHash;

use super::run::{Fork, Run};

/// Where a path starts: before the first block of the root run, which has no blocks itself.
pub(super) const ROOT: Fork = Fork { run: 0, offset: 0 };

/// All runs, and the forks between them.
#[derive(Debug)]
pub(super) struct Tree {
    runs: Vec<Run>,
    free: Vec<u32>,
    forks: FxHashMap<(Fork, BlockHash), u32>,
    positions: usize,
}

/// A block's position, valid while somebody holds the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) run: u32,
    pub(super) position: u32,
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
        Self {
            runs: vec![Run::new(ROOT, BlockHash(0))],
            free: Vec::new(),
            forks: FxHashMap::default(),
            positions: 0,
        }
    }

    /// Positions over all runs, held or not.
    pub(super) const fn positions(&self) -> usize {
        self.positions
    }

    pub(super) fn run(&self, id: u32) -> &Run {
        &self.runs[id as usize]
    }

    pub(super) fn run_mut(&mut self, id: u32) -> &mut Run {
        &mut self.runs[id as usize]
    }

    /// The run that forks off at `at` with `first`.
    pub(super) fn child(&self, at: Fork, first: BlockHash) -> Option<u32> {
        self.forks.get(&(at, first)).copied()
    }

    /// Makes positions for `blocks` at `at`, where none of them is; returns where they start.
    pub(super) fn grow<I>(&mut self, at: Fork, first: BlockHash, blocks: I) -> Fork
    where
        I: ExactSizeIterator<Item = BlockHash>,
    {
        self.positions += blocks.len();
        if at != ROOT {
            let run = &mut self.runs[at.run as usize];
            if run.len() == at.offset as usize {
                run.extend(blocks);
                return at;
            }
            run.pin(at.offset as usize - 1);
        }
        let mut run = Run::new(at, first);
        run.extend(blocks);
        let id = if let Some(id) = self.free.pop() {
            self.runs[id as usize] = run;
            id
        } else {
            self.runs.push(run);
            index32(self.runs.len() - 1)
        };
        self.forks.insert((at, first), id);
        Fork { run: id, offset: 0 }
    }

    /// Ends a worker's hold on a block, and frees what nobody needs any more.
    pub(super) fn release(&mut self, slot: u32, place: Place) {
        let run = &mut self.runs[place.run as usize];
        self.positions -= run.release(slot, place.position as usize);
        let mut id = place.run;
        while self.runs[id as usize].len() == 0 {
            let vacant = Run::new(ROOT, BlockHash(0));
            let empty = std::mem::replace(&mut self.runs[id as usize], vacant);
            debug_assert!(empty.holders.is_empty(), "a held block keeps its run");
            self.forks.remove(&(empty.parent, empty.head));
            self.free.push(id);
            if empty.parent == ROOT {
                return;
            }
            id = empty.parent.run;
            let fork_at = empty.parent.offset as usize - 1;
            self.positions -= self.runs[id as usize].unpin(fork_at);
        }
    }

    /// Per run, how many blocks from its start lie on a path that somebody holds without a gap.
    pub(super) fn reachable_prefixes(&self) -> Vec<u32> {
        let mut reachable = vec![None; self.runs.len()];
        reachable[ROOT.run as usize] = Some(0);
        let mut path = Vec::new();
        for start in 0..index32(self.runs.len()) {
            path.push(start);
            while let Some(&id) = path.last() {
                let run = self.run(id);
                let parent = run.parent;
                match (reachable[id as usize], reachable[parent.run as usize]) {
                    (Some(_), _) => {
                        path.pop();
                    }
                    (None, None) => path.push(parent.run),
                    (None, Some(length)) if length < parent.offset => {
                        reachable[id as usize] = Some(0);
                    }
                    (None, Some(_)) => {
                        reachable[id as usize] = Some(index32(run.covered_prefix()));
                    }
                }
            }
        }
        reachable.into_iter().flatten().collect()
    }

    /// Bytes on the heap; walks all runs.
    pub(super) fn heap_bytes(&self) -> usize {
        let runs: usize = self.runs.iter().map(Run::heap_bytes).sum();
        runs + self.runs.capacity() * size_of::<Run>()
            + table_bytes::<((Fork, BlockHash), u32)>(self.forks.capacity())
    }
}

/// Blocks that a stretch of a run and a prompt have in common from their starts.
pub(super) fn common_prefix(run: &[BlockHash], blocks: impl Iterator<Item = BlockHash>) -> usize {
    let pairs = run.iter().zip(blocks);
    pairs.take_while(|(a, b)| **a == *b).count()
}

pub(super) fn index32(index: usize) -> u32 {
    u32::try_from(index).expect("an index of 2^32 blocks does not fit into memory")
}

/// Bytes of a hash table that takes `entries` without growing: 7/8 full, a control byte each.
pub(super) fn table_bytes<T>(entries: usize) -> usize {
    (entries * 8 / 7) * (size_of::<T>() + 1)
}
