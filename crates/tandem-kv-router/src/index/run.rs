//! The storage of one path of blocks, and who holds which of them.

use smallvec::SmallVec;
use tandem_protocol::kv::BlockHash;

/// A path of consecutive blocks without a fork; forks hang off its positions as further runs.
///
/// A run is never split: a run that forks keeps its blocks, so a `(run, position)` stays valid
/// for as long as somebody holds the block.
#[derive(Debug)]
pub(super) struct Run {
    hashes: Vec<BlockHash>,
    /// Per position: workers that hold the block plus runs that fork off after it.
    pins: Vec<u32>,
    /// Workers that hold at least one block.
    pub(super) holders: SmallVec<[Holder; 1]>,
    /// Where this run forks off.
    pub(super) parent: Fork,
    /// First block; with `parent` it names the run, even when no block is left.
    pub(super) head: BlockHash,
}

/// The place before position `offset` of `run`, where a child's first block would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Fork {
    pub(super) run: u32,
    pub(super) offset: u32,
}

/// Which blocks of a run one worker holds.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) slot: u32,
    held: u32,
    bits: SmallVec<[u64; 2]>,
}

impl Run {
    pub(super) fn new(parent: Fork, head: BlockHash) -> Self {
        Self {
            hashes: Vec::new(),
            pins: Vec::new(),
            holders: SmallVec::new(),
            parent,
            head,
        }
    }

    pub(super) fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Adds unpinned blocks at the end; the caller holds them before anything else happens.
    pub(super) fn extend(&mut self, blocks: impl ExactSizeIterator<Item = BlockHash>) {
        self.pins.resize(self.pins.len() + blocks.len(), 0);
        self.hashes.extend(blocks);
    }

    /// Index of the worker's entry in `holders`, made if absent.
    pub(super) fn holder(&mut self, slot: u32) -> usize {
        let found = self.holders.iter().position(|holder| holder.slot == slot);
        found.unwrap_or_else(|| {
            self.holders.push(Holder {
                slot,
                held: 0,
                bits: SmallVec::new(),
            });
            self.holders.len() - 1
        })
    }

    /// Marks `position` as held; false if it was already.
    pub(super) fn hold(&mut self, holder: usize, position: usize) -> bool {
        let new = self.holders[holder].set(position);
        self.pins[position] += u32::from(new);
        new
    }

    /// Undoes [`Run::hold`], cutting positions that nobody needs any more off the end; returns how
    /// many.
    pub(super) fn release(&mut self, slot: u32, position: usize) -> usize {
        let Some(index) = self.holders.iter().position(|holder| holder.slot == slot) else {
            debug_assert!(false, "a worker releases what it holds");
            return 0;
        };
        if self.holders[index].clear(position) {
            self.holders.swap_remove(index);
        }
        self.unpin(position)
    }

    /// Records that a run forks off after `position`.
    pub(super) fn pin(&mut self, position: usize) {
        self.pins[position] += 1;
    }

    /// Undoes [`Run::pin`], cutting positions that nobody needs any more off the end; returns how many.
    pub(super) fn unpin(&mut self, position: usize) -> usize {
        debug_assert!(self.pins[position] > 0, "pins are balanced");
        self.pins[position] -= 1;
        let before = self.len();
        while self.pins.last() == Some(&0) {
            self.pins.pop();
            self.hashes.pop();
        }
        if self.hashes.capacity() > 4 * self.hashes.len() + 16 {
            self.hashes.shrink_to(2 * self.hashes.len());
            self.pins.shrink_to(2 * self.pins.len());
        }
        before - self.len()
    }

    /// Length of the prefix of which every block is held by somebody.
    pub(super) fn covered_prefix(&self) -> usize {
        (0..self.len())
            .find(|&position| self.holders.iter().all(|holder| !holder.has(position)))
            .unwrap_or(self.len())
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let holder_bytes: usize = self.holders.iter().map(Holder::heap_bytes).sum();
        let spilled = if self.holders.spilled() {
            self.holders.capacity() * size_of::<Holder>()
        } else {
            0
        };
        self.hashes.capacity() * size_of::<BlockHash>()
            + self.pins.capacity() * size_of::<u32>()
            + spilled
            + holder_bytes
    }
}

impl Holder {
    /// Length of the prefix that this worker holds, at most `limit`.
    pub(super) fn prefix(&self, limit: usize) -> usize {
        let mut length = 0;
        for word in &self.bits {
            let ones = word.trailing_ones() as usize;
            length += ones;
            if ones < 64 || length >= limit {
                break;
            }
        }
        length.min(limit)
    }

    fn has(&self, position: usize) -> bool {
        let word = self.bits.get(position / 64).copied().unwrap_or(0);
        word >> (position % 64) & 1 == 1
    }

    fn set(&mut self, position: usize) -> bool {
        if self.bits.len() <= position / 64 {
            self.bits.resize(position / 64 + 1, 0);
        }
        let word = &mut self.bits[position / 64];
        let mask = 1 << (position % 64);
        let new = *word & mask == 0;
        *word |= mask;
        self.held += u32::from(new);
        new
    }

    /// True when nothing is left.
    fn clear(&mut self, position: usize) -> bool {
        debug_assert!(self.has(position), "a worker releases what it holds");
        self.bits[position / 64] &= !(1 << (position % 64));
        self.held -= 1;
        self.held == 0
    }

    fn heap_bytes(&self) -> usize {
        if self.bits.spilled() {
            self.bits.capacity() * size_of::<u64>()
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(length: u64) -> Run {
        let mut run = Run::new(Fork::default(), BlockHash(0));
        run.extend((0..length).map(BlockHash).collect::<Vec<_>>().into_iter());
        run
    }

    #[test]
    fn a_hole_ends_the_prefix() {
        let mut run = run_of(200);
        let holder = run.holder(3);
        for position in 0..200 {
            assert!(run.hold(holder, position));
        }
        assert!(!run.hold(holder, 7));
        assert_eq!(run.holders[0].prefix(150), 150);
        run.release(3, 130);
        assert_eq!(run.holders[0].prefix(200), 130);
        assert_eq!(run.covered_prefix(), 130);
        run.release(3, 0);
        assert_eq!(run.holders[0].prefix(200), 0);
        assert_eq!(run.len(), 200);
    }

    #[test]
    fn unneeded_positions_are_cut_off_the_end() {
        let mut run = run_of(100);
        let holder = run.holder(0);
        for position in 0..100 {
            run.hold(holder, position);
        }
        run.pin(10);
        for position in (0..100).rev() {
            run.release(0, position);
        }
        assert_eq!((run.len(), run.holders.len()), (11, 0));
        run.unpin(10);
        assert_eq!(run.len(), 0);
    }
}
