//! The storage of one path of blocks, and who holds which of them.

use std::hash::{Hash, Hasher};

use smallvec::SmallVec;
use tandem_protocol::kv::BlockHash;

use super::bits::{Bits, Positions, mask, prefix};
use super::tier::{Overlap, Tier};
use super::tree::Place;

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

/// Consecutive positions of a run, from `start` and before `end`; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) run: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// What names a run: where it forks off, and its first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

impl Span {
    /// Adds a place to spans; to the last one if it is beside that.
    #[inline]
    pub(super) fn add(spans: &mut Vec<Self>, place: Place) {
        let Place { run, position } = place;
        if let Some(last) = spans.last_mut().filter(|last| last.run == run) {
            // Engines name the end of a path first.
            if position + 1 == last.start {
                last.start = position;
                return;
            }
            if position == last.end {
                last.end += 1;
                return;
            }
        }
        let end = position + 1;
        spans.push(Self {
            run,
            start: position,
            end,
        });
    }

    pub(super) fn places(self) -> impl Iterator<Item = Place> {
        let run = self.run;
        (self.start..self.end).map(move |position| Place { run, position })
    }
}

impl Edge {
    /// Of a run that is not in use.
    pub(super) const NONE: Self = Self {
        from: Fork { run: 0, offset: 0 },
        generation: 0,
        first: BlockHash(0),
    };

    /// A hash; the block is one already.
    pub(super) fn spread(&self) -> u64 {
        let Fork { run, offset } = self.from;
        let from = u64::from(run) << 32 | u64::from(offset ^ self.generation.rotate_left(16));
        (self.first.0 ^ from.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xd6e8_feb8_6659_fd93)
    }
}

impl Hash for Edge {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.spread());
    }
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
    pub(super) fn release(&mut self, slot: u32, tier: Tier, spans: &[Span]) -> usize {
        let Some(index) = self.holders.iter().position(|holder| holder.slot == slot) else {
            debug_assert!(false, "a worker releases what it holds");
            return 0;
        };
        let holder = &mut self.holders[index];
        let bits = holder.tier(tier);
        let mut released = 0;
        for span in spans {
            let count = (span.end - span.start) as usize;
            let held = bits.remove_range(span.start as usize, count);
            debug_assert_eq!(held, count, "a worker releases what it holds");
            released += held;
        }
        holder.held -= super::index32(released);
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
        let mut needed = self.forks.last().map_or(0, |fork| fork.0 as usize);
        for holder in &self.holders {
            if needed == before {
                return 0;
            }
            needed = holder.end(needed, before);
        }
        self.hashes.truncate(needed);
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

    /// The end of what this worker holds in any tier, within `least` and `limit`.
    fn end(&self, least: usize, limit: usize) -> usize {
        let end = self.device.end(least, limit);
        let Some(lower) = &self.lower else {
            return end;
        };
        lower.iter().fold(end, |end, bits| bits.end(end, limit))
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

    fn span(start: u32, end: u32) -> [Span; 1] {
        [Span { run: 0, start, end }]
    }

    #[test]
    fn places_side_by_side_are_one_span() {
        let mut spans = Vec::new();
        for position in [7, 6, 5, 8, 3] {
            Span::add(&mut spans, Place { run: 0, position });
        }
        Span::add(
            &mut spans,
            Place {
                run: 1,
                position: 2,
            },
        );
        assert_eq!(spans[..2], [span(5, 9), span(3, 4)].concat());
        assert_eq!(spans.len(), 3);
        let places = spans.iter().flat_map(|span| span.places());
        assert_eq!(places.count(), 6);
    }

    #[test]
    fn a_hole_ends_the_prefix() {
        let mut run = run_of(200);
        assert!(run.holder(3).hold(Tier::Device, 0, 200).is_empty());
        assert_eq!(run.holder(3).hold(Tier::Device, 7, 1)[..], [7]);
        assert_eq!(run.holders[0].overlap(150).device, 150);
        run.release(3, Tier::Device, &span(130, 131));
        assert_eq!(run.holders[0].overlap(200).device, 130);
        assert_eq!(run.covered_prefix(), 130);
        run.release(3, Tier::Device, &span(0, 1));
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
        run.release(0, Tier::Host, &span(30, 31));
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
        run.release(0, Tier::Device, &span(0, 100));
        assert_eq!((run.len(), run.holders.len()), (11, 0));
        run.unfork(11);
        assert_eq!(run.len(), 0);
    }
}
