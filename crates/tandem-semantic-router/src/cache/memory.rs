//! Answers in this process.

mod shelves;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use self::shelves::Shelves;
use super::entry::{Asked, Entry, Moment};
use super::invalidation::Selector;
use super::key::Key;
use crate::config::{CacheLimits, Eviction};

/// Most entries of a word that are looked at: newer ones first.
pub(super) const MOST_POSTINGS: usize = 256;
/// Words by which candidates are found: the rarest of the question.
pub(super) const RAREST: usize = 3;
/// Most candidates that are compared with a question.
pub(super) const MOST_CANDIDATES: usize = 16;
/// Most expired entries that one insertion drops, so that none takes long.
const SWEEP: usize = 32;

/// Answers up to a number of bytes. Looking up the answer to an equal request waits for nobody who
/// stores or drops others; everything else holds the lock for some map look-ups only, and questions
/// are compared outside of it.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    entries: Shelves,
    state: Mutex<State>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Occupancy {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
    /// Dropped to make room.
    pub(crate) evicted: u64,
    /// Dropped because their time was over.
    pub(crate) expired: u64,
}

#[derive(Debug)]
struct State {
    limits: CacheLimits,
    /// Keys by when they were last used as far as was noticed, see `oldest`.
    order: BTreeMap<u64, Key>,
    expiries: BTreeSet<(Moment, Key)>,
    /// Entries by the words of their questions; in the order in which they were stored.
    postings: HashMap<(Key, u64), BTreeMap<u64, Key>>,
    occupancy: Occupancy,
}

#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    /// When it was last used, in ticks of the shelves' clock.
    used: AtomicU64,
    /// Its place in the order of use, which may lag behind. Only whoever holds the state looks at it.
    place: AtomicU64,
    /// Place in the postings.
    stored: u64,
}

impl MemoryStore {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        Self {
            entries: Shelves::new(),
            state: Mutex::new(State {
                limits,
                order: BTreeMap::new(),
                expiries: BTreeSet::new(),
                postings: HashMap::new(),
                occupancy: Occupancy::default(),
            }),
        }
    }

    /// Takes over other limits, and drops what is beyond them.
    pub(crate) fn limit(&self, limits: CacheLimits) {
        let mut state = self.state.lock();
        state.limits = limits;
        state.make_room(&self.entries);
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        self.state.lock().occupancy
    }

    /// The answer to this very request.
    pub(crate) fn get(&self, key: Key, now: Moment) -> Option<Arc<Entry>> {
        let held = self.entries.get(key)?;
        if held.entry.is_expired(now) {
            self.state.lock().expire(&self.entries, key, now);
            return None;
        }
        held.used.fetch_max(self.entries.tick(), Ordering::Relaxed);
        Some(Arc::clone(&held.entry))
    }

    /// Entries with the same surroundings that share words with a question, the most likely first.
    pub(crate) fn candidates(&self, rest: Key, terms: &[u64], now: Moment) -> Vec<Arc<Entry>> {
        // Nobody waits while they are counted: one that is gone afterwards is none.
        let newest = self.state.lock().newest(rest, terms);
        let likely = most_shared([newest]);
        let entries = likely.iter().filter_map(|key| self.entries.get(*key));
        entries
            .filter(|held| !held.entry.is_expired(now))
            .take(MOST_CANDIDATES)
            .map(|held| Arc::clone(&held.entry))
            .collect()
    }

    /// Stores an answer in place of an older one; whether there is room for it.
    pub(crate) fn insert(&self, entry: Arc<Entry>, now: Moment) -> bool {
        self.state.lock().insert(&self.entries, entry, now)
    }

    /// Drops what is selected and was stored until then; how many that were.
    pub(crate) fn remove(&self, selector: &Selector, until: Moment) -> usize {
        let mut state = self.state.lock();
        let keys: Vec<Key> = match selector {
            Selector::Key(key) => vec![*key],
            Selector::Model(_) | Selector::Decision(_) | Selector::All => {
                state.order.values().copied().collect()
            }
        };
        let mut dropped = 0;
        for key in keys {
            let held = self.entries.get(key);
            if held.is_some_and(|held| held.entry.stored <= until && selector.selects(&held.entry))
            {
                state.remove(&self.entries, key);
                dropped += 1;
            }
        }
        dropped
    }
}

impl State {
    /// Drops an entry whose time is over, unless another took its place meanwhile.
    fn expire(&mut self, entries: &Shelves, key: Key, now: Moment) {
        if entries
            .get(key)
            .is_some_and(|held| held.entry.is_expired(now))
        {
            self.remove(entries, key);
            self.occupancy.expired += 1;
        }
    }

    /// The newest entries of the rarest terms, and when they were stored; one that several terms have
    /// is there as often.
    fn newest(&self, rest: Key, terms: &[u64]) -> Vec<(Key, u64)> {
        let mut found: Vec<&BTreeMap<u64, Key>> = terms
            .iter()
            .filter_map(|term| self.postings.get(&(rest, *term)))
            .collect();
        found.sort_by_key(|postings| postings.len());
        let rarest = found.iter().take(RAREST);
        let newest = rarest.flat_map(|postings| postings.iter().rev().take(MOST_POSTINGS));
        newest.map(|(stored, key)| (*key, *stored)).collect()
    }

    fn insert(&mut self, entries: &Shelves, entry: Arc<Entry>, now: Moment) -> bool {
        self.remove(entries, entry.key);
        self.sweep(entries, now);
        if entry.bytes() > self.limits.max_bytes || entry.is_expired(now) {
            return false;
        }
        let (used, stored) = (entries.tick(), entries.tick());
        self.occupancy.bytes += entry.bytes();
        self.occupancy.entries += 1;
        self.order.insert(used, entry.key);
        if let Some(expires) = entry.expires {
            self.expiries.insert((expires, entry.key));
        }
        for place in places(&entry) {
            self.postings
                .entry(place)
                .or_default()
                .insert(stored, entry.key);
        }
        entries.insert(Held {
            entry,
            used: AtomicU64::new(used),
            place: AtomicU64::new(used),
            stored,
        });
        self.make_room(entries);
        true
    }

    fn sweep(&mut self, entries: &Shelves, now: Moment) {
        for _ in 0..SWEEP {
            match self.expiries.first() {
                Some((expires, key)) if *expires <= now => {
                    let key = *key;
                    self.remove(entries, key);
                    self.occupancy.expired += 1;
                }
                _ => return,
            }
        }
    }

    fn make_room(&mut self, entries: &Shelves) {
        while self.occupancy.bytes > self.limits.max_bytes
            || self
                .limits
                .max_entries
                .is_some_and(|most| self.occupancy.entries > most)
        {
            let Some(key) = self.oldest(entries) else {
                return;
            };
            self.remove(entries, key);
            self.occupancy.evicted += 1;
        }
    }

    /// The entry that goes next. Look-ups leave the order alone, which would make them wait: one that
    /// was used since its place was noted moves to where it belongs when it comes up here. No place
    /// is later than the last use, so the first whose place is true is the least recently used.
    fn oldest(&mut self, entries: &Shelves) -> Option<Key> {
        loop {
            let (place, key) = self.order.first_key_value()?;
            let (place, key) = (*place, *key);
            let held = entries.get(key)?;
            let used = held.used.load(Ordering::Relaxed);
            if used == place || self.limits.eviction == Eviction::Fifo {
                return Some(key);
            }
            self.order.remove(&place);
            self.order.insert(used, key);
            held.place.store(used, Ordering::Relaxed);
        }
    }

    fn remove(&mut self, entries: &Shelves, key: Key) {
        let Some(held) = entries.remove(key) else {
            return;
        };
        let entry = &held.entry;
        self.order.remove(&held.place.load(Ordering::Relaxed));
        if let Some(expires) = entry.expires {
            self.expiries.remove(&(expires, key));
        }
        for place in places(entry) {
            if let Some(postings) = self.postings.get_mut(&place) {
                postings.remove(&held.stored);
                if postings.is_empty() {
                    self.postings.remove(&place);
                }
            }
        }
        self.occupancy.entries -= 1;
        self.occupancy.bytes -= entry.bytes();
    }
}

/// Keys by how many of some lists they are in, and then by the number beside them; the greatest
/// first.
pub(super) fn most_shared<T: IntoIterator<Item = (Key, u64)>>(
    lists: impl IntoIterator<Item = T>,
) -> Vec<Key> {
    let mut shared: HashMap<Key, (usize, u64)> = HashMap::new();
    for (key, time) in lists.into_iter().flatten() {
        shared.entry(key).or_insert((0, time)).0 += 1;
    }
    let mut best: Vec<(Key, (usize, u64))> = shared.into_iter().collect();
    best.sort_unstable_by_key(|(_, likely)| std::cmp::Reverse(*likely));
    best.into_iter().map(|(key, _)| key).collect()
}

/// Where an entry is in the postings.
fn places(entry: &Entry) -> Vec<(Key, u64)> {
    let place = |asked: &Asked| asked.terms.iter().map(|term| (asked.rest, *term)).collect();
    entry.question.as_ref().map(place).unwrap_or_default()
}

#[cfg(test)]
mod tests;
