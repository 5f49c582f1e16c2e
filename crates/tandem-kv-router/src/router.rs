//! The parts joined: one thing that a frontend asks for a worker and tells what happened.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rand::{Rng, RngExt};
use tandem_protocol::kv::{BlockHash, RouterEvent};

use crate::config::{IndexConfig, RouterConfig, RouterMode};
use crate::cost::Cost;
use crate::index::{ApplyError, ApproximateIndex, EventCounts, Overlaps, RadixIndex};
use crate::load::{ActiveLoad, NewRequest, WorkerLoad};
use crate::request::{Prompt, SelectRequest};
use crate::select::pick;
use crate::selection::{Score, Selection};
use crate::{Worker, WorkerCandidate};

/// Chooses workers for one model and one kind of worker. Share it as an `Arc`.
///
/// Matches do not wait for events. A decision and its accounting are one step under the load's
/// lock, so that concurrent requests see each other.
#[derive(Debug)]
pub struct KvRouter {
    config: RouterConfig,
    index: PrefixIndex,
    load: Mutex<ActiveLoad>,
    turn: AtomicUsize,
}

#[derive(Debug)]
enum PrefixIndex {
    Events(RadixIndex),
    Approximate(ApproximateIndex),
}

impl KvRouter {
    /// A router that knows nothing yet.
    pub fn new(config: RouterConfig) -> Self {
        let index = match config.index {
            IndexConfig::Events {
                max_blocks_per_worker,
            } => PrefixIndex::Events(RadixIndex::new(max_blocks_per_worker)),
            IndexConfig::Approximate(config) => {
                PrefixIndex::Approximate(ApproximateIndex::new(config))
            }
        };
        Self {
            index,
            load: Mutex::new(ActiveLoad::new(config.request_expiry)),
            turn: AtomicUsize::new(0),
            config,
        }
    }

    /// The settings.
    pub const fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// Applies a worker's event; does nothing if the index does not follow events. Events of one
    /// worker have to come one after the other.
    ///
    /// # Errors
    /// The event does not fit what is known of its worker.
    pub fn apply(&self, event: &RouterEvent) -> Result<(), ApplyError> {
        match &self.index {
            PrefixIndex::Events(index) => index.apply(event),
            PrefixIndex::Approximate(_) => Ok(()),
        }
    }

    /// Forgets all ranks of a process that is gone, with its requests.
    pub fn remove_worker(&self, worker_id: u64) {
        match &self.index {
            PrefixIndex::Events(index) => index.remove_worker(worker_id),
            PrefixIndex::Approximate(index) => index.remove_worker(worker_id),
        }
        self.load.lock().remove_worker(worker_id);
    }

    /// Picks a worker without accounting for the request.
    pub fn select(
        &self,
        request: &SelectRequest<'_>,
        candidates: &[WorkerCandidate],
        rng: &mut impl Rng,
    ) -> Option<Selection> {
        let overlaps = self.overlaps_for(request);
        self.decide(request, candidates, &overlaps, &self.load.lock(), rng)
    }

    /// Picks a worker and accounts for the request; the caller later calls
    /// [`KvRouter::mark_prefill_completed`] and [`KvRouter::free`].
    pub fn route(
        &self,
        request: &SelectRequest<'_>,
        candidates: &[WorkerCandidate],
        now: Instant,
        rng: &mut impl Rng,
    ) -> Option<Selection> {
        let overlaps = self.overlaps_for(request);
        let mut load = self.load.lock();
        let selection = self.decide(request, candidates, &overlaps, &load, rng)?;
        let Score {
            candidate, overlap, ..
        } = selection.chosen;
        let saved = self.config.tier_weights.saved_blocks(overlap);
        load.add(self.new_request(request, candidate.worker, saved), now);
        drop(load);
        self.remember(request.prompt, candidate.worker, now);
        Some(selection)
    }

    /// Accounts for a request that somebody else sent to `worker`, which has `overlap_blocks` cached.
    pub fn add(
        &self,
        request: &SelectRequest<'_>,
        worker: Worker,
        overlap_blocks: u32,
        now: Instant,
    ) {
        let added = self.new_request(request, worker, f64::from(overlap_blocks));
        self.load.lock().add(added, now);
        self.remember(request.prompt, worker, now);
    }

    /// Records that a request's prompt is computed; false if the request is unknown.
    pub fn mark_prefill_completed(&self, id: &str) -> bool {
        self.load.lock().mark_prefill_completed(id)
    }

    /// Records that a request has ended; false if it is unknown.
    pub fn free(&self, id: &str) -> bool {
        self.load.lock().free(id)
    }

    /// Load of `worker` by the router's own accounting.
    pub fn load(&self, worker: Worker) -> WorkerLoad {
        self.load.lock().current(worker)
    }

    /// Contiguous prefix of `blocks` that each worker has cached.
    pub fn overlaps(&self, blocks: &[BlockHash]) -> Overlaps {
        match &self.index {
            PrefixIndex::Events(index) => index.find_matches(blocks),
            PrefixIndex::Approximate(index) => index.find_matches(blocks),
        }
    }

    /// What happened to the events so far.
    pub fn event_counts(&self) -> EventCounts {
        match &self.index {
            PrefixIndex::Events(index) => index.counts(),
            PrefixIndex::Approximate(_) => EventCounts::default(),
        }
    }

    fn overlaps_for(&self, request: &SelectRequest<'_>) -> Overlaps {
        match self.config.mode {
            RouterMode::Kv => self.overlaps(&request.prompt.blocks),
            _ => Overlaps::default(),
        }
    }

    fn decide(
        &self,
        request: &SelectRequest<'_>,
        candidates: &[WorkerCandidate],
        overlaps: &Overlaps,
        load: &ActiveLoad,
        rng: &mut impl Rng,
    ) -> Option<Selection> {
        let score = |candidate| self.score(request, candidate, overlaps, load);
        let requests = |index: &usize| load.current(candidates[*index].worker).requests;
        let count = candidates.len();
        if count == 0 {
            return None;
        }
        let index = match self.config.mode {
            RouterMode::Kv => {
                let scores: Vec<_> = candidates.iter().copied().map(score).collect();
                let costs: Vec<_> = scores.iter().map(|score| score.cost.logit()).collect();
                let overridden = request.overrides.router_temperature;
                let temperature = overridden.unwrap_or(self.config.temperature);
                let chosen = scores[pick(&costs, temperature, rng)?];
                return Some(Selection { chosen, scores });
            }
            RouterMode::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed) % count,
            RouterMode::Random => rng.random_range(0..count),
            RouterMode::PowerOfTwo => {
                let one = rng.random_range(0..count);
                let other = (one + rng.random_range(0..count.max(2) - 1) + 1) % count;
                [one, other].into_iter().min_by_key(requests)?
            }
            RouterMode::LeastLoaded => {
                let first = rng.random_range(0..count);
                let order = (0..count).map(|offset| (first + offset) % count);
                order.min_by_key(requests)?
            }
        };
        Some(Selection {
            chosen: score(candidates[index]),
            scores: Vec::new(),
        })
    }

    fn score(
        &self,
        request: &SelectRequest<'_>,
        candidate: WorkerCandidate,
        overlaps: &Overlaps,
        load: &ActiveLoad,
    ) -> Score {
        let overlap = overlaps.get(candidate.worker);
        let saved = self.config.tier_weights.saved_blocks(overlap);
        let new = self.new_request(request, candidate.worker, saved);
        let potential = load.potential(new.worker, new.sequence, new.uncached_tokens);
        let overridden = request.overrides.overlap_score_weight;
        let weight = overridden.unwrap_or(self.config.overlap_score_weight);
        Score {
            candidate,
            overlap,
            cost: Cost::new(
                self.config.cost,
                weight,
                self.config.block_size,
                potential,
                new.uncached_tokens,
            ),
        }
    }

    fn new_request<'a>(
        &self,
        request: &SelectRequest<'a>,
        worker: Worker,
        saved_blocks: f64,
    ) -> NewRequest<'a> {
        let saved = tokens(saved_blocks, self.config.block_size);
        let uncached = request.prompt.tokens.saturating_sub(saved);
        let sequence: &[_] = &request.prompt.sequence;
        NewRequest {
            id: request.id,
            worker,
            sequence: if self.config.track_active_blocks {
                sequence
            } else {
                &[]
            },
            uncached_tokens: if request.remote_prefill { 0 } else { uncached },
        }
    }

    /// In approximate mode, where a prompt was sent is all there is to know.
    fn remember(&self, prompt: &Prompt, worker: Worker, now: Instant) {
        if let PrefixIndex::Approximate(index) = &self.index {
            index.expire(now);
            index.record(worker, &prompt.blocks, &prompt.sequence, now);
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a prompt's tokens, neither negative nor near 2^52"
)]
fn tokens(blocks: f64, block_size: usize) -> usize {
    (blocks * block_size as f64).round() as usize
}

#[cfg(test)]
mod tests;
