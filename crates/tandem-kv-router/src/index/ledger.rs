//! What one worker holds, by the hashes that its engine uses.
//!
//! Whoever applies a worker's events has its ledger to itself; matches never look at it.

use std::cmp::Reverse;

use rustc_hash::{FxHashMap, FxHashSet};
use tandem_protocol::kv::{SequenceHash, StoredBlock};

use super::age::PathAges;
use super::index32;
use super::run::{Fork, Span};
use super::shard::{Held, Writer};
use super::table::PlaceTable;
use super::tier::Tier;
use super::tree::{Place, ROOT, Tree};

/// Share of its cap that a worker stores per epoch, and that is forgotten at once beyond the cap.
const SHARE_OF_CAP: usize = 8;

/// The blocks of one worker.
#[derive(Debug)]
pub(super) struct Ledger {
    slot: u32,
    places: [PlaceTable; Tier::ALL.len()],
    /// Extra engine hashes for one place; nearly always empty.
    aliases: FxHashMap<(Tier, Place), u32>,
    /// A coarse clock that counts stored blocks.
    epoch: u32,
    stored_this_epoch: usize,
    /// Set when the worker is forgotten: whoever still has the ledger must look for a new one.
    pub(super) closed: bool,
}

/// A block that a worker stored after one that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownParent(pub(super) SequenceHash);

impl Ledger {
    /// No blocks. No other ledger has the same slot.
    pub(super) fn new(slot: u32) -> Self {
        Self {
            slot,
            places: Tier::ALL.map(|_| PlaceTable::new()),
            aliases: FxHashMap::default(),
            epoch: 0,
            stored_this_epoch: 0,
            closed: false,
        }
    }

    /// Blocks over all tiers.
    pub(super) fn len(&self) -> usize {
        self.places.iter().map(PlaceTable::len).sum()
    }

    /// Holds `blocks` after `parent`.
    pub(super) fn store(
        &mut self,
        tree: &Tree,
        tier: Tier,
        parent: Option<SequenceHash>,
        blocks: &[StoredBlock],
    ) -> Result<(), UnknownParent> {
        let mut at = match parent {
            None => ROOT,
            Some(parent) => self
                .place(tier, parent)
                .ok_or(UnknownParent(parent))?
                .next(),
        };
        let writer = Writer {
            slot: self.slot,
            epoch: self.epoch,
            tier,
        };
        let mut rest = blocks;
        let mut displaced = Vec::new();
        while !rest.is_empty() {
            let held = tree.hold(at, rest, writer);
            at = Fork {
                run: held.start.run,
                offset: held.start.offset + index32(held.count),
            };
            let (here, after) = rest.split_at(held.count);
            self.enter(tier, &held, here, &mut displaced);
            rest = after;
        }
        self.release(tree, tier, displaced);
        self.stored_this_epoch += blocks.len();
        Ok(())
    }

    /// Ends the hold on blocks; returns how many of them are unknown.
    pub(super) fn remove(&mut self, tree: &Tree, tier: Tier, blocks: &[SequenceHash]) -> usize {
        let mut places = Vec::new();
        let unknown = self.places[tier as usize].remove(blocks, &mut places);
        self.release(tree, tier, places);
        unknown
    }

    /// Ends the hold on everything.
    pub(super) fn clear(&mut self, tree: &Tree) {
        for tier in Tier::ALL {
            let table = std::mem::replace(&mut self.places[tier as usize], PlaceTable::new());
            let mut places: Vec<_> = table.iter().map(|(_, place)| place).collect();
            places.sort_unstable_by_key(|place| (place.run, Reverse(place.position)));
            let mut spans = Vec::new();
            for place in places {
                Span::add(&mut spans, place);
            }
            self.release(tree, tier, spans);
        }
    }

    /// Forgets blocks that no match can reach because nobody holds a block before them.
    pub(super) fn sweep(&mut self, tree: &Tree) {
        let reachable = tree.reachable_prefixes(self.runs().into_iter());
        for tier in Tier::ALL {
            let lost = self.places[tier as usize].iter();
            let lost = lost.filter(|(_, place)| place.position >= reachable[&place.run]);
            let lost: Vec<_> = lost.map(|(hash, _)| hash).collect();
            self.remove(tree, tier, &lost);
        }
    }

    /// Forgets the blocks of a tier that exceed `cap`, with some more so that this is rare; returns
    /// how many.
    ///
    /// Those go first that are on the paths where nothing was stored for longest, the end of a path
    /// before its start, because what follows a forgotten block is of no use.
    pub(super) fn keep_within(&mut self, tree: &Tree, tier: Tier, cap: usize) -> usize {
        if self.stored_this_epoch > cap / SHARE_OF_CAP {
            self.epoch = self.epoch.wrapping_add(1);
            self.stored_this_epoch = 0;
        }
        let held = self.places[tier as usize].len();
        if held <= cap {
            return 0;
        }
        let excess = held - (cap - cap / SHARE_OF_CAP);
        let ages = PathAges::new(tree, self.slot, self.epoch, self.runs().into_iter());
        let places = self.places[tier as usize].iter();
        let mut by_age: Vec<_> = places
            .map(|(hash, place)| {
                let (age, depth) = ages.of(place);
                (Reverse(age), Reverse((depth, place.position)), hash)
            })
            .collect();
        by_age.select_nth_unstable(excess - 1);
        let oldest: Vec<_> = by_age[..excess].iter().map(|entry| entry.2).collect();
        self.remove(tree, tier, &oldest);
        excess
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.places.iter().map(PlaceTable::heap_bytes).sum()
    }

    fn place(&self, tier: Tier, block: SequenceHash) -> Option<Place> {
        let others = Tier::ALL.into_iter().filter(|&other| other != tier);
        let mut tiers = std::iter::once(tier).chain(others);
        tiers.find_map(|tier| self.places[tier as usize].get(block))
    }

    fn runs(&self) -> FxHashSet<u32> {
        let places = self.places.iter().flat_map(PlaceTable::iter);
        places.map(|(_, place)| place.run).collect()
    }

    /// Notes the places of blocks that the tree holds for this worker.
    fn enter(
        &mut self,
        tier: Tier,
        held: &Held,
        blocks: &[StoredBlock],
        displaced: &mut Vec<Span>,
    ) {
        let table = &mut self.places[tier as usize];
        let start = Place {
            run: held.start.run,
            position: held.start.offset,
        };
        if held.before.is_empty() {
            // So nothing that these blocks are called by leads here.
            table.insert_path(blocks, start, displaced);
            return;
        }
        table.reserve(blocks.len());
        for (block, position) in blocks.iter().zip(start.position..) {
            let place = Place { position, ..start };
            let previous = table.insert(block.block_hash, place);
            if previous == Some(place) {
                continue;
            }
            if held.before.contains(&position) {
                *self.aliases.entry((tier, place)).or_default() += 1;
            }
            if let Some(previous) = previous {
                Span::add(displaced, previous);
            }
        }
    }

    /// Undoes one engine hash's hold on each place of `spans`.
    fn release(&mut self, tree: &Tree, tier: Tier, mut spans: Vec<Span>) {
        if !self.aliases.is_empty() {
            let places: Vec<_> = spans.drain(..).flat_map(Span::places).collect();
            for place in places {
                if !self.release_alias(tier, place) {
                    Span::add(&mut spans, place);
                }
            }
        }
        for of_run in spans.chunk_by(|one, next| one.run == next.run) {
            tree.release(of_run[0].run, (self.slot, tier), of_run);
        }
    }

    /// False if the place has no other engine hash.
    fn release_alias(&mut self, tier: Tier, place: Place) -> bool {
        let Some(extra) = self.aliases.get_mut(&(tier, place)) else {
            return false;
        };
        *extra -= 1;
        if *extra == 0 {
            self.aliases.remove(&(tier, place));
        }
        true
    }
}
