//! Settings of a router.

use std::time::Duration;

use crate::cost::CostModel;
use crate::index::{ApproximateConfig, Overlap};

/// Settings of a router.
#[derive(Debug, Clone, Copy)]
pub struct RouterConfig {
    /// How workers are picked.
    pub mode: RouterMode,
    /// Tokens per block, as the workers publish them.
    pub block_size: usize,
    /// What the cost of a worker stands for.
    pub cost: CostModel,
    /// Weight of the prefill term of the cost; larger favours workers that have the prefix.
    pub overlap_score_weight: f64,
    /// What cached blocks outside the device save.
    pub tier_weights: TierWeights,
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
            cost: CostModel::Blocks,
            overlap_score_weight: 1.0,
            tier_weights: TierWeights::DYNAMO,
            temperature: 0.0,
            track_active_blocks: true,
            index: IndexConfig::Events {
                max_blocks_per_worker: usize::MAX,
            },
            request_expiry: Duration::from_secs(300),
        }
    }
}

/// What a cached block saves, by where the worker has it: 1 is as much as one on the device, which
/// only has to be read, 0 is nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TierWeights {
    /// Of a block in the host's memory.
    pub host: f64,
    /// Of a block on disk.
    pub disk: f64,
}

impl TierWeights {
    /// Dynamo 1.6.1's defaults.
    pub const DYNAMO: Self = Self {
        host: 0.75,
        disk: 0.25,
    };

    /// Blocks' worth of computation that an overlap saves.
    pub fn saved_blocks(self, overlap: Overlap) -> f64 {
        f64::from(overlap.device)
            + self.host * f64::from(overlap.host)
            + self.disk * f64::from(overlap.disk)
    }
}

/// How the router picks a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RouterMode {
    /// By prefix overlap and load.
    #[default]
    Kv,
    /// Each in turn.
    RoundRobin,
    /// Any, with equal chance.
    Random,
    /// The one with fewer requests in flight out of two random ones.
    PowerOfTwo,
    /// One with the fewest requests in flight.
    LeastLoaded,
}
