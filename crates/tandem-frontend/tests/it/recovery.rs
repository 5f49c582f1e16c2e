//! How a frontend learns what workers have cached when it did not see their events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tandem_protocol::kv::{
    HashScope, KvEvent, KvEventData, KvSnapshot, StoredBlock, StoredBlocks, hash_blocks,
    hash_sequence,
};
use tandem_runtime::request_plane::{Handler, Request};

use crate::stage::{Script, Stage};

/// Tells what is cached, after a while.
struct Teller {
    answer: Bytes,
    asked: Arc<Asked>,
}

#[derive(Default)]
struct Asked {
    total: AtomicUsize,
    now: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Teller {
    fn new(answer: impl Into<Bytes>) -> Self {
        Self {
            answer: answer.into(),
            asked: Arc::default(),
        }
    }
}

impl Handler for Teller {
    fn handle(&self, _request: Request) -> BoxStream<'static, Bytes> {
        let (answer, asked) = (self.answer.clone(), Arc::clone(&self.asked));
        asked.total.fetch_add(1, Ordering::SeqCst);
        let now = asked.now.fetch_add(1, Ordering::SeqCst) + 1;
        asked.most_at_once.fetch_max(now, Ordering::SeqCst);
        let answer = async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            asked.now.fetch_sub(1, Ordering::SeqCst);
            answer
        };
        stream::once(answer).boxed()
    }
}

/// What a worker sends that has these tokens cached.
fn snapshot_of(tokens: &[u32]) -> Vec<u8> {
    let blocks = hash_blocks(tokens, 16, HashScope::default());
    let named = std::iter::zip(hash_sequence(&blocks), blocks);
    let stored = named.map(|(block_hash, tokens_hash)| StoredBlock {
        block_hash,
        tokens_hash,
    });
    let stored = StoredBlocks {
        parent_hash: None,
        blocks: stored.collect(),
    };
    let events = [KvEventData::Cleared, KvEventData::Stored(stored)].map(|data| KvEvent {
        event_id: 7,
        data,
        dp_rank: 0,
    });
    let snapshot = KvSnapshot {
        events: events.to_vec(),
        ..KvSnapshot::default()
    };
    serde_json::to_vec(&snapshot).unwrap()
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn a_frontend_that_starts_asks_each_worker_once_and_few_at_a_time() {
    const WORKERS: usize = 24;
    let stage = Stage::new(&[]).await;
    let asked = Arc::new(Asked::default());
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let (actor, served, id) = stage.join_at(Script::Finish(vec![300]), None).await;
        let teller = Teller {
            asked: Arc::clone(&asked),
            ..Teller::new(snapshot_of(&[300; 80]))
        };
        let telling = stage.tell(id, Arc::new(teller)).await;
        workers.push((actor, served, telling));
    }
    stage.ready(WORKERS).await;
    let total = || asked.total.load(Ordering::SeqCst);
    until("not all workers are asked", async || total() == WORKERS).await;
    until("an answer is missing", async || {
        asked.now.load(Ordering::SeqCst) == 0
    })
    .await;

    // Another process of the same kind, started while all of them are there.
    asked.most_at_once.store(0, Ordering::SeqCst);
    let picker = stage.picker(&[]);
    until("not all workers are asked", async || total() == 2 * WORKERS).await;
    let at_once = asked.most_at_once.load(Ordering::SeqCst);
    assert!((2..=8).contains(&at_once), "{at_once} at once");
    // Time enough to ask again, if it were to.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(total(), 2 * WORKERS);
    drop(picker);

    stage.complete(vec![300; 80], 1).await;
    let estimates = workers.iter().flat_map(|(actor, ..)| actor.requests());
    let estimates: Vec<_> = estimates
        .map(|request| request.estimated_prefix_hit_num_blocks)
        .collect();
    assert_eq!(estimates, [Some(5)]);
}

#[tokio::test]
async fn events_are_applied_while_a_worker_cannot_tell_what_it_has() {
    let stage = Stage::new(&[]).await;
    let (actor, _served, id) = stage.join_at(Script::Finish(vec![300]), None).await;
    let teller = Teller::new("what?");
    let asked = Arc::clone(&teller.asked);
    let _telling = stage.tell(id, Arc::new(teller)).await;
    stage.ready(1).await;
    for first in 0..40 {
        stage.cached(id, &[300 + first; 32]).await;
    }
    until("the last event is not applied", async || {
        stage.complete(vec![339; 33], 1).await;
        let asked = actor.requests();
        asked.last().unwrap().estimated_prefix_hit_num_blocks == Some(2)
    })
    .await;
    let asked = asked.total.load(Ordering::SeqCst);
    assert!((1..=2).contains(&asked), "asked {asked} times");
}
