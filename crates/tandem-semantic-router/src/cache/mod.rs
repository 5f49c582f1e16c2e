//! Answers that were given before, for requests that ask the same.
//!
//! The same request, to the byte that matters, has the same answer. A request whose last question
//! asks for the same, everything around it being equal, has it too: its vector must be near, and
//! its words must agree ([`agreement`]).

mod agreement;
mod answer;
mod control;
mod entry;
mod flight;
mod key;
mod lexicon;
mod memory;
mod question;
mod recording;
mod rephrase;
mod statistics;
mod tokens;
mod words;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::config::{CacheConfig, CacheMode, CachePolicy, CacheScope};
use crate::request::Client;
use crate::signal::cosine;
use agreement::agree;
pub use control::CacheControl;
use entry::{Asked, Entry, Moment};
use flight::{Arrival, Boarding, Flight, Flights};
pub use key::Key as CacheKey;
pub(crate) use key::{Keys, Partition};
use memory::MemoryStore;
use question::Question;
pub use recording::Recording;
use recording::Subject;
pub use statistics::CacheStatistics;
use statistics::Counters;

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
    flights: Arc<Flights>,
    statistics: Counters,
    /// Bytes of the answers that are being recorded.
    recording: Arc<AtomicUsize>,
    config: RwLock<CacheConfig>,
}

/// Answers to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The one to a request.
    Key(CacheKey),
    /// Those that a model gave.
    Model(String),
    /// Those to requests of a decision.
    Decision(String),
    /// All.
    All,
}

impl Selector {
    fn selects(&self, entry: &Entry) -> bool {
        match self {
            Self::Key(key) => entry.key == *key,
            Self::Model(model) => entry.model == *model,
            Self::Decision(decision) => entry.decision.as_ref() == Some(decision),
            Self::All => true,
        }
    }
}

/// A request that wants an answer.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) keys: Keys,
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

    /// Drops answers; how many.
    pub fn invalidate(&self, selector: &Selector) -> usize {
        self.memory.remove(selector)
    }

    /// The answer to this very request, if it may be served and is there at once.
    pub(crate) fn recall(&self, key: CacheKey, control: &CacheControl) -> Option<Hit> {
        let hit = self.exact(key, control)?;
        self.statistics.hit(false);
        Some(hit)
    }

    /// The answer to a request, or the means to keep it.
    pub(crate) async fn look_up(self: &Arc<Self>, wanted: Wanted<'_>) -> Found {
        let exact = self.recall(wanted.keys.exact, wanted.control);
        if let Some(hit) = exact {
            return Found::Hit(hit);
        }
        let asked = wanted.asked();
        if let Some((question, asked)) = &asked
            && let Some(hit) = self.similar(question, asked, &wanted)
        {
            self.statistics.hit(true);
            return Found::Hit(hit);
        }
        if wanted.control.no_store {
            self.statistics.missed();
            return Found::Miss(None);
        }
        let flight = match self.fly(&wanted).await {
            Ok(flight) => flight,
            Err(hit) => {
                self.statistics.hit(false);
                return Found::Hit(hit);
            }
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
    async fn fly(&self, wanted: &Wanted<'_>) -> Result<Option<Flight>, Hit> {
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
                    return match self.exact(wanted.keys.exact, wanted.control) {
                        Some(hit) => Err(hit),
                        None => Ok(Some(flight)),
                    };
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
        let mut best: Option<(f32, Arc<Entry>)> = None;
        for entry in candidates {
            let Some(other) = &entry.question else {
                continue;
            };
            let similarity = cosine(&other.embedding, &asked.embedding);
            let nearer = best
                .as_ref()
                .is_none_or(|(nearest, _)| similarity > *nearest);
            if nearer
                && similarity >= wanted.policy.threshold
                && fresh(&entry, wanted.control, now)
                && Question::read(&other.text).is_some_and(|other| agree(question, &other))
            {
                best = Some((similarity, entry));
            }
        }
        let (similarity, entry) = best?;
        Some(Hit::of(&entry, Some(similarity), now))
    }

    fn store(&self, entry: Arc<Entry>, now: Moment) {
        if self.memory.insert(entry, now) {
            self.statistics.stored();
        } else {
            self.statistics.skipped();
        }
    }
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

/// Whose answers a request may have; `None` if its scope needs to know who asks, and nobody said.
pub(crate) fn tenant(scope: CacheScope, client: &Client) -> Option<String> {
    let user = || client.user.as_ref().map(|user| format!("user {user}"));
    let credential = || client.credential.map(|key| format!("credential {key}"));
    match scope {
        CacheScope::Global => Some("everyone".to_owned()),
        CacheScope::User => user(),
        CacheScope::Team => {
            let mut groups: Vec<&str> = client.groups.iter().map(String::as_str).collect();
            groups.sort_unstable();
            (!groups.is_empty()).then(|| format!("team {}", groups.join(",")))
        }
        CacheScope::Client => user()
            .or_else(credential)
            .or_else(|| Some("anonymous".to_owned())),
    }
}

#[cfg(test)]
mod tests;
