//! Which positions of a run are held.

use smallvec::SmallVec;

/// Positions, usually none.
pub(super) type Positions = SmallVec<[u32; 4]>;

/// A set of positions, one bit each.
#[derive(Debug, Default)]
pub(super) struct Bits(SmallVec<[u64; 2]>);

impl Bits {
    pub(super) fn has(&self, position: usize) -> bool {
        self.word(position / 64) >> (position % 64) & 1 == 1
    }

    /// Adds `count` positions from `start`; returns those that were in the set already.
    pub(super) fn add_range(&mut self, start: usize, count: usize) -> Positions {
        let end = start + count;
        if self.0.len() < end.div_ceil(64) {
            self.0.resize(end.div_ceil(64), 0);
        }
        let mut present = Positions::new();
        for index in start / 64..end.div_ceil(64) {
            let mask = mask(index, start, end);
            let mut before = self.0[index] & mask;
            self.0[index] |= mask;
            while before != 0 {
                let position = index * 64 + before.trailing_zeros() as usize;
                present.push(super::index32(position));
                before &= before - 1;
            }
        }
        present
    }

    /// Takes a position out; false if it was not in.
    pub(super) fn remove(&mut self, position: usize) -> bool {
        let had = self.has(position);
        if had {
            self.0[position / 64] &= !(1 << (position % 64));
        }
        had
    }

    /// Length of the prefix of which every position is in the set, at most `limit`.
    pub(super) fn prefix(&self, limit: usize) -> usize {
        prefix(limit, |index| self.word(index))
    }

    pub(super) fn word(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        super::run::spilled(&self.0)
    }
}

/// Length of the prefix of a set, given as words, that has no gap; at most `limit`.
pub(super) fn prefix(limit: usize, word: impl Fn(usize) -> u64) -> usize {
    let mut length = 0;
    for index in 0..limit.div_ceil(64) {
        let ones = word(index).trailing_ones() as usize;
        length += ones;
        if ones < 64 {
            break;
        }
    }
    length.min(limit)
}

/// The bits of word `index` that stand for positions from `start` and before `end`.
pub(super) fn mask(index: usize, start: usize, end: usize) -> u64 {
    let below = |position: usize| match position.saturating_sub(index * 64) {
        bits @ 0..64 => (1 << bits) - 1,
        _ => u64::MAX,
    };
    below(end) & !below(start)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_equal_a_set(
            steps in prop::collection::vec((0..200_usize, 0..150_usize), 1..30),
            limit in 0..400_usize,
        ) {
            let (mut bits, mut set) = (Bits::default(), BTreeSet::new());
            for (start, count) in steps {
                if count > 100 {
                    prop_assert_eq!(bits.remove(start), set.remove(&start));
                    continue;
                }
                let present = bits.add_range(start, count);
                let expected = set.range(start..start + count).copied();
                let present: Vec<_> = present.iter().map(|&position| position as usize).collect();
                prop_assert_eq!(present, expected.collect::<Vec<_>>());
                set.extend(start..start + count);
            }
            let gap = (0..limit).find(|position| !set.contains(position));
            prop_assert_eq!(bits.prefix(limit), gap.unwrap_or(limit));
            prop_assert!((0..400).all(|position| bits.has(position) == set.contains(&position)));
        }
    }
}
