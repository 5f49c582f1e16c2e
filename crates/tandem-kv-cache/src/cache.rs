//! A block pool with its subscribers: what became reusable is told in order, to all, at once.
//!
//! What slower tiers hold is told here as well, because all events of a worker are one sequence of
//! numbers, and a snapshot has to hold what they add up to.

use std::collections::VecDeque;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tandem_protocol::kv::{KvEventData, SequenceHash, StorageTier, TierEvent};
use tokio::sync::broadcast;

use crate::block::BlockIdentity;
use crate::pool::{BlockPool, PoolUsage, append_stored, parents_first};

/// Events that a subscriber may fall behind before it has to start over from a snapshot.
const FEED_CAPACITY: usize = 4096;

/// A [`BlockPool`] that several threads share, with a feed of its events.
///
/// The lock is held for bookkeeping only, never while numbers are computed or moved.
#[derive(Debug)]
pub struct BlockCache {
    state: Mutex<State>,
    feed: broadcast::Sender<TierEvent>,
}

#[derive(Debug)]
struct State {
    pool: BlockPool,
    /// What is in slower tiers, for those who subscribe later.
    lower: FxHashMap<StorageTier, FxHashMap<SequenceHash, BlockIdentity>>,
}

impl BlockCache {
    /// A cache of `blocks` free blocks.
    pub fn new(blocks: usize) -> Self {
        Self {
            state: Mutex::new(State {
                pool: BlockPool::new(blocks),
                lower: FxHashMap::default(),
            }),
            feed: broadcast::Sender::new(FEED_CAPACITY),
        }
    }

    /// Runs `change` on the pool and publishes the events that it caused.
    pub fn update<R>(&self, change: impl FnOnce(&mut BlockPool) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state.pool);
        let mut cleared = false;
        for event in state.pool.take_events() {
            cleared |= event.data == KvEventData::Cleared;
            let storage_tier = StorageTier::Device;
            self.send(TierEvent {
                storage_tier,
                event,
            });
        }
        if cleared {
            // Subscribers forgot all tiers.
            for (storage_tier, data) in state.lower_tiers() {
                let event = state.pool.number(data);
                self.send(TierEvent {
                    storage_tier,
                    event,
                });
            }
        }
        result
    }

    /// Publishes that `tier`, which is not the device, now holds `blocks`, parents before children.
    pub fn note_stored(&self, tier: StorageTier, blocks: &[BlockIdentity]) {
        let mut state = self.state.lock();
        let mut runs = Vec::new();
        for &block in blocks {
            let held = state.lower.entry(tier).or_default();
            if held.insert(block.sequence, block).is_none() {
                append_stored(&mut runs, block);
            }
        }
        self.publish(&mut state, tier, runs);
    }

    /// Publishes that `tier`, which is not the device, holds `blocks` no more.
    pub fn note_removed(&self, tier: StorageTier, blocks: &[SequenceHash]) {
        let mut state = self.state.lock();
        let held = state.lower.entry(tier).or_default();
        let known = blocks.iter().filter(|block| held.remove(block).is_some());
        let block_hashes: Vec<_> = known.copied().collect();
        if !block_hashes.is_empty() {
            let change = KvEventData::Removed { block_hashes };
            self.publish(&mut state, tier, vec![change]);
        }
    }

    fn publish(&self, state: &mut State, storage_tier: StorageTier, changes: Vec<KvEventData>) {
        for data in changes {
            let event = state.pool.number(data);
            self.send(TierEvent {
                storage_tier,
                event,
            });
        }
    }

    fn send(&self, event: TierEvent) {
        // Nobody listening is fine: the next subscriber starts from a snapshot.
        self.feed.send(event).ok();
    }

    /// How full the pool is.
    pub fn usage(&self) -> PoolUsage {
        self.state.lock().pool.usage()
    }

    /// Everything that is stored now, then every change.
    pub fn subscribe(&self) -> KvEventSubscription {
        let state = self.state.lock();
        let device = state.pool.snapshot().into_iter().map(|event| TierEvent {
            storage_tier: StorageTier::Device,
            event,
        });
        let lower = state.lower_tiers();
        let lower = lower.into_iter().map(|(storage_tier, data)| TierEvent {
            storage_tier,
            event: state.pool.numbered_like_last(data),
        });
        KvEventSubscription {
            snapshot: device.chain(lower).collect(),
            live: self.feed.subscribe(),
        }
    }
}

impl State {
    /// What is in slower tiers, faster ones first: parents may be there.
    fn lower_tiers(&self) -> Vec<(StorageTier, KvEventData)> {
        let mut tiers: Vec<_> = self.lower.iter().collect();
        tiers.sort_unstable_by_key(|(tier, _)| **tier);
        let mut changes = Vec::new();
        for (&tier, blocks) in tiers {
            let runs = parents_first(blocks.values().copied().collect());
            changes.extend(runs.into_iter().map(|data| (tier, data)));
        }
        changes
    }
}

/// KV events of one worker: first a snapshot (`Cleared`, then what is stored), then live.
#[derive(Debug)]
pub struct KvEventSubscription {
    snapshot: VecDeque<TierEvent>,
    live: broadcast::Receiver<TierEvent>,
}

/// The subscriber was too slow and missed events: subscribe again, which starts with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("kv event subscriber missed {missed} events")]
pub struct Lagged {
    /// How many.
    pub missed: u64,
}

impl KvEventSubscription {
    /// `snapshot`, then what is sent to `live`.
    pub fn new(snapshot: Vec<TierEvent>, live: broadcast::Receiver<TierEvent>) -> Self {
        Self {
            snapshot: snapshot.into(),
            live,
        }
    }

    /// A subscription that never yields anything, for engines without KV events.
    pub fn silent() -> Self {
        Self {
            snapshot: VecDeque::new(),
            live: broadcast::Sender::new(1).subscribe(),
        }
    }

    /// What is left of the snapshot: all of it, right after subscribing.
    pub fn take_snapshot(&mut self) -> Vec<TierEvent> {
        std::mem::take(&mut self.snapshot).into()
    }

    /// The next event; `None` once the engine is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<TierEvent, Lagged>> {
        if let Some(event) = self.snapshot.pop_front() {
            return Some(Ok(event));
        }
        match self.live.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Closed) => None,
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(Lagged { missed })),
        }
    }
}

#[cfg(test)]
mod tests {
    use tandem_protocol::kv::{BlockHash, KvEvent};

    use super::*;
    use crate::block::BlockIdentity;

    fn store(cache: &BlockCache, token: u64) {
        cache.update(|pool| {
            let block = pool.allocate(1).unwrap()[0];
            pool.commit(block, BlockIdentity::after(None, BlockHash(token)));
            pool.release(block);
        });
    }

    #[tokio::test]
    async fn a_late_subscriber_sees_the_snapshot_then_the_rest() {
        let cache = BlockCache::new(4);
        store(&cache, 1);
        let mut events = cache.subscribe();
        store(&cache, 2);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let KvEvent { event_id, data, .. } = events.next().await.unwrap().unwrap().event;
            seen.push((event_id, data));
        }
        assert_eq!(seen[0], (1, KvEventData::Cleared));
        assert!(
            matches!(&seen[1], (1, KvEventData::Stored(run)) if run.blocks[0].block_hash.0 == 1)
        );
        assert!(
            matches!(&seen[2], (2, KvEventData::Stored(run)) if run.blocks[0].block_hash.0 == 2)
        );
        drop(cache);
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn live_events_follow_a_snapshot_that_was_taken() {
        let cache = BlockCache::new(4);
        store(&cache, 1);
        let mut events = cache.subscribe();
        store(&cache, 2);
        let snapshot = events.take_snapshot();
        assert_eq!(snapshot.len(), 2);
        assert!(snapshot.iter().all(|change| change.event.event_id == 1));
        assert_eq!(events.next().await.unwrap().unwrap().event.event_id, 2);
    }

    /// What a subscriber that applies `events` knows, by tier.
    fn known(events: &[TierEvent]) -> Vec<(StorageTier, SequenceHash)> {
        let mut known = Vec::new();
        for TierEvent {
            storage_tier,
            event,
        } in events
        {
            match &event.data {
                KvEventData::Cleared => known.clear(),
                KvEventData::Stored(run) => {
                    known.extend(
                        run.blocks
                            .iter()
                            .map(|block| (*storage_tier, block.block_hash)),
                    );
                }
                KvEventData::Removed { block_hashes } => {
                    known.retain(|(tier, hash)| {
                        tier != storage_tier || !block_hashes.contains(hash)
                    });
                }
            }
        }
        known.sort_unstable();
        known
    }

    #[tokio::test]
    async fn tiers_share_one_sequence_of_numbers_and_survive_a_clear() {
        let cache = BlockCache::new(4);
        let first = BlockIdentity::after(None, BlockHash(7));
        let second = BlockIdentity::after(Some(first.sequence), BlockHash(8));
        let mut events = cache.subscribe();
        let mut told = events.take_snapshot();
        store(&cache, 1);
        cache.note_stored(StorageTier::HostPinned, &[first, second]);
        cache.note_stored(StorageTier::HostPinned, &[second]);
        cache.note_stored(StorageTier::Disk, &[second]);
        cache.note_removed(StorageTier::HostPinned, &[second.sequence]);
        cache.note_removed(StorageTier::HostPinned, &[second.sequence]);
        cache.update(BlockPool::clear);
        store(&cache, 2);
        let late = cache.subscribe().take_snapshot();
        drop(cache);
        while let Some(event) = events.next().await {
            told.push(event.unwrap());
        }
        let numbers: Vec<_> = told.iter().map(|change| change.event.event_id).collect();
        assert_eq!(numbers, (0..=8).collect::<Vec<_>>());
        let expect = [
            (StorageTier::Device, SequenceHash(2)),
            (StorageTier::HostPinned, first.sequence),
            (StorageTier::Disk, second.sequence),
        ];
        assert_eq!(known(&told), expect);
        assert_eq!(known(&late), expect);
        assert!(late.iter().all(|change| change.event.event_id == 8));
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told() {
        let cache = BlockCache::new(1);
        let mut events = cache.subscribe();
        assert_eq!(
            events.next().await.unwrap().unwrap().event.data,
            KvEventData::Cleared
        );
        for token in 0..=FEED_CAPACITY as u64 {
            store(&cache, token);
        }
        assert!(events.next().await.unwrap().is_err());
    }
}
