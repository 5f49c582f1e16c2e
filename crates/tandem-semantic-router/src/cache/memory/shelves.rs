//! Entries by their keys, on shelves that are locked one by one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::Held;
use crate::cache::key::Key;

/// How many: so many that two who look and store seldom meet.
const SHELVES: usize = 64;

/// Entries that can be looked up while others are stored. Only whoever holds the store's state
/// changes them.
#[derive(Debug)]
pub(super) struct Shelves {
    shelves: [RwLock<HashMap<Key, Arc<Held>>>; SHELVES],
    clock: AtomicU64,
}

impl Shelves {
    pub(super) fn new() -> Self {
        Self {
            shelves: std::array::from_fn(|_| RwLock::default()),
            clock: AtomicU64::new(0),
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<Arc<Held>> {
        self.shelf(key).read().get(&key).map(Arc::clone)
    }

    pub(super) fn insert(&self, held: Held) {
        let key = held.entry.key;
        let held = Arc::new(held);
        self.shelf(key).write().insert(key, held);
    }

    pub(super) fn remove(&self, key: Key) -> Option<Arc<Held>> {
        self.shelf(key).write().remove(&key)
    }

    /// A point in time that no other call got.
    pub(super) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn shelf(&self, key: Key) -> &RwLock<HashMap<Key, Arc<Held>>> {
        &self.shelves[usize::from(key.as_bytes()[0]) % SHELVES]
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<Arc<Held>> {
        let shelves = self.shelves.iter();
        shelves
            .flat_map(|shelf| shelf.read().values().map(Arc::clone).collect::<Vec<_>>())
            .collect()
    }
}
