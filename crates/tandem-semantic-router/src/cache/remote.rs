//! A store that processes share, behind the one in memory.
//!
//! Requests wait for it no longer than a deadline, and ask it only while it answers. What they
//! store is written by a background task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::backend::{Backend, BackendError, Candidate};
use super::breaker::Breaker;
use super::entry::{Asked, Entry, Moment};
use super::invalidation::{Invalidation, Invalidations, Selector};
use super::key::Key;
use super::memory::MemoryStore;
use super::operations::{Operation, OperationStatistics, Operations, Status};
use super::write_queue::WriteQueue;

/// How often a store is asked what others have dropped, and tried if it did not answer.
const TICK: Duration = Duration::from_millis(500);
/// Longest wait in the background.
const BACKGROUND: Duration = Duration::from_secs(2);
/// Longest wait for a store that drops answers.
const INVALIDATION: Duration = Duration::from_secs(10);
/// How long processes tell each other what was dropped. Answers that were written while they were
/// dropped are not served for so long.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// How far the clocks of processes may be apart.
const SKEW: Duration = Duration::from_secs(60);

/// A store outside of this process.
#[derive(Debug)]
pub(super) struct Remote {
    backend: Box<dyn Backend>,
    /// Most time of a request.
    deadline: Duration,
    breaker: Breaker,
    writes: WriteQueue,
    invalidations: Invalidations,
    operations: Operations,
    /// Whether it has been said that the store does not answer.
    complained: AtomicBool,
    /// Milliseconds since 1970 when the store last told what was dropped; 0 is never.
    told: AtomicU64,
}

/// What a store has done since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteStatistics {
    /// What metrics call the store.
    pub backend: &'static str,
    /// Whether requests ask it.
    pub available: bool,
    /// What it was asked.
    pub operations: Vec<OperationStatistics>,
}

/// Answers were dropped in this process, and the store could not be told yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store of the cache could not be told: {reason}; this process serves nothing of what was to be dropped, and tells it when it answers again"
)]
pub struct InvalidateError {
    /// Answers dropped in this process.
    pub dropped: usize,
    /// What the store says.
    pub reason: String,
}

impl Remote {
    pub(super) fn new(backend: Box<dyn Backend>, deadline: Duration) -> Self {
        Self {
            backend,
            deadline,
            breaker: Breaker::new(Instant::now()),
            writes: WriteQueue::default(),
            invalidations: Invalidations::default(),
            operations: Operations::default(),
            complained: AtomicBool::new(false),
            told: AtomicU64::new(0),
        }
    }

    pub(super) fn statistics(&self) -> RemoteStatistics {
        RemoteStatistics {
            backend: self.backend.name(),
            available: self.breaker.is_closed(),
            operations: self.operations.read(),
        }
    }

    /// When a request that begins to ask must go on.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// The entry to this very request. What the store holds under another name is not believed.
    pub(super) async fn get(&self, key: Key, now: Moment, until: Instant) -> Option<Arc<Entry>> {
        let valid = |found: Option<Entry>| {
            found.filter(|entry| {
                entry.key == key && !entry.is_expired(now) && !self.invalidations.drop_entry(entry)
            })
        };
        let get = async { self.backend.get(key).await.map(valid) };
        let found = self.ask(Operation::Get, until, get, Option::is_some).await;
        found.flatten().map(Arc::new)
    }

    /// Questions that may ask for the same.
    pub(super) async fn candidates(
        &self,
        asked: &Asked,
        now: Moment,
        until: Instant,
    ) -> Vec<Candidate> {
        let valid = |mut found: Vec<Candidate>| {
            found.retain(|other| {
                let alike = other.asked.embedding.len() == asked.embedding.len();
                other.asked.rest == asked.rest && alike
            });
            found
        };
        let find = async { self.backend.candidates(asked, now).await.map(valid) };
        let any = |found: &Vec<Candidate>| !found.is_empty();
        let found = self.ask(Operation::Similar, until, find, any).await;
        found.unwrap_or_default()
    }

    /// Has an entry written some time.
    pub(super) fn put(&self, entry: Arc<Entry>) {
        if !self.breaker.is_closed() {
            self.operations.count(Operation::Put, Status::Open);
        } else if !self.writes.push(entry) {
            self.operations.count(Operation::Put, Status::Dropped);
        }
    }

    /// Drops answers in the store. Until it has been told, it is told again and again.
    pub(super) async fn invalidate(&self, selector: &Selector) -> Result<(), BackendError> {
        let invalidation = Invalidation {
            selector: selector.clone(),
            until: Moment::now(),
        };
        self.invalidations.begin(invalidation.clone());
        if !self.breaker.is_closed() {
            self.operations.count(Operation::Invalidate, Status::Open);
            return Err(BackendError::Unavailable("it does not answer".to_owned()));
        }
        self.deliver(&invalidation).await
    }

    /// Writes, and keeps in step with the store, for as long as it is polled.
    pub(super) async fn work(&self, memory: &MemoryStore) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                entry = self.writes.next() => self.write(&entry).await,
                _ = ticks.tick() => self.keep_step(memory).await,
            }
        }
    }

    async fn write(&self, entry: &Entry) {
        if !self.breaker.is_closed() {
            self.operations.count(Operation::Put, Status::Open);
            return;
        }
        if self.invalidations.drop_entry(entry) {
            return;
        }
        let until = Instant::now() + BACKGROUND;
        let put = self.backend.put(entry, Moment::now());
        // A failure is counted there, and the answer is in memory.
        self.call(Operation::Put, until, put, |()| Status::Success)
            .await
            .ok();
    }

    /// Tries a store that does not answer, tells it what was dropped here, and asks what others
    /// have dropped.
    async fn keep_step(&self, memory: &MemoryStore) {
        if !self.breaker.is_closed() {
            if !self.breaker.is_due(Instant::now()) || !self.is_back().await {
                return;
            }
            if self.learn(memory).await.is_err() {
                return;
            }
            self.breaker.succeeded();
        }
        for invalidation in self.invalidations.undelivered() {
            if self.deliver(&invalidation).await.is_err() {
                return;
            }
        }
        self.learn(memory).await.ok();
    }

    /// Whether a store that did not answer does. Answers stay in memory until then.
    async fn is_back(&self) -> bool {
        let prepared = tokio::time::timeout(BACKGROUND, self.backend.prepare()).await;
        let store = self.backend.name();
        match prepared.unwrap_or(Err(BackendError::Late)) {
            Ok(()) => {
                self.complained.store(false, Ordering::Relaxed);
                info!(store, "the cache uses its store");
                true
            }
            Err(error) => {
                self.breaker.trial_failed(Instant::now(), rand::random());
                self.complain(&error);
                false
            }
        }
    }

    fn complain(&self, error: &BackendError) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            warn!(
                store = self.backend.name(),
                %error,
                "the cache does without its store until that answers: check its address, \
                 credentials and TLS settings, and that it runs"
            );
        }
    }

    async fn learn(&self, memory: &MemoryStore) -> Result<(), BackendError> {
        let now = Moment::now();
        let told = Moment(self.told.load(Ordering::Relaxed));
        let oldest = now.before(REMEMBERED);
        let since = told.before(SKEW).max(oldest);
        let until = Instant::now() + BACKGROUND;
        let news = self.backend.invalidations(since);
        let news = tokio::time::timeout_at(until, news).await;
        let news = news.unwrap_or(Err(BackendError::Late));
        self.judge(news.as_ref().err());
        for invalidation in news? {
            if self.invalidations.learn(&invalidation) {
                memory.remove(&invalidation.selector, invalidation.until);
            }
        }
        if told.0 > 0 && told < oldest {
            // Nobody remembers what was dropped meanwhile.
            memory.remove(&Selector::All, now);
        }
        self.told.store(now.0, Ordering::Relaxed);
        self.invalidations.forget_before(oldest);
        Ok(())
    }

    async fn deliver(&self, invalidation: &Invalidation) -> Result<(), BackendError> {
        let until = Instant::now() + INVALIDATION;
        let told = self.backend.invalidate(invalidation);
        self.call(Operation::Invalidate, until, told, |()| Status::Success)
            .await?;
        self.invalidations.delivered(invalidation);
        Ok(())
    }

    /// Asks for a request.
    async fn ask<T>(
        &self,
        operation: Operation,
        until: Instant,
        call: impl Future<Output = Result<T, BackendError>>,
        is_hit: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        if !self.breaker.is_closed() {
            self.operations.count(operation, Status::Open);
            return None;
        }
        let status = |found: &T| match is_hit(found) {
            true => Status::Hit,
            false => Status::Miss,
        };
        self.call(operation, until, call, status).await.ok()
    }

    async fn call<T>(
        &self,
        operation: Operation,
        until: Instant,
        call: impl Future<Output = Result<T, BackendError>>,
        status: impl FnOnce(&T) -> Status,
    ) -> Result<T, BackendError> {
        let begun = Instant::now();
        let answer = tokio::time::timeout_at(until, call).await;
        let answer = answer.unwrap_or(Err(BackendError::Late));
        let status = match &answer {
            Ok(found) => status(found),
            Err(BackendError::Late) => Status::Timeout,
            Err(BackendError::Full(_)) => Status::Full,
            Err(BackendError::Unavailable(_) | BackendError::Refused(_)) => Status::Error,
        };
        self.operations.record(operation, status, begun.elapsed());
        self.judge(answer.as_ref().err());
        answer
    }

    /// Counts a failure in a row, or the end of the row.
    fn judge(&self, error: Option<&BackendError>) {
        match error {
            // One that is full answers, and is worth asking. Whether one that was given up is
            // back is found out by a trial alone.
            None | Some(BackendError::Full(_)) => {
                if self.breaker.is_closed() {
                    self.breaker.succeeded();
                }
            }
            Some(error) => {
                self.breaker.failed(Instant::now(), rand::random());
                if !self.breaker.is_closed() {
                    self.complain(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
