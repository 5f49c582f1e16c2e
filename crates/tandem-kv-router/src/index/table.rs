//! Where each of a worker's engine hashes is in the tree.
//!
//! A hash table for this one use: open addressing, linear probing, removal by shifting back. An
//! operation touches one cache line instead of the two of a general table, whole events can ask
//! for their lines before they need them, and growing walks both tables in order. Engine hashes
//! are hashes already, so one multiplication spreads them.

use tandem_protocol::kv::SequenceHash;

use super::tree::Place;

/// Blocks whose cache lines are asked for together.
const BATCH: usize = 32;

const LEAST_CAPACITY: usize = 16;

/// Map from engine hash to place.
#[derive(Debug)]
pub(super) struct PlaceTable {
    entries: Vec<Entry>,
    len: usize,
}

/// Vacant if the place is in the root run, which has no blocks.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: SequenceHash,
    place: Place,
}

impl Entry {
    const VACANT: Self = Self {
        hash: SequenceHash(0),
        place: Place {
            run: 0,
            position: 0,
        },
    };

    const fn is_vacant(&self) -> bool {
        self.place.run == 0
    }
}

impl PlaceTable {
    pub(super) fn new() -> Self {
        Self {
            entries: vec![Entry::VACANT; LEAST_CAPACITY],
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, hash: SequenceHash) -> Option<Place> {
        let entry = &self.entries[self.find(hash)];
        (!entry.is_vacant()).then_some(entry.place)
    }

    /// Sets the place of a hash and returns its previous one. [`PlaceTable::reserve`] goes first.
    pub(super) fn insert(&mut self, hash: SequenceHash, place: Place) -> Option<Place> {
        debug_assert!(place.run != 0 && self.len < self.entries.len());
        let index = self.find(hash);
        let previous = std::mem::replace(&mut self.entries[index], Entry { hash, place });
        self.len += usize::from(previous.is_vacant());
        (!previous.is_vacant()).then_some(previous.place)
    }

    pub(super) fn remove(&mut self, hash: SequenceHash) -> Option<Place> {
        let mut hole = self.find(hash);
        let removed = self.entries[hole];
        if removed.is_vacant() {
            return None;
        }
        self.len -= 1;
        let mask = self.entries.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let entry = self.entries[next];
            if entry.is_vacant() {
                break;
            }
            // An entry may fill the hole if that is not before the place where it belongs.
            let displacement = next.wrapping_sub(self.home(entry.hash)) & mask;
            if displacement >= next.wrapping_sub(hole) & mask {
                self.entries[hole] = entry;
                hole = next;
            }
        }
        self.entries[hole] = Entry::VACANT;
        Some(removed.place)
    }

    /// Makes room for `additional` hashes.
    pub(super) fn reserve(&mut self, additional: usize) {
        let needed = (self.len + additional) * 4 / 3 + 1;
        if needed <= self.entries.len() {
            return;
        }
        let larger = vec![Entry::VACANT; needed.next_power_of_two()];
        let smaller = std::mem::replace(&mut self.entries, larger);
        for entry in smaller {
            if !entry.is_vacant() {
                let index = self.find(entry.hash);
                self.entries[index] = entry;
            }
        }
    }

    /// Loads the entries of a whole batch at once: the loads overlap, and what follows finds them
    /// in the cache.
    pub(super) fn touch<T>(&self, batch: &[T], hash: impl Fn(&T) -> SequenceHash) {
        let mask = self.entries.len() - 1;
        let mut sum = 0;
        for item in batch {
            // Probing runs on from the hash's home, often into the next cache line.
            let home = self.home(hash(item));
            sum ^= self.entries[home].place.run ^ self.entries[(home + 3) & mask].place.run;
        }
        std::hint::black_box(sum);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SequenceHash, Place)> {
        let taken = self.entries.iter().filter(|entry| !entry.is_vacant());
        taken.map(|entry| (entry.hash, entry.place))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// Index of the hash's entry, or of the vacant one where it would go.
    fn find(&self, hash: SequenceHash) -> usize {
        let mask = self.entries.len() - 1;
        let mut index = self.home(hash);
        while !self.entries[index].is_vacant() && self.entries[index].hash != hash {
            index = (index + 1) & mask;
        }
        index
    }

    /// The high bits choose, so that a larger table keeps the order of a smaller one.
    #[allow(clippy::cast_possible_truncation, reason = "an index into memory")]
    fn home(&self, hash: SequenceHash) -> usize {
        let spread = hash.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (spread >> (64 - self.entries.len().trailing_zeros())) as usize
    }
}

/// Batches of items, to be passed to [`PlaceTable::touch`] before use.
pub(super) fn batches<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    items.chunks(BATCH)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Keys are multiples of a power of two, so that probe sequences collide and wrap around.
        #[test]
        fn table_equals_hash_map(steps in prop::collection::vec((any::<bool>(), 0..60_u64, 1..9_u32), 1..400)) {
            let (mut table, mut map) = (PlaceTable::new(), HashMap::new());
            for (insert, key, run) in steps {
                let hash = SequenceHash(key << 58 | key >> 3);
                let place = Place { run, position: run };
                if insert {
                    table.reserve(1);
                    prop_assert_eq!(table.insert(hash, place), map.insert(hash, place));
                } else {
                    prop_assert_eq!(table.remove(hash), map.remove(&hash));
                }
                prop_assert_eq!(table.get(hash), map.get(&hash).copied());
                prop_assert_eq!(table.len(), map.len());
            }
            prop_assert_eq!(table.iter().collect::<HashMap<_, _>>(), map);
        }
    }
}
