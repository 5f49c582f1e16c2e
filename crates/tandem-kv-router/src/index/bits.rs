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

    /// Takes `count` positions from `start` out; returns how many were in.
    pub(super) fn remove_range(&mut self, start: usize, count: usize) -> usize {
        let end = start + count;
        let mut removed = 0;
        for index in start / 64..end.div_ceil(64).min(self.0.len()) {
            let here = self.0[index] & mask(index, start, end);
            self.0[index] ^= here;
            removed += here.count_ones() as usize;
        }
        removed
    }

    /// Length of the prefix of which every position is in the set, at most `limit`.
    pub(super) fn prefix(&self, limit: usize) -> usize {
        prefix(limit, |index| self.word(index))
    }

    /// The place after the last position in the set, if that is within `least` and `limit`; else
    /// whichever is nearer.
    pub(super) fn end(&self, least: usize, limit: usize) -> usize {
        let words = least / 64..limit.div_ceil(64).min(self.0.len());
        for index in words.rev() {
            let ones = self.0[index] & mask(index, least, limit);
            if ones != 0 {
                return (index + 1) * 64 - ones.leading_zeros() as usize;
            }
        }
        least
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
                    let end = start + count - 100;
                    let removed = bits.remove_range(start, count - 100);
                    prop_assert_eq!(removed, set.extract_if(start..end, |_| true).count());
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
            let last = set.range(..limit).next_back();
            prop_assert_eq!(bits.end(0, limit), last.map_or(0, |last| last + 1));
            let least = limit / 3;
            prop_assert_eq!(bits.end(least, limit), bits.end(0, limit).max(least));
            prop_assert!((0..400).all(|position| bits.has(position) == set.contains(&position)));
        }
    }
}
