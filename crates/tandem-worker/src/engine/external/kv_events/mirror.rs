//! What an engine outside this process has cached, by its own word.
//!
//! Engines say one hash for each copy of a block that they make and drop, so copies are counted.
//! Their hashes name blocks and say nothing to a router, which needs hashes that it can compute from
//! a prompt: those are made here, of the tokens in the events.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tandem_kv_cache::KvEventSubscription;
use tandem_protocol::kv::{
    BlockHash, HashScope, KvEvent, KvEventData, SequenceHash, StorageTier, StoredBlock,
    StoredBlocks, TierEvent, hash_blocks,
};
use tokio::sync::broadcast;
use tracing::warn;

use super::wire::{BlockKey, Change, Place, Stored};

/// Events that a subscriber may fall behind before it has to start over from a snapshot.
const FEED_CAPACITY: usize = 4096;

/// The blocks of an engine, of all its data-parallel ranks.
#[derive(Debug)]
pub(in crate::engine::external) struct BlockMirror {
    block_size: usize,
    state: Mutex<State>,
    feed: broadcast::Sender<TierEvent>,
}

#[derive(Debug)]
struct State {
    ranks: Vec<Rank>,
    /// Number of the last event.
    last_event: u64,
    warned: bool,
}

/// What one rank has.
#[derive(Debug, Default)]
struct Rank {
    blocks: Blocks,
    /// Blocks on the device.
    on_device: usize,
}

type Blocks = FxHashMap<(StorageTier, u64), Block>;

/// A block that is there at least once.
#[derive(Debug)]
struct Block {
    /// Copies by group of layers.
    copies: Vec<(u32, u32)>,
    parent: Option<u64>,
    tokens: BlockHash,
    scope: Arc<Scope>,
}

/// What the hashes of a sequence depend on beside its tokens.
#[derive(Debug, Default)]
struct Scope {
    lora: Option<String>,
    salt: Option<String>,
}

impl Scope {
    fn hash(&self, tokens: &[u32]) -> Option<BlockHash> {
        let scope = HashScope {
            lora: self.lora.as_deref(),
            cache_salt: self.salt.as_deref(),
        };
        hash_blocks(tokens, tokens.len(), scope).first().copied()
    }
}

impl BlockMirror {
    /// Nothing is cached on any of `ranks` ranks.
    pub(in crate::engine::external) fn new(ranks: usize, block_size: usize) -> Self {
        Self {
            block_size,
            state: Mutex::new(State {
                ranks: (0..ranks).map(|_| Rank::default()).collect(),
                last_event: 0,
                warned: false,
            }),
            feed: broadcast::Sender::new(FEED_CAPACITY),
        }
    }

    /// Everything that is cached now, then every change.
    pub(in crate::engine::external) fn subscribe(&self) -> KvEventSubscription {
        let state = self.state.lock();
        KvEventSubscription::new(state.snapshot(), self.feed.subscribe())
    }

    /// Blocks on the device of a rank that can be reused.
    pub(in crate::engine::external) fn cached(&self, rank: u32) -> usize {
        let state = self.state.lock();
        let rank = state.ranks.get(rank as usize);
        rank.map_or(0, |rank| rank.on_device)
    }

    /// Notes what happened on `rank`.
    pub(super) fn apply(&self, rank: u32, changes: Vec<Change>) {
        let mut state = self.state.lock();
        for change in changes {
            let (tier, told) = match change {
                Change::Stored(stored) => {
                    (stored.place.tier, self.store(&mut state, rank, &stored))
                }
                Change::Removed { hashes, place } => {
                    (place.tier, state.remove(rank, &hashes, place))
                }
                Change::Cleared => (StorageTier::Device, state.clear(rank)),
            };
            self.publish(&mut state, rank, tier, told);
        }
    }

    /// Forgets what a rank has: it has begun anew, or nobody knows what it did.
    pub(in crate::engine::external) fn forget(&self, rank: u32) {
        self.apply(rank, vec![Change::Cleared]);
    }

    fn publish(
        &self,
        state: &mut State,
        rank: u32,
        storage_tier: StorageTier,
        told: Vec<KvEventData>,
    ) {
        for data in told {
            state.last_event += 1;
            let event = KvEvent {
                event_id: state.last_event,
                data,
                dp_rank: rank,
            };
            // Nobody listening is fine: the next subscriber starts from a snapshot.
            self.feed
                .send(TierEvent {
                    storage_tier,
                    event,
                })
                .ok();
        }
    }

    fn store(&self, state: &mut State, rank: u32, stored: &Stored) -> Vec<KvEventData> {
        if !stored.full_attention {
            return Vec::new();
        }
        if stored.block_size != self.block_size {
            if !std::mem::replace(&mut state.warned, true) {
                warn!(
                    published = stored.block_size,
                    expected = self.block_size,
                    "skipped KV events with another block size: give --block-size the engine's"
                );
            }
            return Vec::new();
        }
        let Some(Rank { blocks, on_device }) = state.ranks.get_mut(rank as usize) else {
            return Vec::new();
        };
        let Place { tier, group } = stored.place;
        let scope = match stored.parent {
            None => Arc::new(scope_of(stored)),
            // What a block holds whose beginning is not known cannot be said.
            Some(parent) => match anywhere(blocks, parent) {
                Some(parent) => Arc::clone(&parent.scope),
                None => return Vec::new(),
            },
        };
        let mut runs = Vec::new();
        let mut parent = stored.parent;
        let mut extends = false;
        let tokens = stored.tokens.chunks_exact(stored.block_size);
        for ((&hash, tokens), key) in stored.hashes.iter().zip(tokens).zip(&stored.keys) {
            let salted = matches!(key, BlockKey::Salt(_));
            if *key == BlockKey::Opaque || salted && parent.is_some() {
                // Neither it nor what follows can be found by tokens.
                break;
            }
            let Some(tokens) = scope.hash(tokens) else {
                break;
            };
            match blocks.entry((tier, hash)) {
                Entry::Occupied(mut known) => {
                    known.get_mut().add(group);
                    extends = false;
                }
                Entry::Vacant(new) => {
                    new.insert(Block {
                        copies: vec![(group, 1)],
                        parent,
                        tokens,
                        scope: Arc::clone(&scope),
                    });
                    let block = StoredBlock {
                        block_hash: SequenceHash(hash),
                        tokens_hash: tokens,
                    };
                    append(&mut runs, extends, parent, block);
                    extends = true;
                    *on_device += usize::from(tier == StorageTier::Device);
                }
            }
            parent = Some(hash);
        }
        runs.into_iter().map(KvEventData::Stored).collect()
    }
}

fn scope_of(stored: &Stored) -> Scope {
    Scope {
        lora: stored.lora.clone(),
        salt: match stored.keys.first() {
            Some(BlockKey::Salt(salt)) => Some(salt.clone()),
            _ => None,
        },
    }
}

fn append(runs: &mut Vec<StoredBlocks>, extends: bool, parent: Option<u64>, block: StoredBlock) {
    match runs.last_mut() {
        Some(run) if extends => run.blocks.push(block),
        _ => runs.push(StoredBlocks {
            parent_hash: parent.map(SequenceHash),
            blocks: vec![block],
        }),
    }
}

/// The tiers, from fast to slow.
const TIERS: [StorageTier; 4] = [
    StorageTier::Device,
    StorageTier::HostPinned,
    StorageTier::Disk,
    StorageTier::External,
];

/// A block in the fastest tier that has it.
fn anywhere(blocks: &Blocks, hash: u64) -> Option<&Block> {
    TIERS.iter().find_map(|tier| blocks.get(&(*tier, hash)))
}

impl Block {
    fn add(&mut self, group: u32) {
        match self.copies.iter_mut().find(|copies| copies.0 == group) {
            Some(copies) => copies.1 += 1,
            None => self.copies.push((group, 1)),
        }
    }

    /// Whether a copy is left after one of `group` has gone.
    fn drop_copy(&mut self, group: u32) -> bool {
        if let Some(copies) = self.copies.iter_mut().find(|copies| copies.0 == group) {
            copies.1 -= 1;
        }
        self.copies.retain(|copies| copies.1 > 0);
        !self.copies.is_empty()
    }
}

impl State {
    fn remove(&mut self, rank: u32, hashes: &[u64], place: Place) -> Vec<KvEventData> {
        let Some(Rank { blocks, on_device }) = self.ranks.get_mut(rank as usize) else {
            return Vec::new();
        };
        let mut gone = Vec::new();
        for &hash in hashes {
            if let Entry::Occupied(mut block) = blocks.entry((place.tier, hash))
                && !block.get_mut().drop_copy(place.group)
            {
                block.remove();
                gone.push(SequenceHash(hash));
            }
        }
        if gone.is_empty() {
            return Vec::new();
        }
        if place.tier == StorageTier::Device {
            *on_device -= gone.len();
        }
        vec![KvEventData::Removed { block_hashes: gone }]
    }

    /// Engines say twice that they have cleared a cache; once is enough.
    fn clear(&mut self, rank: u32) -> Vec<KvEventData> {
        let Some(rank) = self.ranks.get_mut(rank as usize) else {
            return Vec::new();
        };
        if rank.blocks.is_empty() {
            return Vec::new();
        }
        *rank = Rank::default();
        vec![KvEventData::Cleared]
    }

    /// `Cleared` for each rank, then what is stored, fast tiers before slow ones, and parents before
    /// children.
    fn snapshot(&self) -> Vec<TierEvent> {
        let mut events = Vec::new();
        let ranks = self.ranks.iter().zip(0..);
        let mut tell = |storage_tier, dp_rank, data| {
            let event = KvEvent {
                event_id: self.last_event,
                data,
                dp_rank,
            };
            events.push(TierEvent {
                storage_tier,
                event,
            });
        };
        for (_, rank) in ranks.clone() {
            tell(StorageTier::Device, rank, KvEventData::Cleared);
        }
        for (tier, (Rank { blocks, .. }, rank)) in TIERS
            .into_iter()
            .flat_map(|tier| ranks.clone().map(move |rank| (tier, rank)))
        {
            for run in runs(blocks, tier) {
                tell(tier, rank, KvEventData::Stored(run));
            }
        }
        events
    }
}

/// Everything in a tier in runs, parents before children. Blocks whose beginning is in no tier are
/// left out: nothing can be reused of them.
fn runs(blocks: &Blocks, tier: StorageTier) -> Vec<StoredBlocks> {
    let mut children: FxHashMap<Option<u64>, Vec<(u64, BlockHash)>> = FxHashMap::default();
    for ((_, hash), block) in blocks.iter().filter(|((held, _), _)| *held == tier) {
        let of = children.entry(block.parent).or_default();
        of.push((*hash, block.tokens));
    }
    // What follows a block of a faster tier begins here as well.
    let begins = |parent: &Option<u64>| {
        parent.is_none_or(|parent| {
            !blocks.contains_key(&(tier, parent)) && anywhere(blocks, parent).is_some()
        })
    };
    let mut open: Vec<Option<u64>> = children.keys().copied().filter(begins).collect();
    let mut runs = Vec::new();
    while let Some(parent) = open.pop() {
        for (mut hash, mut tokens) in children.remove(&parent).unwrap_or_default() {
            let mut run = StoredBlocks {
                parent_hash: parent.map(SequenceHash),
                blocks: Vec::new(),
            };
            loop {
                run.blocks.push(StoredBlock {
                    block_hash: SequenceHash(hash),
                    tokens_hash: tokens,
                });
                match children.get(&Some(hash)).map(Vec::as_slice) {
                    Some(&[only]) => {
                        children.remove(&Some(hash));
                        (hash, tokens) = only;
                    }
                    Some(_) => {
                        open.push(Some(hash));
                        break;
                    }
                    None => break,
                }
            }
            runs.push(run);
        }
    }
    runs
}

#[cfg(test)]
mod tests;
