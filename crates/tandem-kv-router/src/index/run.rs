//! The storage of one path of blocks, and who holds which of them.

use smallvec::SmallVec;
use tandem_protocol::kv::BlockHash;

use super::bits::{Bits, Positions, mask, prefix};
use super::tier::{Overlap, Tier};

/// A path of consecutive blocks without a fork; forks hang off its positions as further runs.
///
/// A run is never split: a run that forks keeps its blocks, so a `(run, position)` stays valid
/// for as long as somebody holds the block.
#[derive(Debug)]
pub(super) struct Run {
    hashes: Vec<BlockHash>,
    /// Offsets at which other runs fork off, ascending, and how many do.
    forks: SmallVec<[(u32, u32); 1]>,
    /// Workers that hold at least one block.
    pub(super) holders: SmallVec<[Holder; 1]>,
    /// Its name, even when no block is left.
    pub(super) edge: Edge,
    /// Tells apart the runs that had the same id one after the other.
    pub(super) generation: u32,
}

/// The place before position `offset` of `run`, where a child's first block would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Fork {
    pub(super) run: u32,
    pub(super) offset: u32,
}

/// What names a run: where it forks off, and its first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Edge {
    pub(super) from: Fork,
    /// Of the run that it forks off from.
    pub(super) generation: u32,
    pub(super) first: BlockHash,
}

/// Which blocks of a run one worker holds.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) slot: u32,
    /// The worker's epoch when it last stored here.
    pub(super) newest: u32,
    /// Blocks over all tiers; one in two tiers counts twice.
    held: u32,
    device: Bits,
    /// Host and disk; nearly always absent.
    lower: Option<Box<[Bits; 2]>>,
}

impl Edge {
    /// Of a run that is not in use.
    pub(super) const NONE: Self = Self {
        from: Fork { run: 0, offset: 0 },
        generation: 0,
        first: BlockHash(0),
    };
}

impl Run {
    pub(super) fn new(edge: Edge, generation: u32) -> Self {
        Self {
            hashes: Vec::new(),
            forks: SmallVec::new(),
            holders: SmallVec::new(),
            edge,
            generation,
        }
    }

    pub(super) fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Adds blocks at the end; the caller holds them before anything else happens.
    pub(super) fn extend(&mut self, blocks: impl Iterator<Item = BlockHash>) {
        self.hashes.extend(blocks);
    }

    /// The worker's entry in `holders`, made if absent.
    pub(super) fn holder(&mut self, slot: u32) -> &mut Holder {
        let found = self.holders.iter().position(|holder| holder.slot == slot);
        let index = found.unwrap_or_else(|| {
            self.holders.push(Holder {
                slot,
                newest: 0,
                held: 0,
                device: Bits::default(),
                lower: None,
            });
            self.holders.len() - 1
        });
        &mut self.holders[index]
    }

    /// When the worker last stored here, if it holds anything.
    pub(super) fn newest(&self, slot: u32) -> Option<u32> {
        let holder = self.holders.iter().find(|holder| holder.slot == slot)?;
        Some(holder.newest)
    }

    /// Undoes a worker's hold on blocks; returns how many blocks nobody needs any more.
    pub(super) fn release(
        &mut self,
        slot: u32,
        tier: Tier,
        positions: impl Iterator<Item = u32>,
    ) -> usize {
        let Some(index) = self.holders.iter().position(|holder| holder.slot == slot) else {
            debug_assert!(false, "a worker releases what it holds");
            return 0;
        };
        let holder = &mut self.holders[index];
        for position in positions {
            let held = holder.tier(tier).remove(position as usize);
            debug_assert!(held, "a worker releases what it holds");
            holder.held -= u32::from(held);
        }
        if holder.held == 0 {
            self.holders.swap_remove(index);
        }
        self.cut()
    }

    /// Records that a run forks off at `offset`.
    pub(super) fn fork(&mut self, offset: u32) {
        match self.forks.binary_search_by_key(&offset, |fork| fork.0) {
            Ok(index) => self.forks[index].1 += 1,
            Err(index) => self.forks.insert(index, (offset, 1)),
        }
    }

    /// Whether runs fork off at `offset`.
    pub(super) fn is_forked(&self, offset: u32) -> bool {
        let found = self.forks.binary_search_by_key(&offset, |fork| fork.0);
        found.is_ok()
    }

    /// Undoes [`Run::fork`]; returns how many blocks nobody needs any more.
    pub(super) fn unfork(&mut self, offset: u32) -> usize {
        let Ok(index) = self.forks.binary_search_by_key(&offset, |fork| fork.0) else {
            debug_assert!(false, "forks are balanced");
            return 0;
        };
        self.forks[index].1 -= 1;
        if self.forks[index].1 == 0 {
            self.forks.remove(index);
        }
        self.cut()
    }

    /// Cuts off blocks at the end that nobody holds and nothing forks off after.
    fn cut(&mut self) -> usize {
        let before = self.len();
        let forked = self.forks.last().map_or(0, |fork| fork.0 as usize);
        while self.len() > forked && !self.is_held(self.len() - 1) {
            self.hashes.pop();
        }
        if self.hashes.capacity() > 4 * self.len() + 16 {
            self.hashes.shrink_to(2 * self.len());
        }
        before - self.len()
    }

    fn is_held(&self, position: usize) -> bool {
        self.holders.iter().any(|holder| holder.has(position))
    }

    /// Length of the prefix of which every block is held by somebody.
    pub(super) fn covered_prefix(&self) -> usize {
        (0..self.len())
            .find(|&position| !self.is_held(position))
            .unwrap_or(self.len())
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let bits = self.holders.iter().map(Holder::heap_bytes);
        self.hashes.capacity() * size_of::<BlockHash>()
            + spilled(&self.forks)
            + spilled(&self.holders)
            + bits.sum::<usize>()
    }
}

/// Bytes of a small vector on the heap.
pub(super) fn spilled<A: smallvec::Array>(vec: &SmallVec<A>) -> usize {
    if vec.spilled() {
        vec.capacity() * size_of::<A::Item>()
    } else {
        0
    }
}

impl Holder {
    /// Marks `count` blocks from `start` as held; returns those that were already.
    pub(super) fn hold(&mut self, tier: Tier, start: u32, count: usize) -> Positions {
        let held = self.tier(tier).add_range(start as usize, count);
        self.held += super::index32(count - held.len());
        held
    }

    /// The prefix that this worker holds in any tier, at most `limit` blocks.
    pub(super) fn overlap(&self, limit: usize) -> Overlap {
        let Some(lower) = &self.lower else {
            return Overlap::on_device(super::index32(self.device.prefix(limit)));
        };
        let [host, disk] = &**lower;
        let word = |index| self.device.word(index) | host.word(index) | disk.word(index);
        let length = prefix(limit, word);
        let mut overlap = Overlap::default();
        for index in 0..length.div_ceil(64) {
            let mask = mask(index, 0, length);
            let device = self.device.word(index) & mask;
            let host = host.word(index) & mask & !device;
            overlap.device += device.count_ones();
            overlap.host += host.count_ones();
            overlap.disk += (mask & !device & !host).count_ones();
        }
        overlap
    }

    fn has(&self, position: usize) -> bool {
        let lower = self.lower.iter().flat_map(|lower| lower.iter());
        self.device.has(position) || lower.into_iter().any(|bits| bits.has(position))
    }

    fn tier(&mut self, tier: Tier) -> &mut Bits {
        match tier {
            Tier::Device => &mut self.device,
            Tier::Host => &mut self.lower.get_or_insert_default()[0],
            Tier::Disk => &mut self.lower.get_or_insert_default()[1],
        }
    }

    fn heap_bytes(&self) -> usize {
        let lower = self.lower.iter().map(|lower| {
            size_of::<[Bits; 2]>() + lower.iter().map(Bits::heap_bytes).sum::<usize>()
        });
        self.device.heap_bytes() + lower.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(length: u64) -> Run {
        let mut run = Run::new(Edge::NONE, 0);
        run.extend((0..length).map(BlockHash));
        run
    }

    #[test]
    fn a_hole_ends_the_prefix() {
        let mut run = run_of(200);
        assert!(run.holder(3).hold(Tier::Device, 0, 200).is_empty());
        assert_eq!(run.holder(3).hold(Tier::Device, 7, 1)[..], [7]);
        assert_eq!(run.holders[0].overlap(150).device, 150);
        run.release(3, Tier::Device, [130].into_iter());
        assert_eq!(run.holders[0].overlap(200).device, 130);
        assert_eq!(run.covered_prefix(), 130);
        run.release(3, Tier::Device, [0].into_iter());
        assert_eq!(run.holders[0].overlap(200).device, 0);
        assert_eq!(run.len(), 200);
    }

    #[test]
    fn a_block_counts_in_the_fastest_tier_that_has_it() {
        let mut run = run_of(100);
        run.holder(0).hold(Tier::Device, 0, 10);
        run.holder(0).hold(Tier::Host, 5, 65);
        run.holder(0).hold(Tier::Disk, 60, 30);
        let expected = Overlap {
            device: 10,
            host: 60,
            disk: 20,
        };
        assert_eq!(run.holders[0].overlap(100), expected);
        run.release(0, Tier::Host, [30].into_iter());
        let expected = Overlap {
            device: 10,
            host: 20,
            disk: 0,
        };
        assert_eq!(run.holders[0].overlap(100), expected);
    }

    #[test]
    fn unneeded_positions_are_cut_off_the_end() {
        let mut run = run_of(100);
        run.holder(0).hold(Tier::Device, 0, 100);
        run.fork(11);
        run.release(0, Tier::Device, 0..100);
        assert_eq!((run.len(), run.holders.len()), (11, 0));
        run.unfork(11);
        assert_eq!(run.len(), 0);
    }
}
