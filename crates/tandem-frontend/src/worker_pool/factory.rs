//! Makes pools of workers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tandem_kv_router::{IndexConfig, KvRouter, RouterConfig, RouterMode as KvRouterMode};
use tandem_runtime::{Discovery, EndpointId, InstanceWatch, Lifecycle, Messaging, RequestPlane};
use tandem_tokenizer::ModelCard;
use tandem_tokenizer::model_card::ModelType;
use tracing::warn;

use super::WorkerPool;
use crate::busy::BusyMonitor;
use crate::config::{RouterMode, RoutingArgs};
use crate::kv_feed;
use crate::replica_sync;
use crate::server::Planes;

/// Makes pools: holds what all of them share.
#[derive(Clone)]
pub(crate) struct PoolFactory {
    /// Where instances are found.
    pub discovery: Arc<dyn Discovery>,
    /// Where KV events come from.
    pub messaging: Arc<dyn Messaging>,
    /// How instances are called.
    pub plane: Arc<dyn RequestPlane>,
    /// How workers are chosen; the block size is each pool's.
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

/// What the workers of a pool have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerKind {
    /// Tokens per KV block.
    pub block_size: usize,
    /// KV blocks of each; 0 if that is not known.
    pub total_blocks: u64,
    /// Data-parallel ranks of each.
    pub ranks: u32,
    /// Whether they only compute prompts.
    pub prefill: bool,
}

impl From<&ModelCard> for WorkerKind {
    fn from(card: &ModelCard) -> Self {
        let block_size = usize::try_from(card.kv_cache_block_size).unwrap_or(usize::MAX);
        Self {
            block_size: block_size.max(1),
            total_blocks: card.runtime_config.total_kv_blocks.unwrap_or(0),
            ranks: card.runtime_config.data_parallel_size.unwrap_or(1).max(1),
            prefill: card.model_type.contains(ModelType::PREFILL),
        }
    }
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

    /// A pool of the instances of `endpoint`, which are all of this kind.
    pub(crate) fn start(&self, endpoint: &EndpointId, kind: WorkerKind) -> Arc<WorkerPool> {
        let lifecycle = self.lifecycle.child();
        let config = RouterConfig {
            block_size: kind.block_size,
            // A prefill worker holds no running sequences, so decode blocks say nothing about it.
            track_active_blocks: self.router.track_active_blocks && !kind.prefill,
            index: bounded(self.router.index, kind.total_blocks),
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
            total_blocks: kind.total_blocks,
            ranks: kind.ranks,
            instances: InstanceWatch::start(&*self.discovery, endpoint, &lifecycle),
            router: KvRouter::new(config),
            quarantine: Mutex::default(),
            busy,
            replicas,
            next_request: AtomicU64::new(0),
            prefill: Mutex::default(),
            bootstraps: Mutex::default(),
            kv_peers: Default::default(),
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
