use std::collections::HashMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::super::testing::stored;
use super::*;
use crate::config::CacheLimits;

/// What a store does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Answers,
    Fails,
    Hangs,
    Lies,
}

/// A store in memory whose mood changes.
#[derive(Debug)]
struct Store {
    mood: Mutex<Mood>,
    entries: Mutex<HashMap<Key, Entry>>,
    dropped: Mutex<Vec<Invalidation>>,
}

#[derive(Debug, Clone)]
struct Shared(Arc<Store>);

impl Shared {
    fn new() -> Self {
        Self(Arc::new(Store {
            mood: Mutex::new(Mood::Answers),
            entries: Mutex::default(),
            dropped: Mutex::default(),
        }))
    }

    fn feels(&self, mood: Mood) {
        *self.0.mood.lock() = mood;
    }

    fn answer<T: Send + 'static>(&self, answer: T) -> BoxFuture<'_, Result<T, BackendError>> {
        let mood = *self.0.mood.lock();
        async move {
            match mood {
                Mood::Answers | Mood::Lies => Ok(answer),
                Mood::Fails => Err(BackendError::Unavailable("gone".to_owned())),
                Mood::Hangs => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn answers(&self) -> bool {
        *self.0.mood.lock() == Mood::Answers
    }
}

impl Backend for Shared {
    fn name(&self) -> &'static str {
        "shared"
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.answer(())
    }

    fn get(&self, key: Key) -> BoxFuture<'_, Result<Option<Entry>, BackendError>> {
        let entries = self.0.entries.lock();
        let found = match *self.0.mood.lock() {
            Mood::Lies => entries.values().next().cloned(),
            _ => entries.get(&key).cloned(),
        };
        self.answer(found)
    }

    fn candidates<'a>(
        &'a self,
        _: &'a Asked,
        _: Moment,
    ) -> BoxFuture<'a, Result<Vec<Candidate>, BackendError>> {
        let entries = self.0.entries.lock();
        let candidates = entries.values().filter_map(|entry| {
            let asked = entry.question.clone()?;
            let key = entry.key;
            Some(Candidate { key, asked })
        });
        self.answer(candidates.collect())
    }

    fn put<'a>(&'a self, entry: &'a Entry, _: Moment) -> BoxFuture<'a, Result<(), BackendError>> {
        if self.answers() {
            self.0.entries.lock().insert(entry.key, entry.clone());
        }
        self.answer(())
    }

    fn invalidate<'a>(
        &'a self,
        invalidation: &'a Invalidation,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        if self.answers() {
            let mut entries = self.0.entries.lock();
            entries.retain(|_, entry| !invalidation.drops(entry));
            self.0.dropped.lock().push(invalidation.clone());
        }
        self.answer(())
    }

    fn invalidations(
        &self,
        since: Moment,
    ) -> BoxFuture<'_, Result<Vec<Invalidation>, BackendError>> {
        let dropped = self.0.dropped.lock();
        let news = dropped.iter().filter(|one| one.until >= since);
        self.answer(news.cloned().collect())
    }
}

const DEADLINE: Duration = Duration::from_millis(30);

/// A process that shares a store.
struct Process {
    remote: Arc<Remote>,
    memory: Arc<MemoryStore>,
    _work: JoinSet<()>,
}

impl Process {
    fn start(store: &Shared) -> Self {
        let remote = Arc::new(Remote::new(Box::new(store.clone()), DEADLINE));
        let memory = Arc::new(MemoryStore::new(CacheLimits::default()));
        let (own, held) = (Arc::clone(&remote), Arc::clone(&memory));
        let mut work = JoinSet::new();
        work.spawn(async move { own.work(&held).await });
        Self {
            remote,
            memory,
            _work: work,
        }
    }

    /// Lets the background task have its turns.
    async fn ticks() {
        tokio::time::sleep(TICK * 3).await;
    }

    async fn get(&self, key: Key) -> Option<Arc<Entry>> {
        let now = fresh().stored;
        self.remote.get(key, now, self.remote.deadline()).await
    }

    fn count(&self, operation: &str, status: &str) -> u64 {
        let read = self.remote.statistics().operations;
        let mut operations = read.iter().filter(|one| one.operation == operation);
        let counts = &operations.next().unwrap().by_status;
        counts.iter().find(|one| one.0 == status).unwrap().1
    }
}

fn fresh() -> Entry {
    stored("What is the capital of Peru?")
}

#[tokio::test(start_paused = true)]
async fn what_one_process_writes_another_finds() {
    let store = Shared::new();
    let (one, other) = (Process::start(&store), Process::start(&store));
    Process::ticks().await;
    let entry = fresh();
    one.remote.put(Arc::new(entry.clone()));
    Process::ticks().await;
    assert_eq!(other.get(entry.key).await.as_deref(), Some(&entry));
    assert_eq!(other.get(Key::of(&[b"another"])).await, None);
    let asked = entry.question.unwrap();
    let until = other.remote.deadline();
    let found = other.remote.candidates(&asked, entry.stored, until).await;
    assert_eq!(found.len(), 1);
    assert_eq!(one.count("add_entry", "success"), 1);
    assert_eq!(other.count("get_by_id", "hit"), 1);
    assert_eq!(other.count("get_by_id", "miss"), 1);
    assert_eq!(other.count("find_similar", "hit"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_another_name_or_of_other_surroundings_is_not_believed() {
    let store = Shared::new();
    let process = Process::start(&store);
    Process::ticks().await;
    let entry = fresh();
    process.remote.put(Arc::new(entry.clone()));
    Process::ticks().await;
    store.feels(Mood::Lies);
    assert_eq!(process.get(Key::of(&[b"another"])).await, None);
    let until = process.remote.deadline();
    for (rest, dimensions, want) in [(b"rest", 2, 1), (b"left", 2, 0), (b"rest", 3, 0)] {
        let asked = Asked {
            rest: Key::of(&[rest]),
            embedding: vec![0.5; dimensions].into(),
            ..entry.question.clone().unwrap()
        };
        let found = process.remote.candidates(&asked, entry.stored, until).await;
        assert_eq!(found.len(), want, "{rest:?} {dimensions}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_the_deadline_a_few_times_and_then_nothing() {
    let store = Shared::new();
    let process = Process::start(&store);
    Process::ticks().await;
    store.feels(Mood::Hangs);
    let key = fresh().key;
    let waits = async |requests: u32| {
        let begun = Instant::now();
        for _ in 0..requests {
            assert_eq!(process.get(key).await, None);
        }
        begun.elapsed()
    };
    assert_eq!(waits(5).await, 5 * DEADLINE);
    assert_eq!(waits(100).await, Duration::ZERO);
    assert_eq!(process.count("get_by_id", "timeout"), 5);
    assert_eq!(process.count("get_by_id", "circuit_open"), 100);
    process.remote.put(Arc::new(fresh()));
    assert_eq!(process.count("add_entry", "circuit_open"), 1);
    // Nobody waits for a trial.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(waits(100).await, Duration::ZERO);
    store.feels(Mood::Answers);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(process.remote.statistics().available);
}

#[tokio::test(start_paused = true)]
async fn a_store_is_not_asked_before_it_has_answered() {
    let store = Shared::new();
    store.feels(Mood::Hangs);
    let process = Process::start(&store);
    let begun = Instant::now();
    assert_eq!(process.get(fresh().key).await, None);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(process.count("get_by_id", "circuit_open"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_one_process_drops_all_drop() {
    let store = Shared::new();
    let (one, other) = (Process::start(&store), Process::start(&store));
    Process::ticks().await;
    let entry = Arc::new(fresh());
    other.memory.insert(Arc::clone(&entry), entry.stored);
    one.remote.put(Arc::clone(&entry));
    Process::ticks().await;
    let model = Selector::Model(entry.model.clone());
    one.remote.invalidate(&model).await.unwrap();
    Process::ticks().await;
    assert!(other.memory.get(entry.key, entry.stored).is_none());
    // Written by somebody who had not heard of it.
    store.0.entries.lock().insert(entry.key, (*entry).clone());
    assert_eq!(other.get(entry.key).await, None);
    assert_eq!(one.get(entry.key).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_store_could_not_be_told_is_not_served_and_told_later() {
    let store = Shared::new();
    let process = Process::start(&store);
    Process::ticks().await;
    let entry = fresh();
    process.remote.put(Arc::new(entry.clone()));
    Process::ticks().await;
    store.feels(Mood::Fails);
    let told = process.remote.invalidate(&Selector::All).await;
    assert_eq!(told, Err(BackendError::Unavailable("gone".to_owned())));
    store.feels(Mood::Lies);
    assert_eq!(process.get(entry.key).await, None);
    assert!(!store.0.entries.lock().is_empty());
    store.feels(Mood::Answers);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(store.0.entries.lock().is_empty());
    assert_eq!(store.0.dropped.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_heard_nothing_for_too_long_begins_anew() {
    let store = Shared::new();
    let process = Process::start(&store);
    Process::ticks().await;
    let entry = Arc::new(fresh());
    process.memory.insert(Arc::clone(&entry), entry.stored);
    let long_ago = entry.stored.before(REMEMBERED * 2);
    process.remote.told.store(long_ago.0, Ordering::Relaxed);
    Process::ticks().await;
    assert!(process.memory.get(entry.key, entry.stored).is_none());
}
