//! Where each of a worker's engine hashes is in the tree.
//!
//! A hash table for this one use. What it holds is a log, in the order in which it was stored;
//! slots of four bytes lead into it. So storing writes one small slot at a random place and the
//! rest in order, and removing only marks the log: an engine evicts the blocks of a prompt one
//! after the other, and the log has them side by side, which is where a removal looks first.
//! What is marked goes when the table is built anew.

use tandem_protocol::kv::{SequenceHash, StoredBlock};

use super::run::Span;
use super::tree::Place;

/// Blocks whose slots are asked for together.
const BATCH: usize = 32;

const LEAST_SLOTS: usize = 16;

/// Fewest slots per entry of the log. They are small, and looking past taken ones costs more.
const SPACE: usize = 2;

/// Bits of a slot that say which entry of the log it leads to; the others are from the hash.
const INDEX_BITS: u32 = 24;

/// Entries below which memory is not given back.
const KEPT: usize = 1024;

/// Entries of the log that are allocated together: 4 KiB.
const CHUNK: usize = 256;

/// Map from engine hash to place.
#[derive(Debug)]
pub(super) struct PlaceTable {
    log: Log,
    /// Entries of the log that are not removed.
    held: usize,
    /// Open addressing with linear probing. 0 is vacant; others are never vacated, and may lead to
    /// entries that are removed.
    slots: Vec<u32>,
    /// Turns a spread hash into a slot.
    shift: u32,
    /// Entries that a slot may lead to, as a power of two: one unless the log is enormous.
    group: u32,
}

/// Removed if the place is in the root run, which has no blocks.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: SequenceHash,
    place: Place,
}

/// Entries in the order in which they came. They never move when more come.
#[derive(Debug, Default)]
struct Log {
    /// Each is full but the last.
    chunks: Vec<Vec<Entry>>,
    len: usize,
}

/// Where a hash is looked for first, and what its slots are marked with.
#[derive(Debug, Clone, Copy)]
struct Home {
    slot: usize,
    tag: u32,
}

impl Entry {
    fn is_of(&self, hash: SequenceHash) -> bool {
        self.hash == hash && !self.is_removed()
    }

    const fn is_removed(&self) -> bool {
        self.place.run == 0
    }
}

impl Log {
    fn push(&mut self, entry: Entry) {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[self.len / CHUNK].push(entry);
        self.len += 1;
    }

    fn at(&self, index: usize) -> &Entry {
        &self.chunks[index / CHUNK][index % CHUNK]
    }

    fn at_mut(&mut self, index: usize) -> &mut Entry {
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }

    /// Removes the entry at `index`, which is that of the first of `hashes`, and those before it
    /// as long as they are of the following ones; returns how many.
    fn remove_back(
        &mut self,
        index: usize,
        hashes: &[SequenceHash],
        places: &mut Vec<Span>,
    ) -> usize {
        let before = &mut self.chunks[index / CHUNK][..=index % CHUNK];
        let mut count = 0;
        for (entry, &hash) in before.iter_mut().rev().zip(hashes) {
            if !entry.is_of(hash) {
                break;
            }
            Span::add(places, entry.place);
            entry.place.run = 0;
            count += 1;
        }
        count
    }

    /// Those that are not removed.
    fn iter(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.chunks.iter().flatten();
        entries.filter(|entry| !entry.is_removed())
    }

    /// Drops those that are removed.
    fn compact(&mut self) {
        let mut kept = 0;
        for index in 0..self.len {
            let entry = *self.at(index);
            if !entry.is_removed() {
                *self.at_mut(kept) = entry;
                kept += 1;
            }
        }
        self.chunks.truncate(kept.div_ceil(CHUNK));
        if let Some(last) = self.chunks.last_mut() {
            last.truncate(kept - (kept - 1) / CHUNK * CHUNK);
        }
        self.len = kept;
    }

    fn heap_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Entry>()
            + self.chunks.capacity() * size_of::<Vec<Entry>>()
    }
}

impl PlaceTable {
    pub(super) fn new() -> Self {
        Self {
            log: Log::default(),
            held: 0,
            slots: vec![0; LEAST_SLOTS],
            shift: u64::BITS - LEAST_SLOTS.trailing_zeros(),
            group: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.held
    }

    pub(super) fn get(&self, hash: SequenceHash) -> Option<Place> {
        let entry = self.log.at(self.find(hash).ok()?);
        (!entry.is_removed()).then_some(entry.place)
    }

    /// Sets the place of a hash and returns its previous one. [`PlaceTable::reserve`] goes first.
    pub(super) fn insert(&mut self, hash: SequenceHash, place: Place) -> Option<Place> {
        debug_assert!(place.run != 0 && self.log.len < self.slots.len());
        match self.find(hash) {
            Ok(index) => {
                let entry = self.log.at_mut(index);
                let previous = std::mem::replace(entry, Entry { hash, place });
                self.held += usize::from(previous.is_removed());
                (!previous.is_removed()).then_some(previous.place)
            }
            Err(vacant) => {
                self.append(Entry { hash, place }, vacant);
                None
            }
        }
    }

    /// Adds an entry, to which the slot `vacant` will lead.
    #[inline]
    fn append(&mut self, entry: Entry, vacant: usize) {
        self.slots[vacant] = self.leading_to(self.log.len, self.home(entry.hash));
        self.log.push(entry);
        self.held += 1;
    }

    /// Sets the places of blocks that follow each other from `place` on; adds previous ones to
    /// `displaced`.
    pub(super) fn insert_path(
        &mut self,
        blocks: &[StoredBlock],
        mut place: Place,
        displaced: &mut Vec<Span>,
    ) {
        self.reserve(blocks.len());
        for batch in blocks.chunks(BATCH) {
            self.touch(batch.iter().map(|block| block.block_hash));
            for &StoredBlock {
                block_hash: hash, ..
            } in batch
            {
                let slot = self.home(hash).slot;
                if self.slots[slot] == 0 {
                    self.append(Entry { hash, place }, slot);
                } else if let Some(previous) = self.insert(hash, place) {
                    Span::add(displaced, previous);
                }
                place.position += 1;
            }
        }
    }

    /// Takes hashes out and adds their places to `places`; returns how many were not in.
    pub(super) fn remove(&mut self, hashes: &[SequenceHash], places: &mut Vec<Span>) -> usize {
        let before = self.held;
        let mut last = None;
        // How many in a row were not beside each other.
        let mut scattered = 0;
        let mut rest = hashes;
        while let Some((&hash, after)) = rest.split_first() {
            let beside = last.and_then(|last| self.beside(last, hash));
            scattered = if beside.is_some() { 0 } else { scattered + 1 };
            if scattered % BATCH == 2 {
                self.touch(rest.iter().take(BATCH).copied());
            }
            let found = beside.or_else(|| self.find(hash).ok());
            let Some(index) = found.filter(|&index| self.log.at(index).is_of(hash)) else {
                rest = after;
                continue;
            };
            let count = self.log.remove_back(index, rest, places);
            self.held -= count;
            last = Some(index + 1 - count);
            rest = &rest[count..];
        }
        let removed = before - self.held;
        if self.log.len > KEPT && self.held < self.log.len / 4 {
            self.rebuild(0);
        }
        hashes.len() - removed
    }

    /// Makes room for `additional` hashes.
    pub(super) fn reserve(&mut self, additional: usize) {
        if (self.log.len + additional) * SPACE > self.slots.len() {
            self.rebuild(additional);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SequenceHash, Place)> {
        let held = self.log.iter();
        held.map(|entry| (entry.hash, entry.place))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.log.heap_bytes() + self.slots.capacity() * size_of::<u32>()
    }

    /// Drops what is removed, and makes room for `additional` hashes and as many again.
    fn rebuild(&mut self, additional: usize) {
        if self.held < self.log.len {
            self.log.compact();
        }
        let slots = ((self.held + additional) * SPACE * 2).next_power_of_two();
        if slots == self.slots.len() {
            self.slots.fill(0);
        } else {
            self.slots = vec![0; slots.max(LEAST_SLOTS)];
        }
        self.shift = u64::BITS - self.slots.len().trailing_zeros();
        self.group = self.slots.len().trailing_zeros().saturating_sub(INDEX_BITS);
        let mask = self.slots.len() - 1;
        for (index, entry) in self.log.iter().enumerate() {
            let home = self.home(entry.hash);
            let mut at = home.slot;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = self.leading_to(index, home);
        }
    }

    /// Loads the slots of a whole batch at once: the loads overlap, and what follows finds them in
    /// the cache.
    fn touch(&self, batch: impl Iterator<Item = SequenceHash>) {
        let slots = batch.map(|hash| self.slots[self.home(hash).slot]);
        std::hint::black_box(slots.fold(0, |all, slot| all ^ slot));
    }

    /// Index of the hash's entry, which may be removed, or of the vacant slot where it would go. A
    /// hash has one entry at most, so that one that comes and goes all the time fills no slots.
    #[inline]
    fn find(&self, hash: SequenceHash) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let Home { slot: mut at, tag } = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return Err(at);
            }
            if (slot ^ tag) >> INDEX_BITS == 0
                && let Some(index) = self.find_behind(slot, hash)
            {
                return Ok(index);
            }
            at = (at + 1) & mask;
        }
    }

    /// Index of the hash's entry if it is among those that a slot leads to.
    fn find_behind(&self, slot: u32, hash: SequenceHash) -> Option<usize> {
        let number = (slot & ((1 << INDEX_BITS) - 1)) as usize - 1;
        let start = number << self.group;
        let end = self.log.len.min(start + (1 << self.group));
        (start..end).find(|&index| self.log.at(index).hash == hash)
    }

    /// Index of the hash's entry if it is the one before or after another.
    #[inline]
    fn beside(&self, index: usize, hash: SequenceHash) -> Option<usize> {
        let is_at = |index: usize| index < self.log.len && self.log.at(index).is_of(hash);
        let before = index.wrapping_sub(1);
        if is_at(before) {
            return Some(before);
        }
        is_at(index + 1).then_some(index + 1)
    }

    /// A slot that leads to an entry.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "`rebuild` makes groups few enough"
    )]
    fn leading_to(&self, index: usize, home: Home) -> u32 {
        home.tag | ((index >> self.group) as u32 + 1)
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "an index into memory, and a few bits"
    )]
    fn home(&self, hash: SequenceHash) -> Home {
        // Engine hashes are hashes already, so one multiplication spreads them.
        let spread = hash.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Home {
            slot: (spread >> self.shift) as usize,
            tag: spread as u32 >> INDEX_BITS << INDEX_BITS,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn check(steps: Vec<(bool, u64, u64)>, key_hash: impl Fn(u64) -> SequenceHash) {
        let (mut table, mut map) = (PlaceTable::new(), HashMap::new());
        for (insert, first, count) in steps {
            let hashes: Vec<_> = (first..first + count).map(&key_hash).collect();
            if insert {
                table.reserve(hashes.len());
                for (position, &hash) in (0..).zip(&hashes) {
                    let run = u32::try_from(first).expect("small") + 1;
                    let place = Place { run, position };
                    assert_eq!(table.insert(hash, place), map.insert(hash, place));
                }
            } else {
                // The end first, as engines do, and one that is not there between.
                let hashes: Vec<_> = hashes.into_iter().rev().collect();
                let (mut removed, mut expected) = (Vec::new(), Vec::new());
                let unknown = table.remove(&hashes, &mut removed);
                let known = hashes.iter().filter_map(|hash| map.remove(hash));
                let count = known.map(|place| Span::add(&mut expected, place)).count();
                assert_eq!((removed, unknown), (expected, hashes.len() - count));
                assert!(table.log.len <= KEPT.max(4 * table.len() + 4));
            }
            assert_eq!(
                table.get(key_hash(first)),
                map.get(&key_hash(first)).copied()
            );
            assert_eq!(table.len(), map.len());
            assert!(table.log.len * 4 <= table.slots.len() * 3);
        }
        assert_eq!(table.iter().collect::<HashMap<_, _>>(), map);
    }

    #[test]
    fn a_block_that_comes_and_goes_leaves_nothing_behind() {
        let mut table = PlaceTable::new();
        let place = Place {
            run: 1,
            position: 0,
        };
        for _ in 0..1000 {
            table.reserve(1);
            assert_eq!(table.insert(SequenceHash(7), place), None);
            assert_eq!(table.remove(&[SequenceHash(7)], &mut Vec::new()), 0);
        }
        assert_eq!((table.log.len, table.slots.len()), (1, LEAST_SLOTS));
    }

    proptest! {
        /// Keys are multiples of a power of two, so that probe sequences collide and wrap around.
        #[test]
        fn table_equals_hash_map(
            steps in prop::collection::vec((any::<bool>(), 0..60_u64, 1..9_u64), 1..400),
        ) {
            check(steps, |key| SequenceHash(key << 58 | key >> 3));
        }

        #[test]
        fn large_table_equals_hash_map(
            steps in prop::collection::vec((any::<bool>(), 0..6_000_u64, 1..2_000_u64), 1..10),
        ) {
            check(steps, |key| SequenceHash(key.wrapping_mul(0xd6e8_feb8_6659_fd93)));
        }
    }
}
