//! What the tests of stores share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::codec::terms;
use super::entry::{Asked, Entry, Moment};
use super::key::Key;
use super::tests::{Asks, hit};
use super::{CacheControl, ResponseCache};
use crate::config::{CacheStore, StoreServer};

/// An answer to a question, stored at a fixed time for ten minutes.
pub(super) fn entry(question: &str) -> Entry {
    let stored = Moment(1_700_000_000_000);
    Entry {
        key: Key::of(&[b"request", question.as_bytes()]),
        question: Some(Asked {
            rest: Key::of(&[b"rest"]),
            text: question.to_owned(),
            embedding: [0.6, 0.8].into(),
            terms: terms(question),
        }),
        answer: Bytes::from_static(b"{\"choices\":[]}"),
        model: "m".to_owned(),
        decision: Some("geography".to_owned()),
        stored,
        expires: Some(Moment(stored.0 + 600_000)),
    }
}

/// The same, stored just now.
pub(super) fn stored(question: &str) -> Entry {
    let now = Moment::now();
    Entry {
        stored: now,
        expires: Some(now.after(Duration::from_secs(600))),
        ..entry(question)
    }
}

/// A process that shares a server with others.
pub(super) struct Process {
    pub(super) cache: Arc<ResponseCache>,
    _work: JoinSet<()>,
}

impl Process {
    pub(super) fn start(server: StoreServer) -> Self {
        let cache = Arc::<ResponseCache>::default();
        cache.connect(&CacheStore::Server(server));
        let mut work = JoinSet::new();
        work.spawn(Arc::clone(&cache).work());
        Self { cache, _work: work }
    }

    pub(super) fn is_available(&self) -> bool {
        self.cache.remote_statistics().unwrap().available
    }

    pub(super) async fn available(&self) {
        until("the store is used", || self.is_available()).await;
    }

    pub(super) fn count(&self, operation: &str, status: &str) -> u64 {
        let read = self.cache.remote_statistics().unwrap().operations;
        let mut operations = read.iter().filter(|one| one.operation == operation);
        let counts = &operations.next().unwrap().by_status;
        counts.iter().find(|one| one.0 == status).unwrap().1
    }

    /// Asks for what nobody has, from eight sides at once, for as long as `trouble` takes. How many
    /// requests that were, and how many of them waited for the deadline; none fails, and none
    /// waits longer than a busy machine explains.
    pub(super) async fn under_load(&self, trouble: impl Future<Output = ()>) -> (u32, u32) {
        let ended = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..8 {
            clients.spawn(ask_until(Arc::clone(&self.cache), Arc::clone(&ended)));
        }
        trouble.await;
        ended.store(true, Ordering::Relaxed);
        let asked = clients.join_all().await;
        let sum = |(requests, slow): (u32, u32), one: (u32, u32)| (requests + one.0, slow + one.1);
        asked.into_iter().fold((0, 0), sum)
    }
}

async fn ask_until(cache: Arc<ResponseCache>, ended: Arc<AtomicBool>) -> (u32, u32) {
    let deadline = CacheStore::DEFAULT_DEADLINE;
    let asks = Asks {
        control: CacheControl {
            no_store: true,
            ..CacheControl::default()
        },
        ..Asks::default()
    };
    let (mut requests, mut slow) = (0, 0);
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        assert_eq!(hit(&cache, &asks).await, None);
        let took = begun.elapsed();
        assert!(took < deadline + Duration::from_secs(2), "{took:?}");
        requests += 1;
        slow += u32::from(took >= deadline);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (requests, slow)
}

/// Waits for something that happens in the background.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
