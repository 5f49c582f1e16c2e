//! What workers and routers tell each other about load, in the JSON forms of Dynamo 0.6.1.

use serde::{Deserialize, Serialize};

use crate::kv::SequenceHash;

/// How busy a worker is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Instance id of the worker.
    pub worker_id: u64,
    /// Its figures.
    pub data: LoadFigures,
}

/// The figures of a [`LoadReport`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadFigures {
    /// Requests.
    pub worker_stats: WorkerStats,
    /// KV blocks.
    pub kv_stats: KvStats,
    /// Speculative decoding; no engine of ours does it.
    #[serde(default)]
    pub spec_decode_stats: Option<serde_json::Value>,
}

/// A worker's requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// Which rank of the worker; absent means 0.
    #[serde(default)]
    pub data_parallel_rank: Option<u32>,
    /// Sequences at work.
    pub request_active_slots: u64,
    /// Most sequences at work.
    pub request_total_slots: u64,
    /// Requests that wait.
    pub num_requests_waiting: u64,
}

/// A worker's KV blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KvStats {
    /// Blocks in use.
    pub kv_active_blocks: u64,
    /// Blocks.
    pub kv_total_blocks: u64,
    /// Share of the blocks in use, 0 to 1.
    pub gpu_cache_usage_perc: f64,
    /// Share of the prompt tokens whose KV was reused, 0 to 1.
    pub gpu_prefix_cache_hit_rate: f64,
}

/// What one router tells the others about a request that it has sent somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveSequenceEvent {
    /// The request.
    pub request_id: String,
    /// Where it was sent.
    pub worker: WorkerRank,
    /// What happened.
    pub data: ActiveSequenceChange,
    /// Which router tells it.
    pub router_id: String,
}

/// A data-parallel rank of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRank {
    /// Instance id of the worker.
    pub worker_id: u64,
    /// Rank inside it.
    #[serde(default)]
    pub dp_rank: u32,
}

/// What happened to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActiveSequenceChange {
    /// It was sent to the worker.
    AddRequest {
        /// Chained hashes of the prompt's full blocks; absent if blocks are not tracked.
        token_sequence: Option<Vec<SequenceHash>>,
        /// Tokens in the prompt.
        isl: usize,
        /// Blocks of the prompt that the worker has cached.
        overlap: u32,
    },
    /// Its prompt is computed.
    MarkPrefillCompleted,
    /// It has ended.
    Free,
}

/// How much of a prompt the chosen worker had cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvHitRate {
    /// Instance id of the worker.
    pub worker_id: u64,
    /// Rank inside it.
    pub dp_rank: u32,
    /// Blocks of the prompt, the last, partial one included.
    pub isl_blocks: usize,
    /// Blocks that the worker has cached.
    pub overlap_blocks: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(captured: &str) -> T
    where
        T: Serialize + for<'de> Deserialize<'de>,
    {
        let value: T = serde_json::from_str(captured).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), captured);
        value
    }

    #[test]
    fn messages_have_the_captured_form() {
        let report: LoadReport = check(
            r#"{"worker_id":1331554858061082119,"data":{"worker_stats":{"data_parallel_rank":0,"request_active_slots":1,"request_total_slots":1024,"num_requests_waiting":0},"kv_stats":{"kv_active_blocks":2,"kv_total_blocks":512,"gpu_cache_usage_perc":0.00390625,"gpu_prefix_cache_hit_rate":0.0},"spec_decode_stats":null}}"#,
        );
        assert_eq!(report.data.kv_stats.kv_active_blocks, 2);
        let added: ActiveSequenceEvent = check(
            r#"{"request_id":"7905394b-3883-4a8d-8236-3e9fce1d7be9","worker":{"worker_id":1331554858061082119,"dp_rank":0},"data":{"AddRequest":{"token_sequence":[5769678137468063586],"isl":24,"overlap":0}},"router_id":"54d0c253-e13d-4bd6-864d-8ca5f134beae"}"#,
        );
        assert!(matches!(
            added.data,
            ActiveSequenceChange::AddRequest { isl: 24, .. }
        ));
        for change in ["MarkPrefillCompleted", "Free"] {
            let captured = format!(
                r#"{{"request_id":"7905394b-3883-4a8d-8236-3e9fce1d7be9","worker":{{"worker_id":1331554858061082119,"dp_rank":0}},"data":"{change}","router_id":"54d0c253-e13d-4bd6-864d-8ca5f134beae"}}"#
            );
            check::<ActiveSequenceEvent>(&captured);
        }
        check::<KvHitRate>(
            r#"{"worker_id":1331554858061082119,"dp_rank":0,"isl_blocks":2,"overlap_blocks":0}"#,
        );
    }
}
