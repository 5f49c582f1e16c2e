//! The workers of one endpoint: who is there, what they have cached, how busy they are.

mod factory;
mod peers;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tandem_kv_router::{
    KvRouter, Overlap, Overlaps, Prompt, Score, SelectRequest, Selection, Worker, WorkerCandidate,
    WorkerLoad,
};
use tandem_protocol::engine::{KvPeer, RouterConfigOverride};
use tandem_protocol::load::ActiveSequenceChange;
use tandem_runtime::instances::Instances;
use tandem_runtime::{EndpointId, Instance, InstanceWatch, Lifecycle};
use tandem_tokenizer::model_card::DisaggregatedEndpoint;
use tracing::info;

use crate::busy::BusyMonitor;
use crate::error::FrontendError;
use crate::prefill_cost::{PrefillFit, PrefillLine};
use crate::prefill_policy::Backlog;
use crate::quarantine::Quarantine;
use crate::replica_sync::ReplicaSync;
pub(crate) use factory::{PoolFactory, WorkerKind};

/// The workers of one endpoint.
pub(crate) struct WorkerPool {
    endpoint: EndpointId,
    total_blocks: u64,
    /// Data-parallel ranks of each worker.
    ranks: u32,
    instances: InstanceWatch,
    router: KvRouter,
    quarantine: Mutex<Quarantine>,
    busy: Option<Arc<BusyMonitor>>,
    replicas: Option<ReplicaSync>,
    next_request: AtomicU64,
    prefill: Mutex<PrefillFit>,
    /// Where decode workers meet the workers of this pool, by instance.
    bootstraps: Mutex<HashMap<u64, DisaggregatedEndpoint>>,
    /// Where workers of this pool give their blocks to others of it, by instance.
    kv_peers: ArcSwap<HashMap<u64, String>>,
    lifecycle: Lifecycle,
}

/// The chosen worker; dropping it says that the request has ended.
pub(crate) struct Chosen {
    /// Where to send the request.
    pub instance: Instance,
    /// Which of its data-parallel ranks.
    pub dp_rank: u32,
    /// Prompt blocks that the worker should have cached.
    pub overlap_blocks: u32,
    /// Another worker that it can have more of them from.
    pub kv_peer: Option<KvPeer>,
    pool: Arc<WorkerPool>,
    id: String,
    sent: Instant,
    /// What was on the worker when it was chosen, this request included.
    load: WorkerLoad,
}

/// How busy the workers of a pool are, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PoolLoad {
    /// The workers.
    pub workers: u32,
    /// Prompt tokens that were sent to them and are not computed yet.
    pub prefill_tokens: u64,
    /// Blocks that running requests use.
    pub active_blocks: u64,
    /// Blocks; 0 if that is not known.
    pub total_blocks: u64,
}

/// Why no worker was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoChoice {
    /// There is none.
    Nobody,
    /// All of them are busy.
    AllBusy,
}

/// What a worker is chosen for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerChoice<'a> {
    /// For the logs.
    pub request_id: &'a str,
    /// The prompt.
    pub prompt: &'a Prompt,
    /// Whether the prompt's KV blocks come from a prefill worker.
    pub remote_prefill: bool,
    /// Workers that must not be chosen.
    pub excluded: &'a [u64],
}

impl NoChoice {
    /// What a client of `model` is told.
    pub(crate) fn error(self, model: &str) -> FrontendError {
        match self {
            Self::Nobody => FrontendError::NoWorkers(model.to_owned()),
            Self::AllBusy => FrontendError::AllBusy(model.to_owned()),
        }
    }
}

impl WorkerPool {
    /// The endpoint that the workers serve.
    pub(crate) fn endpoint(&self) -> &EndpointId {
        &self.endpoint
    }

    /// Whether its workers are of that kind.
    pub(crate) fn is_of(&self, kind: WorkerKind) -> bool {
        (self.block_size(), self.total_blocks, self.ranks)
            == (kind.block_size, kind.total_blocks, kind.ranks)
    }

    /// The instances now.
    pub(crate) fn instances(&self) -> InstanceWatch {
        self.instances.clone()
    }

    /// Tokens per KV block.
    pub(crate) fn block_size(&self) -> usize {
        self.router.config().block_size
    }

    /// Where decode workers meet a worker of this pool, if both are started at once.
    pub(crate) fn bootstrap(&self, instance_id: u64) -> Option<DisaggregatedEndpoint> {
        self.bootstraps.lock().get(&instance_id).cloned()
    }

    /// Replaces what is known of where workers are met.
    pub(crate) fn set_bootstraps(&self, endpoints: HashMap<u64, DisaggregatedEndpoint>) {
        *self.bootstraps.lock() = endpoints;
    }

    /// Stops following the workers.
    pub(crate) fn stop(&self) {
        self.lifecycle.stopping().cancel();
    }

    /// The index and load of the workers.
    pub(crate) fn router(&self) -> &KvRouter {
        &self.router
    }

    /// How busy the workers are.
    pub(crate) fn load(&self) -> PoolLoad {
        let instances = self.instances.current();
        let mut sum = PoolLoad::default();
        for worker_id in instances.keys().copied() {
            sum.workers += 1;
            for dp_rank in 0..self.ranks {
                let load = self.router.load(Worker { worker_id, dp_rank });
                sum.prefill_tokens += load.prefill_tokens as u64;
                sum.active_blocks += load.active_blocks as u64;
                sum.total_blocks += self.total_blocks;
            }
        }
        sum
    }

    /// What prompts have cost the workers lately; `None` until one was computed.
    pub(crate) fn prefill_line(&self) -> Option<PrefillLine> {
        self.prefill.lock().line()
    }

    /// Tokens of the prompt that have to be computed on the worker that has most of it cached.
    pub(crate) fn least_uncached(&self, prompt: &Prompt) -> usize {
        let overlaps = self.router.overlaps(&prompt.blocks);
        // Nobody has less cached than nothing.
        let all = self
            .workers()
            .map(|one| self.uncached(prompt, &overlaps, one));
        all.min().unwrap_or(prompt.tokens)
    }

    /// What the worker that has least to compute with `prompt` would have to do; `None` without
    /// workers.
    pub(crate) fn least_backlog(&self, prompt: &Prompt) -> Option<Backlog> {
        let overlaps = self.router.overlaps(&prompt.blocks);
        let cost = self.prefill_line();
        let backlogs = self.workers().map(|worker| {
            let load = self.router.load(worker);
            Backlog {
                requests_ahead: load.requests,
                tokens: load.prefill_tokens + self.uncached(prompt, &overlaps, worker),
                cost,
            }
        });
        backlogs.min_by_key(|backlog| backlog.tokens)
    }

    /// All ranks of the instances that are there now: the index may also know workers that are
    /// gone, or that this process must not ask.
    fn workers(&self) -> impl Iterator<Item = Worker> {
        let instances = self.instances.current();
        let ids: Vec<u64> = instances.keys().copied().collect();
        let ranks = 0..self.ranks;
        ids.into_iter().flat_map(move |worker_id| {
            ranks
                .clone()
                .map(move |dp_rank| Worker { worker_id, dp_rank })
        })
    }

    fn uncached(&self, prompt: &Prompt, overlaps: &Overlaps, worker: Worker) -> usize {
        let cached = usize::try_from(self.whole_saved_blocks(overlaps.get(worker)))
            .unwrap_or(usize::MAX)
            .saturating_mul(self.block_size());
        prompt.tokens.saturating_sub(cached)
    }

    /// Chooses one of the workers that are `eligible`.
    pub(crate) fn choose_among(
        self: &Arc<Self>,
        choice: WorkerChoice<'_>,
        eligible: &dyn Fn(&Instance) -> bool,
    ) -> Result<Chosen, NoChoice> {
        let instances = self.instances.current();
        let candidates = self.free(&instances, choice.excluded, eligible)?;
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}:{number}", choice.request_id);
        let request = SelectRequest {
            id: &id,
            prompt: choice.prompt,
            overrides: RouterConfigOverride::default(),
            remote_prefill: choice.remote_prefill,
        };
        let selection = self
            .router
            .route(&request, &candidates, Instant::now(), &mut rand::rng())
            .ok_or(NoChoice::Nobody)?;
        log(&selection);
        let Score {
            candidate, overlap, ..
        } = selection.chosen;
        let worker = candidate.worker;
        let instance = instances.get(&worker.worker_id).cloned();
        let instance = instance.ok_or(NoChoice::Nobody)?;
        let now = Instant::now();
        self.quarantine.lock().chosen(worker.worker_id, now);
        if self.replicas.is_some() {
            self.tell_replicas(&id, worker, self.added(&choice, overlap));
        }
        Ok(Chosen {
            instance,
            dp_rank: worker.dp_rank,
            overlap_blocks: overlap.blocks(),
            kv_peer: self.kv_peer(&choice, (worker, overlap), &instances),
            pool: Arc::clone(self),
            id,
            sent: now,
            load: self.router.load(worker),
        })
    }

    /// Whom [`WorkerPool::choose_among`] would choose; the request is not counted.
    pub(crate) fn first_choice(
        &self,
        choice: WorkerChoice<'_>,
        eligible: &dyn Fn(&Instance) -> bool,
    ) -> Result<Instance, NoChoice> {
        let instances = self.instances.current();
        let candidates = self.free(&instances, choice.excluded, eligible)?;
        let request = SelectRequest {
            id: choice.request_id,
            prompt: choice.prompt,
            overrides: RouterConfigOverride::default(),
            remote_prefill: choice.remote_prefill,
        };
        let selection = self
            .router
            .select(&request, &candidates, &mut rand::rng())
            .ok_or(NoChoice::Nobody)?;
        let worker = selection.chosen.candidate.worker.worker_id;
        instances.get(&worker).cloned().ok_or(NoChoice::Nobody)
    }

    /// What the other routers have to know of a request.
    fn added(&self, choice: &WorkerChoice<'_>, overlap: Overlap) -> ActiveSequenceChange {
        let prompt = choice.prompt;
        let tracked = self.router.config().track_active_blocks;
        // A prompt that comes from a prefill worker costs as much as one that is cached.
        let all = prompt.tokens.div_ceil(self.block_size());
        let all = u32::try_from(all).unwrap_or(u32::MAX);
        ActiveSequenceChange::AddRequest {
            token_sequence: tracked.then(|| prompt.sequence.clone()),
            isl: prompt.tokens,
            overlap: if choice.remote_prefill {
                all
            } else {
                self.whole_saved_blocks(overlap)
            },
        }
    }

    /// The blocks that an overlap saves, as other routers want to know it.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most the blocks of a prompt"
    )]
    fn whole_saved_blocks(&self, overlap: Overlap) -> u32 {
        let weights = self.router.config().tier_weights;
        weights.saved_blocks(overlap).round() as u32
    }

    /// The eligible workers that may be chosen and are not busy.
    fn free(
        &self,
        instances: &Instances,
        excluded: &[u64],
        eligible: &dyn Fn(&Instance) -> bool,
    ) -> Result<Vec<WorkerCandidate>, NoChoice> {
        let eligible = instances.values().filter(|instance| eligible(instance));
        let ids = eligible.map(|instance| instance.instance_id);
        self.without_busy(self.candidates(ids, excluded))
    }

    /// Those of `candidates` that are not busy.
    fn without_busy(
        &self,
        candidates: Vec<WorkerCandidate>,
    ) -> Result<Vec<WorkerCandidate>, NoChoice> {
        let Some(busy) = &self.busy else {
            return Ok(candidates);
        };
        let now = Instant::now();
        let (any, is_busy) = (!candidates.is_empty(), |one: &WorkerCandidate| {
            busy.is_busy(one.worker.worker_id, now)
        });
        let free: Vec<_> = candidates.into_iter().filter(|one| !is_busy(one)).collect();
        if any && free.is_empty() {
            return Err(NoChoice::AllBusy);
        }
        Ok(free)
    }

    fn tell_replicas(&self, id: &str, worker: Worker, change: ActiveSequenceChange) {
        if let Some(replicas) = &self.replicas {
            replicas.tell(id, worker, change);
        }
    }

    /// Leaves an instance alone for a while because it did not respond.
    pub(crate) fn inhibit(&self, instance_id: u64) {
        self.quarantine.lock().failed(instance_id, Instant::now());
    }

    /// All instances that may be chosen; those that did not respond only if nothing else is left.
    fn candidates(
        &self,
        instances: impl Iterator<Item = u64>,
        excluded: &[u64],
    ) -> Vec<WorkerCandidate> {
        let now = Instant::now();
        let quarantine = self.quarantine.lock();
        let (down, up): (Vec<u64>, Vec<u64>) = instances
            .filter(|id| !excluded.contains(id))
            .partition(|id| quarantine.holds(*id, now));
        drop(quarantine);
        let ids = if up.is_empty() { down } else { up };
        let ranks = |worker_id| (0..self.ranks).map(move |dp_rank| Worker { worker_id, dp_rank });
        ids.into_iter()
            .flat_map(ranks)
            .map(|worker| WorkerCandidate {
                worker,
                total_blocks: self.total_blocks,
            })
            .collect()
    }
}

impl Chosen {
    /// Notes that the worker has computed the prompt: it responds.
    pub(crate) fn prefill_completed(&self) {
        self.pool.router.mark_prefill_completed(&self.id);
        let worker = self.instance.instance_id;
        self.pool.quarantine.lock().responded(worker);
        let after = self.sent.elapsed();
        self.pool
            .prefill
            .lock()
            .observe(self.load.prefill_tokens, after);
        self.tell_replicas(ActiveSequenceChange::MarkPrefillCompleted);
    }

    /// What was on the worker when it was chosen, and what the request adds.
    pub(crate) fn backlog(&self) -> Backlog {
        Backlog {
            requests_ahead: self.load.requests.saturating_sub(1),
            tokens: self.load.prefill_tokens,
            cost: self.pool.prefill_line(),
        }
    }

    /// Whether discovery still knows the worker.
    pub(crate) fn is_registered(&self) -> bool {
        let instances = self.pool.instances.current();
        instances.contains_key(&self.instance.instance_id)
    }

    fn tell_replicas(&self, change: ActiveSequenceChange) {
        let worker = Worker {
            worker_id: self.instance.instance_id,
            dp_rank: self.dp_rank,
        };
        self.pool.tell_replicas(&self.id, worker, change);
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.pool.router.free(&self.id);
        self.tell_replicas(ActiveSequenceChange::Free);
    }
}

/// The lines that say why a worker was chosen, in the words that Dynamo's users grep for.
fn log(selection: &Selection) {
    for score in &selection.scores {
        info!("{}", score.formula());
    }
    info!("{}", selection.summary());
}
