//! What tiers did.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tandem_protocol::kv::StorageTier;

use super::TierFailure;

/// Figures of one tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierFigures {
    /// Which tier.
    pub tier: StorageTier,
    /// Blocks in it.
    pub blocks: usize,
    /// Blocks that fit.
    pub capacity: usize,
    /// Blocks that came in.
    pub stored: u64,
    /// Blocks that gave way to others.
    pub evicted: u64,
    /// Blocks that went back to the device.
    pub onboarded: u64,
    /// What failed, by reason. Each failure costs a computation and nothing else.
    pub failures: BTreeMap<&'static str, u64>,
}

/// Counts what one tier does.
#[derive(Debug)]
pub(super) struct TierCounters {
    tier: StorageTier,
    stored: AtomicU64,
    evicted: AtomicU64,
    onboarded: AtomicU64,
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

impl TierCounters {
    pub(super) fn new(tier: StorageTier) -> Self {
        Self {
            tier,
            stored: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            onboarded: AtomicU64::new(0),
            failures: Mutex::default(),
        }
    }

    pub(super) fn stored(&self, count: usize, evicted: usize) {
        self.stored.fetch_add(count as u64, Ordering::Relaxed);
        self.evicted.fetch_add(evicted as u64, Ordering::Relaxed);
    }

    pub(super) fn onboarded(&self, count: usize) {
        self.onboarded.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts blocks that failed. Only the first failure of its kind is worth a warning: a broken
    /// disk fails often.
    pub(super) fn fail(&self, failure: TierFailure, blocks: usize) {
        if blocks == 0 {
            return;
        }
        let reason = failure.reason();
        let first = {
            let mut failures = self.failures.lock();
            let count = failures.entry(reason).or_default();
            let first = *count == 0;
            *count += blocks as u64;
            first
        };
        let tier = self.tier;
        if first && !failure.is_usual() {
            tracing::warn!(
                ?tier,
                reason,
                "a kv tier failed, blocks are computed instead"
            );
        } else {
            tracing::debug!(?tier, reason, "a kv tier failed");
        }
    }

    pub(super) fn figures(&self, blocks: usize, capacity: usize) -> TierFigures {
        TierFigures {
            tier: self.tier,
            blocks,
            capacity,
            stored: self.stored.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            onboarded: self.onboarded.load(Ordering::Relaxed),
            failures: self.failures.lock().clone(),
        }
    }
}
