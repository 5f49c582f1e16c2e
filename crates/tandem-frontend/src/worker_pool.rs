//! The workers of one endpoint: who is there, what they have cached, how busy they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tandem_kv_router::{
    IndexConfig, KvRouter, Prompt, RouterConfig, RouterMode as KvRouterMode, Score, SelectRequest,
    Selection, Worker, WorkerCandidate,
};
use tandem_protocol::engine::RouterConfigOverride;
use tandem_protocol::load::ActiveSequenceChange;
use tandem_runtime::instances::Instances;
use tandem_runtime::{
    Discovery, EndpointId, Instance, InstanceWatch, Lifecycle, Messaging, RequestPlane,
};
use tandem_tokenizer::ModelCard;
use tandem_tokenizer::model_card::ModelType;
use tracing::{info, warn};

use crate::busy::BusyMonitor;
use crate::config::{RouterMode, RoutingArgs};
use crate::error::FrontendError;
use crate::kv_feed;
use crate::replica_sync::{self, ReplicaSync};
use crate::server::Planes;

/// How long an instance that did not respond is left alone.
const INHIBITED: Duration = Duration::from_secs(5);

/// Makes pools: holds what all of them share.
#[derive(Clone)]
pub(crate) struct PoolFactory {
    /// Where instances are found.
    pub discovery: Arc<dyn Discovery>,
    /// Where KV events come from.
    pub messaging: Arc<dyn Messaging>,
    /// How instances are called.
    pub plane: Arc<dyn RequestPlane>,
    /// How workers are chosen; the block size is the model card's.
    pub router: RouterConfig,
    /// Whether workers' KV events are used.
    pub kv_events: bool,
    /// Share of KV blocks in use above which a worker is busy.
    pub busy_threshold: Option<f64>,
    /// Whether routers tell each other of their requests.
    pub replica_sync: bool,
    /// Parent of every pool.
    pub lifecycle: Lifecycle,
}

/// What a KV router tells about itself, in Dynamo 0.6.1's form.
#[derive(Debug, Serialize)]
struct RouterRecord {
    overlap_score_weight: f64,
    router_temperature: f64,
    use_kv_events: bool,
    router_replica_sync: bool,
    router_track_active_blocks: bool,
    router_snapshot_threshold: u64,
    router_reset_states: bool,
}

impl RouterRecord {
    const fn new(config: &RouterConfig, use_kv_events: bool, replica_sync: bool) -> Self {
        Self {
            overlap_score_weight: config.overlap_score_weight,
            router_temperature: config.temperature,
            use_kv_events,
            router_replica_sync: replica_sync,
            router_track_active_blocks: config.track_active_blocks,
            router_snapshot_threshold: 1_000_000,
            router_reset_states: false,
        }
    }

    fn to_json(&self) -> Bytes {
        serde_json::to_vec_pretty(self)
            .expect("a struct of numbers and booleans")
            .into()
    }
}

/// The workers of one endpoint.
pub(crate) struct WorkerPool {
    endpoint: EndpointId,
    total_blocks: u64,
    /// Data-parallel ranks of each worker.
    ranks: u32,
    instances: InstanceWatch,
    router: KvRouter,
    inhibited: Mutex<HashMap<u64, Instant>>,
    busy: Option<Arc<BusyMonitor>>,
    replicas: Option<ReplicaSync>,
    next_request: AtomicU64,
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
    pool: Arc<WorkerPool>,
    id: String,
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

impl PoolFactory {
    /// Pools that choose as `args` say and reach their workers over `planes`.
    pub(crate) fn new(args: &RoutingArgs, planes: &Planes, lifecycle: &Lifecycle) -> Self {
        let by_kv = args.router_mode == RouterMode::Kv;
        Self {
            discovery: Arc::clone(&planes.discovery),
            messaging: Arc::clone(&planes.messaging),
            plane: Arc::clone(&planes.requests),
            router: args.router_config(),
            kv_events: !args.no_kv_events && by_kv,
            busy_threshold: args.busy_threshold,
            replica_sync: args.router_replica_sync && by_kv,
            lifecycle: lifecycle.clone(),
        }
    }

    /// A pool of the instances of `endpoint`, all of which serve the model of `card`.
    pub(crate) fn start(&self, endpoint: &EndpointId, card: &ModelCard) -> Arc<WorkerPool> {
        let lifecycle = self.lifecycle.child();
        let prefill = card.model_type.contains(ModelType::PREFILL);
        let total_blocks = card.runtime_config.total_kv_blocks.unwrap_or(0);
        let block_size = usize::try_from(card.kv_cache_block_size).unwrap_or(usize::MAX);
        let config = RouterConfig {
            block_size: block_size.max(1),
            // A prefill worker holds no running sequences, so decode blocks say nothing about it.
            track_active_blocks: self.router.track_active_blocks && !prefill,
            index: bounded(self.router.index, total_blocks),
            ..self.router
        };
        let router_id = uuid::Uuid::new_v4().to_string();
        let (replicas, peers) = if self.replica_sync {
            let (replicas, peers) = replica_sync::channel(&router_id);
            (Some(replicas), Some(peers))
        } else {
            (None, None)
        };
        let busy = self.busy_threshold.map(|threshold| {
            let monitor = Arc::new(BusyMonitor::new(threshold));
            let messaging = Arc::clone(&self.messaging);
            Arc::clone(&monitor).start(messaging, &endpoint.namespace, &lifecycle);
            monitor
        });
        let pool = Arc::new(WorkerPool {
            endpoint: endpoint.clone(),
            total_blocks,
            ranks: card.runtime_config.data_parallel_size.unwrap_or(1).max(1),
            instances: InstanceWatch::start(&*self.discovery, endpoint, &lifecycle),
            router: KvRouter::new(config),
            inhibited: Mutex::new(HashMap::new()),
            busy,
            replicas,
            next_request: AtomicU64::new(0),
            lifecycle: lifecycle.clone(),
        });
        if let Some(peers) = peers {
            peers.start(Arc::clone(&self.messaging), Arc::clone(&pool), &lifecycle);
        }
        if self.kv_events {
            kv_feed::start(self, &pool, &router_id, &lifecycle);
        }
        if self.router.mode == KvRouterMode::Kv {
            self.register(&pool, &router_id, &lifecycle);
        }
        pool
    }

    /// Tells other routers of this one, and of its reader of the workers' events.
    fn register(&self, pool: &WorkerPool, router_id: &str, lifecycle: &Lifecycle) {
        let key = pool.endpoint.kv_router_key(router_id);
        let record = RouterRecord::new(pool.router.config(), self.kv_events, self.replica_sync);
        let discovery = Arc::clone(&self.discovery);
        let stopping = lifecycle.stopping().clone();
        lifecycle.spawn_to_end(async move {
            let registered = discovery.put(key.clone(), record.to_json());
            match stopping.run_until_cancelled(registered).await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => warn!(%key, %error, "failed to register the KV router"),
            }
            stopping.cancelled().await;
            // The lease takes the key along if this does not.
            drop(discovery.delete(&key).await);
        });
    }
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

    /// The instances now.
    pub(crate) fn instances(&self) -> InstanceWatch {
        self.instances.clone()
    }

    /// Tokens per KV block.
    pub(crate) fn block_size(&self) -> usize {
        self.router.config().block_size
    }

    /// Stops following the workers.
    pub(crate) fn stop(&self) {
        self.lifecycle.stopping().cancel();
    }

    /// The index and load of the workers.
    pub(crate) fn router(&self) -> &KvRouter {
        &self.router
    }

    /// Tokens of the prompt that have to be computed on the worker that has most of it cached.
    pub(crate) fn least_uncached(&self, prompt: &Prompt) -> usize {
        let instances = self.instances.current();
        let overlaps = self.router.overlaps(&prompt.blocks);
        // The index may also know workers that are gone, or that this process must not ask.
        let reachable = |worker: &Worker| instances.contains_key(&worker.worker_id);
        let overlaps = overlaps.iter().filter(|(worker, _)| reachable(worker));
        let blocks = overlaps.map(|(_, blocks)| blocks).max().unwrap_or(0);
        let cached = usize::try_from(blocks)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.block_size());
        prompt.tokens.saturating_sub(cached)
    }

    /// Chooses a worker.
    pub(crate) fn choose(self: &Arc<Self>, choice: WorkerChoice<'_>) -> Result<Chosen, NoChoice> {
        self.choose_among(choice, &|_| true)
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
            candidate,
            overlap_blocks,
            ..
        } = selection.chosen;
        let worker = candidate.worker;
        let instance = instances.get(&worker.worker_id).cloned();
        let instance = instance.ok_or(NoChoice::Nobody)?;
        if self.replicas.is_some() {
            self.tell_replicas(&id, worker, self.added(&choice, overlap_blocks));
        }
        Ok(Chosen {
            instance,
            dp_rank: worker.dp_rank,
            overlap_blocks,
            pool: Arc::clone(self),
            id,
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
    fn added(&self, choice: &WorkerChoice<'_>, overlap_blocks: u32) -> ActiveSequenceChange {
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
                overlap_blocks
            },
        }
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
        self.inhibited
            .lock()
            .insert(instance_id, Instant::now() + INHIBITED);
    }

    /// All instances that may be chosen; those that are inhibited only if nothing else is left.
    fn candidates(
        &self,
        instances: impl Iterator<Item = u64>,
        excluded: &[u64],
    ) -> Vec<WorkerCandidate> {
        let now = Instant::now();
        let mut inhibited = self.inhibited.lock();
        inhibited.retain(|_, until| *until > now);
        let (down, up): (Vec<u64>, Vec<u64>) = instances
            .filter(|id| !excluded.contains(id))
            .partition(|id| inhibited.contains_key(id));
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
    /// Notes that the worker has computed the prompt.
    pub(crate) fn prefill_completed(&self) {
        self.pool.router.mark_prefill_completed(&self.id);
        self.tell_replicas(ActiveSequenceChange::MarkPrefillCompleted);
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

/// An index that believes no worker to hold more than twice its capacity, where that is known:
/// events that remove blocks may come late.
fn bounded(index: IndexConfig, total_blocks: u64) -> IndexConfig {
    let twice = usize::try_from(total_blocks.saturating_mul(2)).unwrap_or(usize::MAX);
    match index {
        IndexConfig::Events { .. } if total_blocks > 0 => IndexConfig::Events {
            max_blocks_per_worker: twice,
        },
        other => other,
    }
}

/// The lines that say why a worker was chosen, in the words that Dynamo's users grep for.
fn log(selection: &Selection) {
    for score in &selection.scores {
        info!("{}", score.formula());
    }
    info!("{}", selection.summary());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_record_has_the_captured_form() {
        let record = RouterRecord::new(&RouterConfig::new(16), true, false).to_json();
        let captured = r#"{
  "overlap_score_weight": 1.0,
  "router_temperature": 0.0,
  "use_kv_events": true,
  "router_replica_sync": false,
  "router_track_active_blocks": true,
  "router_snapshot_threshold": 1000000,
  "router_reset_states": false
}"#;
        assert_eq!(record, captured);
    }
}
