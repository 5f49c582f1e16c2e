//! The indexes that are measured, behind one interface.

use std::cell::RefCell;
use std::thread;

use anyhow::Result;
use dynamo_kv_router::indexer::{SyncIndexer, ThreadPoolIndexer};
use dynamo_kv_router::protocols::{
    ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheRemoveData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash, OverlapScores, RouterEvent as DynamoEvent,
};
use dynamo_kv_router::{ConcurrentRadixTreeCompressed, RadixTree};
use tandem_kv_router::RadixIndex;
use tandem_protocol::kv::{BlockHash, KvEventData, RouterEvent, SequenceHash};
use tokio::runtime::{Builder, Runtime};

/// An index, with its own form of events and prompts.
pub trait Index: Sized {
    const NAME: &'static str;
    type Event: Clone + Send;
    type Prompt: Sync;

    /// An empty index that up to `threads` threads write to.
    fn new(threads: usize) -> Result<Self>;
    fn event(event: &RouterEvent) -> Self::Event;
    fn prompt(blocks: &[BlockHash]) -> Self::Prompt;
    /// Applies events, those of different lists at the same time, until matches see them. All
    /// events of a worker are in one list.
    fn apply(&self, lists: Vec<Vec<Self::Event>>) -> Result<()>;
    /// Workers that have some of the prompt, and how much the best one has.
    fn find(&self, prompt: &Self::Prompt) -> (usize, u32);
}

/// Ours.
pub struct Tandem(RadixIndex);

/// Dynamo's index of one thread, without the channel in front of it: the data structure alone.
pub struct DynamoRadix(RefCell<RadixTree>);

/// Dynamo's default index, with its threads.
pub struct DynamoConcurrent {
    index: ThreadPoolIndexer<ConcurrentRadixTreeCompressed>,
    runtime: Runtime,
}

impl Index for Tandem {
    const NAME: &'static str = "tandem";
    type Event = RouterEvent;
    type Prompt = Vec<BlockHash>;

    fn new(_: usize) -> Result<Self> {
        Ok(Self(RadixIndex::default()))
    }

    fn event(event: &RouterEvent) -> RouterEvent {
        event.clone()
    }

    fn prompt(blocks: &[BlockHash]) -> Vec<BlockHash> {
        blocks.to_vec()
    }

    fn apply(&self, mut lists: Vec<Vec<RouterEvent>>) -> Result<()> {
        let apply = |events: Vec<RouterEvent>| {
            for event in events {
                self.0.apply(&event)?;
            }
            Ok(())
        };
        if lists.len() == 1 {
            return apply(lists.remove(0));
        }
        thread::scope(|scope| {
            let threads = lists
                .into_iter()
                .map(|events| scope.spawn(move || apply(events)));
            let threads: Vec<_> = threads.collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("no panic"))
        })
    }

    fn find(&self, prompt: &Vec<BlockHash>) -> (usize, u32) {
        let overlaps = self.0.find_matches(prompt);
        let depths = overlaps.iter().map(|(_, overlap)| overlap.blocks());
        (overlaps.iter().count(), depths.max().unwrap_or(0))
    }
}

impl Index for DynamoRadix {
    const NAME: &'static str = "dynamo, one thread";
    type Event = DynamoEvent;
    type Prompt = Vec<LocalBlockHash>;

    fn new(_: usize) -> Result<Self> {
        Ok(Self(RefCell::new(RadixTree::new())))
    }

    fn event(event: &RouterEvent) -> DynamoEvent {
        dynamo_event(event)
    }

    fn prompt(blocks: &[BlockHash]) -> Vec<LocalBlockHash> {
        dynamo_prompt(blocks)
    }

    fn apply(&self, lists: Vec<Vec<DynamoEvent>>) -> Result<()> {
        let mut index = self.0.borrow_mut();
        for event in lists.into_iter().flatten() {
            index.apply_event(event)?;
        }
        Ok(())
    }

    fn find(&self, prompt: &Vec<LocalBlockHash>) -> (usize, u32) {
        // The clone is part of it: this is what the index asks of its callers.
        best(&self.0.borrow().find_matches(prompt.clone(), false))
    }
}

impl Index for DynamoConcurrent {
    const NAME: &'static str = "dynamo, concurrent";
    type Event = DynamoEvent;
    type Prompt = Vec<LocalBlockHash>;

    fn new(threads: usize) -> Result<Self> {
        // Tokens per block are of no account: everything is hashed already.
        let index = ThreadPoolIndexer::new(ConcurrentRadixTreeCompressed::new(), threads, 16);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { index, runtime })
    }

    fn event(event: &RouterEvent) -> DynamoEvent {
        dynamo_event(event)
    }

    fn prompt(blocks: &[BlockHash]) -> Vec<LocalBlockHash> {
        dynamo_prompt(blocks)
    }

    fn apply(&self, lists: Vec<Vec<DynamoEvent>>) -> Result<()> {
        for event in lists.into_iter().flatten() {
            self.index.enqueue_event(event)?;
        }
        self.runtime.block_on(self.index.flush_and_wait())?;
        Ok(())
    }

    fn find(&self, prompt: &Vec<LocalBlockHash>) -> (usize, u32) {
        best(&self.index.backend().find_matches(prompt, false))
    }
}

fn best(overlaps: &OverlapScores) -> (usize, u32) {
    let depths = overlaps.scores.values().copied();
    (overlaps.scores.len(), depths.max().unwrap_or(0))
}

fn dynamo_prompt(blocks: &[BlockHash]) -> Vec<LocalBlockHash> {
    blocks.iter().map(|block| LocalBlockHash(block.0)).collect()
}

fn dynamo_event(event: &RouterEvent) -> DynamoEvent {
    let hash = |hash: SequenceHash| ExternalSequenceBlockHash(hash.0);
    let data = match &event.event.data {
        KvEventData::Stored(stored) => {
            let blocks = stored.blocks.iter().map(|block| KvCacheStoredBlockData {
                block_hash: hash(block.block_hash),
                tokens_hash: LocalBlockHash(block.tokens_hash.0),
                mm_extra_info: None,
            });
            KvCacheEventData::Stored(KvCacheStoreData {
                parent_hash: stored.parent_hash.map(hash),
                start_position: None,
                blocks: blocks.collect(),
            })
        }
        KvEventData::Removed { block_hashes } => KvCacheEventData::Removed(KvCacheRemoveData {
            block_hashes: block_hashes.iter().copied().map(hash).collect(),
        }),
        KvEventData::Cleared => KvCacheEventData::Cleared,
    };
    let event_of = KvCacheEvent {
        event_id: event.event.event_id,
        data,
        dp_rank: event.event.dp_rank,
    };
    DynamoEvent::new(event.worker_id, event_of)
}
