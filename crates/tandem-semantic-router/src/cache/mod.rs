//! Answers that were given before, for requests that ask the same.
//!
//! The same request, to the byte that matters, has the same answer. A request whose last question
//! asks for the same, everything around it being equal, has it too: its vector must be near, and
//! its words must agree ([`agreement`]).

mod agreement;
mod answer;
mod backend;
mod breaker;
mod codec;
mod control;
mod entry;
mod flight;
mod invalidation;
mod key;
mod lexicon;
mod memory;
mod milvus;
mod operations;
mod original;
mod question;
mod recording;
mod redis;
mod remote;
mod rephrase;
mod statistics;
mod tenant;
#[cfg(test)]
mod testing;
mod tokens;
mod words;
mod write_queue;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{CacheConfig, CacheMode, CachePolicy, CacheStore, StoreKind};
use crate::signal::cosine;
use agreement::agree;
use backend::Backend;
pub use control::CacheControl;
use entry::{Asked, Entry, Moment};
use flight::{Arrival, Boarding, Flight, Flights};
pub use invalidation::Selector;
pub use key::Key as CacheKey;
pub(crate) use key::{Keys, Partition};
use memory::MemoryStore;
use milvus::MilvusBackend;
pub use operations::OperationStatistics;
use question::Question;
pub use recording::Recording;
use recording::Subject;
use redis::RedisBackend;
use remote::Remote;
pub use remote::{InvalidateError, RemoteStatistics};
pub use statistics::CacheStatistics;
use statistics::Counters;
pub(crate) use tenant::tenant;

/// Most bytes of an answer that is stored.
const MAX_ANSWER: usize = 1 << 20;
/// Most bytes of all answers that are being recorded.
const MAX_RECORDING: usize = 64 << 20;
/// Longest wait for the answer to the same request.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Answers that were given before. Keep it when the configuration is read again: an answer is found
/// by everything that led to it, so what a new configuration changes is not found any more.
#[derive(Debug)]
pub struct ResponseCache {
    memory: MemoryStore,
    /// The store that processes share, if there is one.
    remote: watch::Sender<Option<Arc<Remote>>>,
    /// Which one that is.
    store: Mutex<CacheStore>,
    flights: Arc<Flights>,
    statistics: Counters,
    /// Bytes of the answers that are being recorded.
    recording: Arc<AtomicUsize>,
    config: RwLock<CacheConfig>,
}

/// A request that wants an answer.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) keys: Keys,
    pub(crate) partition: Partition,
    /// Of the last question.
    pub(crate) embedding: Option<Arc<[f32]>>,
    pub(crate) policy: &'a CachePolicy,
    pub(crate) control: &'a CacheControl,
    pub(crate) model: &'a str,
    pub(crate) decision: Option<&'a str>,
    pub(crate) stream: bool,
}

/// What there is for a request.
#[derive(Debug)]
pub(crate) enum Found {
    Hit(Hit),
    /// Nothing; the answer may be recorded.
    Miss(Option<Box<Recording>>),
}

/// An answer that was given before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    pub(crate) key: CacheKey,
    pub(crate) answer: Bytes,
    pub(crate) model: String,
    /// Of the two questions; `None` for the same request.
    pub(crate) similarity: Option<f32>,
    pub(crate) age: Duration,
}

impl Default for ResponseCache {
    fn default() -> Self {
        let config = CacheConfig::default();
        Self {
            memory: MemoryStore::new(config.limits.clone()),
            remote: watch::Sender::default(),
            store: Mutex::new(CacheStore::Memory),
            flights: Arc::default(),
            statistics: Counters::default(),
            recording: Arc::default(),
            config: RwLock::new(config),
        }
    }
}

impl ResponseCache {
    /// Takes over the limits of a configuration; answers within them stay.
    pub(crate) fn configure(&self, config: &CacheConfig) {
        self.memory.limit(config.limits.clone());
        self.config.write().clone_from(config);
    }

    /// Shares answers with other processes by a store from now on; one that it has already stays
    /// as it is. Nothing is sent before [`Self::work`] is polled.
    pub(crate) fn connect(&self, store: &CacheStore) {
        let mut current = self.store.lock();
        if *current == *store {
            return;
        }
        current.clone_from(store);
        let remote = match store {
            CacheStore::Memory | CacheStore::File(_) => None,
            CacheStore::Server(server) => {
                let backend: Box<dyn Backend> = match &server.kind {
                    StoreKind::Redis { database, prefix } => {
                        Box::new(RedisBackend::new(server, *database, prefix))
                    }
                    StoreKind::Milvus {
                        database,
                        collection,
                        topk,
                        consistency,
                    } => {
                        let settings = milvus::Settings {
                            database: database.clone(),
                            collection: collection.clone(),
                            topk: *topk,
                            consistency: *consistency,
                        };
                        Box::new(MilvusBackend::new(server, settings))
                    }
                };
                Some(Arc::new(Remote::new(backend, server.deadline)))
            }
        };
        self.remote.send_replace(remote);
    }

    /// What it has done and what it holds.
    pub fn statistics(&self) -> CacheStatistics {
        let held = self.memory.occupancy();
        CacheStatistics {
            entries: held.entries,
            bytes: held.bytes,
            evicted: held.evicted,
            expired: held.expired,
            ..self.statistics.read()
        }
    }

    /// How it is configured.
    pub fn config(&self) -> CacheConfig {
        self.config.read().clone()
    }

    /// What the store that processes share has done, if there is one.
    pub fn remote_statistics(&self) -> Option<RemoteStatistics> {
        self.remote().map(|remote| remote.statistics())
    }

    /// Drops answers; how many of them this process held.
    ///
    /// # Errors
    /// The store that processes share could not be told.
    pub async fn invalidate(&self, selector: &Selector) -> Result<usize, InvalidateError> {
        let dropped = self.memory.remove(selector, Moment::MAX);
        let Some(remote) = self.remote() else {
            return Ok(dropped);
        };
        let told = remote.invalidate(selector).await;
        // What was fetched meanwhile.
        let dropped = dropped + self.memory.remove(selector, Moment::now());
        told.map_err(|error| InvalidateError {
            dropped,
            reason: error.to_string(),
        })?;
        Ok(dropped)
    }

    /// Writes to the store that processes share, and keeps in step with it, for as long as it is
    /// polled. Without it answers stay in this process.
    pub async fn work(self: Arc<Self>) {
        let mut remotes = self.remote.subscribe();
        loop {
            let remote = remotes.borrow_and_update().clone();
            let working = async {
                match &remote {
                    Some(remote) => remote.work(&self.memory).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = working => {}
                // Never an error: the sender is in `self`.
                _ = remotes.changed() => {}
            }
        }
    }

    fn remote(&self) -> Option<Arc<Remote>> {
        self.remote.borrow().clone()
    }

    /// The answer to this very request, if it may be served and is there at once.
    pub(crate) fn recall(&self, key: CacheKey, control: &CacheControl) -> Option<Hit> {
        let hit = self.exact(key, control)?;
        self.statistics.hit(false);
        Some(hit)
    }

    /// The answer to a request, or the means to keep it.
    pub(crate) async fn look_up(self: &Arc<Self>, wanted: Wanted<'_>) -> Found {
        let asked = wanted.asked();
        if let Some(hit) = self.held(&wanted, asked.as_ref()) {
            return self.hit(hit);
        }
        if wanted.control.no_store {
            if let Some(hit) = self.fetch(&wanted, asked.as_ref()).await {
                return self.hit(hit);
            }
            self.statistics.missed();
            return Found::Miss(None);
        }
        let flight = match self.fly(&wanted, asked.as_ref()).await {
            Ok(flight) => flight,
            Err(hit) => return self.hit(hit),
        };
        self.statistics.missed();
        let ttl = match (wanted.policy.ttl, wanted.control.ttl) {
            (Some(most), Some(own)) => Some(most.min(own)),
            (most, own) => most.or(own),
        };
        let subject = Subject {
            key: wanted.keys.exact,
            question: asked.map(|(_, asked)| asked),
            model: wanted.model.to_owned(),
            decision: wanted.decision.map(str::to_owned),
            ttl,
        };
        let recording = Recording::new(Arc::clone(self), subject, wanted.stream, flight);
        Found::Miss(Some(Box::new(recording)))
    }

    /// Leads, or waits for whoever does; the answer if it came. A request that waited too long
    /// goes to the model by itself.
    async fn fly(
        &self,
        wanted: &Wanted<'_>,
        asked: Option<&(Question, Asked)>,
    ) -> Result<Option<Flight>, Hit> {
        // A client that wants a fresh answer will not have that to another request.
        if wanted.control.no_cache {
            return Ok(None);
        }
        let deadline = Instant::now() + MAX_WAIT;
        let mut followed = false;
        loop {
            let arrival: Arrival = match self.flights.board(wanted.keys.exact) {
                Boarding::Leads(flight) => {
                    // It may have arrived just before.
                    let hit = match self.exact(wanted.keys.exact, wanted.control) {
                        None => self.fetch(wanted, asked).await,
                        exact => exact,
                    };
                    return hit.map_or(Ok(Some(flight)), Err);
                }
                Boarding::Follows(arrival) => arrival,
            };
            if !std::mem::replace(&mut followed, true) {
                self.statistics.followed();
            }
            if tokio::time::timeout_at(deadline, arrival.wait())
                .await
                .is_err()
            {
                return Ok(None);
            }
        }
    }

    fn hit(&self, hit: Hit) -> Found {
        self.statistics.hit(hit.similarity.is_some());
        Found::Hit(hit)
    }

    /// The answer to a request in this process.
    fn held(&self, wanted: &Wanted<'_>, asked: Option<&(Question, Asked)>) -> Option<Hit> {
        let exact = self.exact(wanted.keys.exact, wanted.control);
        exact.or_else(|| {
            let (question, asked) = asked?;
            self.similar(question, asked, wanted)
        })
    }

    fn exact(&self, key: CacheKey, control: &CacheControl) -> Option<Hit> {
        if control.no_cache {
            return None;
        }
        let now = Moment::now();
        let entry = self.memory.get(key, now)?;
        fresh(&entry, control, now).then(|| Hit::of(&entry, None, now))
    }

    /// The nearest answer to a question that asks for the same.
    fn similar(&self, question: &Question, asked: &Asked, wanted: &Wanted<'_>) -> Option<Hit> {
        if wanted.control.no_cache {
            return None;
        }
        let now = Moment::now();
        let candidates = self.memory.candidates(asked.rest, &asked.terms, now);
        let others = candidates
            .iter()
            .filter(|entry| fresh(entry, wanted.control, now))
            .filter_map(|entry| Some((entry, entry.question.as_ref()?)));
        let sought = (question, asked);
        let (similarity, entry) = nearest(sought, wanted.policy.threshold, others)?;
        Some(Hit::of(entry, Some(similarity), now))
    }

    /// The answer in the store that processes share, which this one holds from now on. The store
    /// finds; whether the answer may be served is decided here, as if it had been held.
    async fn fetch(&self, wanted: &Wanted<'_>, asked: Option<&(Question, Asked)>) -> Option<Hit> {
        if wanted.control.no_cache {
            return None;
        }
        let remote = self.remote()?;
        let (now, until) = (Moment::now(), remote.deadline());
        let exact = remote.get(wanted.keys.exact, now, until).await;
        let (entry, similarity) = match exact {
            Some(entry) => (entry, None),
            None => self.fetch_similar(&remote, wanted, asked?, until).await?,
        };
        let hit = fresh(&entry, wanted.control, now).then(|| Hit::of(&entry, similarity, now));
        self.memory.insert(Arc::clone(&entry), now);
        if remote.has_dropped(&entry) {
            // Just now: it may not have been in memory when that was emptied.
            self.memory.remove(&Selector::Key(entry.key), Moment::MAX);
            return None;
        }
        hit
    }

    async fn fetch_similar(
        &self,
        remote: &Remote,
        wanted: &Wanted<'_>,
        (question, asked): &(Question, Asked),
        until: Instant,
    ) -> Option<(Arc<Entry>, Option<f32>)> {
        let (now, threshold) = (Moment::now(), wanted.policy.threshold);
        let sought = (question, asked);
        let candidates = remote.candidates(asked, now, until).await;
        let others = candidates.iter().map(|other| (other.key, &other.asked));
        if let Some((_, key)) = nearest(sought, threshold, others) {
            let entry = remote.get(key, now, until).await?;
            // What was named may have been replaced.
            let other = entry.question.as_ref();
            let other = other.filter(|other| other.rest == asked.rest)?;
            let (similarity, ()) = nearest(sought, threshold, [((), other)])?;
            return Some((entry, Some(similarity)));
        }
        if !original::may_have(wanted) {
            return None;
        }
        let originals = remote.originals(&asked.text, until).await;
        let mut entries = originals
            .into_iter()
            .filter_map(|original| original.entry(wanted, asked, now));
        Some((Arc::new(entries.next()?), None))
    }

    fn store(&self, entry: Arc<Entry>, now: Moment) {
        if let Some(remote) = self.remote() {
            remote.put(Arc::clone(&entry));
        }
        if self.memory.insert(entry, now) {
            self.statistics.stored();
        } else {
            self.statistics.skipped();
        }
    }
}

/// The nearest of the questions that ask for the same.
fn nearest<'a, T>(
    (question, asked): (&Question, &Asked),
    threshold: f32,
    others: impl IntoIterator<Item = (T, &'a Asked)>,
) -> Option<(f32, T)> {
    let mut best: Option<(f32, T)> = None;
    for (name, other) in others {
        let similarity = cosine(&other.embedding, &asked.embedding);
        let nearer = best
            .as_ref()
            .is_none_or(|(nearest, _)| similarity > *nearest);
        if nearer
            && similarity >= threshold
            && Question::read(&other.text).is_some_and(|other| agree(question, &other))
        {
            best = Some((similarity, name));
        }
    }
    best
}

fn fresh(entry: &Entry, control: &CacheControl, now: Moment) -> bool {
    control
        .max_age
        .is_none_or(|oldest| entry.age(now) <= oldest)
}

impl Hit {
    fn of(entry: &Entry, similarity: Option<f32>, now: Moment) -> Self {
        Self {
            key: entry.key,
            answer: entry.answer.clone(),
            model: entry.model.clone(),
            similarity,
            age: entry.age(now),
        }
    }
}

impl Wanted<'_> {
    /// The question, where similar ones may share its answer.
    fn asked(&self) -> Option<(Question, Asked)> {
        if self.policy.mode == CacheMode::Exact {
            return None;
        }
        let around = self.keys.around.as_ref()?;
        let embedding = self.embedding.clone()?;
        let question = Question::read(&around.question)?;
        let asked = Asked {
            rest: around.rest,
            text: around.question.clone(),
            embedding,
            terms: question.terms(),
        };
        Some((question, asked))
    }
}

#[cfg(test)]
mod tests;
