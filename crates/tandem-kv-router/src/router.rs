//! The parts joined: one thing that a frontend asks for a worker and tells what happened.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rand::{Rng, RngExt};
use tandem_protocol::engine::RouterConfigOverride;
use tandem_protocol::kv::{
    BlockHash, HashScope, RouterEvent, SequenceHash, hash_blocks, hash_sequence,
};

use crate::cost::Cost;
use crate::index::{
    ApplyError, ApproximateConfig, ApproximateIndex, EventCounts, Overlaps, RadixIndex,
};
use crate::load::{ActiveLoad, NewRequest, WorkerLoad};
use crate::select::{RouterMode, pick};
use crate::{Worker, WorkerCandidate};

/// Settings of a router.
#[derive(Debug, Clone, Copy)]
pub struct RouterConfig {
    /// How workers are picked.
    pub mode: RouterMode,
    /// Tokens per block, as the workers publish them.
    pub block_size: usize,
    /// Weight of the prefill term of the cost; larger favours workers that have the prefix.
    pub overlap_score_weight: f64,
    /// Softmax temperature; 0 always takes the cheapest worker.
    pub temperature: f64,
    /// Whether active blocks count: off for workers that only prefill.
    pub track_active_blocks: bool,
    /// Where knowledge of cached prefixes comes from.
    pub index: IndexConfig,
    /// When a request whose end was never reported stops to count.
    pub request_expiry: Duration,
}

/// Where knowledge of cached prefixes comes from.
#[derive(Debug, Clone, Copy)]
pub enum IndexConfig {
    /// KV events of the workers.
    Events {
        /// Blocks above which a worker's events are not believed.
        max_blocks_per_worker: usize,
    },
    /// Past routing decisions.
    Approximate(ApproximateConfig),
}

impl RouterConfig {
    /// Dynamo's defaults.
    pub const fn new(block_size: usize) -> Self {
        Self {
            mode: RouterMode::Kv,
            block_size,
            overlap_score_weight: 1.0,
            temperature: 0.0,
            track_active_blocks: true,
            index: IndexConfig::Events {
                max_blocks_per_worker: usize::MAX,
            },
            request_expiry: Duration::from_secs(300),
        }
    }
}

/// A prompt, hashed once for every use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Length in tokens.
    pub tokens: usize,
    /// Local hashes of the full blocks.
    pub blocks: Vec<BlockHash>,
    /// Chained hashes of the full blocks.
    pub sequence: Vec<SequenceHash>,
}

impl Prompt {
    /// Hashes `tokens` in blocks of `block_size`.
    pub fn new(tokens: &[u32], block_size: usize, scope: HashScope<'_>) -> Self {
        let blocks = hash_blocks(tokens, block_size, scope);
        let sequence = hash_sequence(&blocks);
        Self {
            tokens: tokens.len(),
            blocks,
            sequence,
        }
    }
}

/// A request that needs a worker.
#[derive(Debug, Clone, Copy)]
pub struct SelectRequest<'a> {
    /// Names the request in [`KvRouter::mark_prefill_completed`] and [`KvRouter::free`].
    pub id: &'a str,
    /// Its prompt.
    pub prompt: &'a Prompt,
    /// Settings that differ for this request.
    pub overrides: RouterConfigOverride,
    /// Whether the prompt's KV blocks come from another worker, so that none has to be computed.
    pub remote_prefill: bool,
}

/// The chosen worker, and what was weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The chosen one.
    pub chosen: Score,
    /// Every candidate in the order given, in mode [`RouterMode::Kv`]; else empty.
    pub scores: Vec<Score>,
}

/// What the router knows about one candidate for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Who.
    pub candidate: WorkerCandidate,
    /// Blocks of the prompt's prefix that it has cached.
    pub overlap_blocks: u32,
    /// What the request would cost there.
    pub cost: Cost,
}

impl Score {
    /// The log line that explains the cost, in Dynamo 0.6.1's words.
    pub fn formula(&self) -> String {
        let Cost {
            overlap_weight,
            prefill_blocks,
            decode_blocks,
        } = self.cost;
        format!(
            "Formula for {} with {} cached blocks: {:.3} = {overlap_weight:.1} * prefill_blocks + decode_blocks = {overlap_weight:.1} * {prefill_blocks:.3} + {decode_blocks:.3}",
            self.candidate.worker,
            self.overlap_blocks,
            self.cost.logit(),
        )
    }
}

impl Selection {
    /// The log line that names the choice, in Dynamo 0.6.1's words.
    pub fn summary(&self) -> String {
        let Score {
            candidate,
            overlap_blocks,
            cost,
        } = self.chosen;
        format!(
            "Selected worker: {}, logit: {:.3}, cached blocks: {overlap_blocks}, total blocks: {}",
            candidate.worker,
            cost.logit(),
            candidate.total_blocks,
        )
    }
}

#[derive(Debug)]
enum PrefixIndex {
    Events(RadixIndex),
    Approximate(ApproximateIndex),
}

/// Chooses workers for one model and one kind of worker. Share it as an `Arc`.
///
/// Matches take the index's read lock, events its write lock, one event at a time. A decision and
/// its accounting are one step under the load's lock, so that concurrent requests see each other.
#[derive(Debug)]
pub struct KvRouter {
    config: RouterConfig,
    index: RwLock<PrefixIndex>,
    load: Mutex<ActiveLoad>,
    turn: AtomicUsize,
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
            index: RwLock::new(index),
            load: Mutex::new(ActiveLoad::new(config.request_expiry)),
            turn: AtomicUsize::new(0),
            config,
        }
    }

    /// The settings.
    pub const fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// Applies a worker's event; does nothing if the index does not follow events.
    ///
    /// # Errors
    /// The event does not fit what is known of its worker.
    pub fn apply(&self, event: &RouterEvent) -> Result<(), ApplyError> {
        match &mut *self.index.write() {
            PrefixIndex::Events(index) => index.apply(event),
            PrefixIndex::Approximate(_) => Ok(()),
        }
    }

    /// Forgets all ranks of a process that is gone, with its requests.
    pub fn remove_worker(&self, worker_id: u64) {
        match &mut *self.index.write() {
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
            candidate,
            overlap_blocks,
            ..
        } = selection.chosen;
        load.add(
            self.new_request(request, candidate.worker, overlap_blocks),
            now,
        );
        drop(load);
        self.remember(request.prompt, candidate.worker, now);
        Some(selection)
    }

    /// Accounts for a request that somebody else sent to `worker`.
    pub fn add(
        &self,
        request: &SelectRequest<'_>,
        worker: Worker,
        overlap_blocks: u32,
        now: Instant,
    ) {
        let added = self.new_request(request, worker, overlap_blocks);
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
        match &*self.index.read() {
            PrefixIndex::Events(index) => index.find_matches(blocks),
            PrefixIndex::Approximate(index) => index.find_matches(blocks),
        }
    }

    /// What happened to the events so far.
    pub fn event_counts(&self) -> EventCounts {
        match &*self.index.read() {
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
        let overlap_blocks = overlaps.get(candidate.worker);
        let new = self.new_request(request, candidate.worker, overlap_blocks);
        let potential = load.potential(new.worker, new.sequence, new.uncached_tokens);
        let overridden = request.overrides.overlap_score_weight;
        let weight = overridden.unwrap_or(self.config.overlap_score_weight);
        Score {
            candidate,
            overlap_blocks,
            cost: Cost::new(weight, self.config.block_size, potential),
        }
    }

    fn new_request<'a>(
        &self,
        request: &SelectRequest<'a>,
        worker: Worker,
        overlap_blocks: u32,
    ) -> NewRequest<'a> {
        let cached = overlap_blocks as usize * self.config.block_size;
        let uncached = request.prompt.tokens.saturating_sub(cached);
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
        if !matches!(self.config.index, IndexConfig::Approximate(_)) {
            return;
        }
        if let PrefixIndex::Approximate(index) = &mut *self.index.write() {
            index.expire(now);
            index.record(worker, &prompt.blocks, &prompt.sequence, now);
        }
    }
}

#[cfg(test)]
mod tests;
