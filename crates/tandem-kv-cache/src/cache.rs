//! A block pool with its subscribers: what became reusable is told in order, to all, at once.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tandem_protocol::kv::KvEvent;
use tokio::sync::broadcast;

use crate::pool::{BlockPool, PoolUsage};

/// Events that a subscriber may fall behind before it has to start over from a snapshot.
const FEED_CAPACITY: usize = 4096;

/// A [`BlockPool`] that several threads share, with a feed of its events.
///
/// The lock is held for bookkeeping only, never while numbers are computed or moved.
#[derive(Debug)]
pub struct BlockCache {
    pool: Mutex<BlockPool>,
    feed: broadcast::Sender<KvEvent>,
}

impl BlockCache {
    /// A cache of `blocks` free blocks.
    pub fn new(blocks: usize) -> Self {
        Self {
            pool: Mutex::new(BlockPool::new(blocks)),
            feed: broadcast::Sender::new(FEED_CAPACITY),
        }
    }

    /// Runs `change` on the pool and publishes the events that it caused.
    pub fn update<R>(&self, change: impl FnOnce(&mut BlockPool) -> R) -> R {
        let mut pool = self.pool.lock();
        let result = change(&mut pool);
        for event in pool.take_events() {
            // Nobody listening is fine: the next subscriber starts from a snapshot.
            self.feed.send(event).ok();
        }
        result
    }

    /// How full the pool is.
    pub fn usage(&self) -> PoolUsage {
        self.pool.lock().usage()
    }

    /// Everything that is stored now, then every change.
    pub fn subscribe(&self) -> KvEventSubscription {
        let pool = self.pool.lock();
        KvEventSubscription {
            snapshot: pool.snapshot().into(),
            live: self.feed.subscribe(),
        }
    }
}

/// KV events of one worker: first a snapshot (`Cleared`, then what is stored), then live.
#[derive(Debug)]
pub struct KvEventSubscription {
    snapshot: VecDeque<KvEvent>,
    live: broadcast::Receiver<KvEvent>,
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
    pub fn new(snapshot: Vec<KvEvent>, live: broadcast::Receiver<KvEvent>) -> Self {
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
    pub fn take_snapshot(&mut self) -> Vec<KvEvent> {
        std::mem::take(&mut self.snapshot).into()
    }

    /// The next event; `None` once the engine is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<KvEvent, Lagged>> {
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
    use tandem_protocol::kv::{BlockHash, KvEventData};

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
            let event = events.next().await.unwrap().unwrap();
            seen.push((event.event_id, event.data));
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
        assert!(snapshot.iter().all(|event| event.event_id == 1));
        assert_eq!(events.next().await.unwrap().unwrap().event_id, 2);
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told() {
        let cache = BlockCache::new(1);
        let mut events = cache.subscribe();
        assert_eq!(
            events.next().await.unwrap().unwrap().data,
            KvEventData::Cleared
        );
        for token in 0..=FEED_CAPACITY as u64 {
            store(&cache, token);
        }
        assert!(events.next().await.unwrap().is_err());
    }
}
