//! Tells frontends how busy the worker is.

use std::sync::Arc;
use std::time::Duration;

use tandem_protocol::load::{KvStats, LoadFigures, LoadReport, WorkerStats};
use tandem_runtime::Messaging;
use tokio::time::{Instant, MissedTickBehavior};

use crate::engine::{Engine, EngineLoad};

/// How often the engine is looked at.
const INTERVAL: Duration = Duration::from_millis(100);
/// How often frontends that came later are told what has not changed.
const REPEAT: Duration = Duration::from_secs(5);

/// Subject for the load of every worker of `namespace`.
fn subject(namespace: &str) -> String {
    format!("namespace.{namespace}.kv_metrics")
}

/// Publishes the load whenever it has changed, for as long as it is polled.
pub(crate) async fn publish(
    engine: Arc<dyn Engine>,
    messaging: Arc<dyn Messaging>,
    namespace: String,
    worker_id: u64,
) {
    let subject = subject(&namespace);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Vec<Option<(LoadReport, Instant)>> = Vec::new();
    loop {
        ticks.tick().await;
        let loads = engine.loads();
        told.resize(loads.len(), None);
        for (rank, (load, told)) in loads.iter().zip(&mut told).enumerate() {
            let report = LoadReport {
                worker_id,
                data: figures(rank, load, engine.info().max_sequences),
            };
            let fresh = told
                .as_ref()
                .is_some_and(|(last, at)| *last == report && at.elapsed() < REPEAT);
            if fresh {
                continue;
            }
            let payload = serde_json::to_vec(&report).expect("wire types have string keys only");
            // If it is lost, the next one is as good.
            if messaging.publish(&subject, payload.into()).await.is_ok() {
                *told = Some((report, Instant::now()));
            }
        }
    }
}

fn figures(rank: usize, load: &EngineLoad, max_sequences: usize) -> LoadFigures {
    LoadFigures {
        worker_stats: WorkerStats {
            data_parallel_rank: u32::try_from(rank).ok(),
            request_active_slots: load.running as u64,
            request_total_slots: max_sequences as u64,
            num_requests_waiting: load.waiting as u64,
        },
        kv_stats: KvStats {
            kv_active_blocks: load.active_blocks as u64,
            kv_total_blocks: load.total_blocks as u64,
            gpu_cache_usage_perc: load.kv_usage(),
            gpu_prefix_cache_hit_rate: load.prefix_hit_rate(),
        },
        spec_decode_stats: None,
    }
}
