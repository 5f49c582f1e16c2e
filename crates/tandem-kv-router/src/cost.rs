//! What it would cost to send a request to a worker. Lower is better.

use std::fmt;

use crate::load::WorkerLoad;

/// How much the work that a request causes counts beyond the request's own wait, in
/// [`CostModel::TimeToFirstToken`]: later requests wait for it, too.
const WORK_WEIGHT: f64 = 3.0;

/// How much a block in use counts in [`CostModel::TimeToFirstToken`]: enough to tell workers
/// apart that would answer equally soon.
const DECODE_WEIGHT: f64 = 0.1;

/// What the cost of a worker stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CostModel {
    /// Dynamo 0.6.1's: `weight * prefill_blocks + decode_blocks`.
    #[default]
    Blocks,
    /// How soon the first token would come, and how much work that takes from others:
    /// `weight * (prefill_blocks + 3.0 * uncached_blocks) + 0.1 * decode_blocks`.
    TimeToFirstToken,
}

/// Cost of one worker for one request, with its terms. Displays as the sum that it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// What the terms add up to.
    pub model: CostModel,
    /// Weight of the prefill term.
    pub overlap_weight: f64,
    /// Blocks' worth of prompt tokens to compute, queued ones included.
    pub prefill_blocks: f64,
    /// Those of this request alone.
    pub uncached_blocks: f64,
    /// Blocks in use, this request's included.
    pub decode_blocks: f64,
}

impl Cost {
    /// Cost of a worker whose load would be `potential` with this request, which it would have to
    /// compute `uncached_tokens` for.
    #[allow(
        clippy::cast_precision_loss,
        reason = "token and block counts are far below 2^52"
    )]
    pub(crate) fn new(
        model: CostModel,
        overlap_weight: f64,
        block_size: usize,
        potential: WorkerLoad,
        uncached_tokens: usize,
    ) -> Self {
        let blocks = |tokens: usize| tokens as f64 / block_size as f64;
        Self {
            model,
            overlap_weight,
            prefill_blocks: blocks(potential.prefill_tokens),
            uncached_blocks: blocks(uncached_tokens),
            decode_blocks: potential.active_blocks as f64,
        }
    }

    /// The number that workers are compared by; lower is better.
    pub fn logit(&self) -> f64 {
        match self.model {
            CostModel::Blocks => self.overlap_weight * self.prefill_blocks + self.decode_blocks,
            CostModel::TimeToFirstToken => {
                let prefill = self.prefill_blocks + WORK_WEIGHT * self.uncached_blocks;
                self.overlap_weight * prefill + DECODE_WEIGHT * self.decode_blocks
            }
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            overlap_weight: weight,
            prefill_blocks: prefill,
            uncached_blocks: uncached,
            decode_blocks: decode,
            ..
        } = self;
        let logit = self.logit();
        match self.model {
            CostModel::Blocks => write!(
                f,
                "{logit:.3} = {weight:.1} * prefill_blocks + decode_blocks = {weight:.1} * {prefill:.3} + {decode:.3}"
            ),
            CostModel::TimeToFirstToken => write!(
                f,
                "{logit:.3} = {weight:.1} * (prefill_blocks + {WORK_WEIGHT:.1} * uncached_blocks) + {DECODE_WEIGHT:.1} * decode_blocks = {weight:.1} * ({prefill:.3} + {WORK_WEIGHT:.1} * {uncached:.3}) + {DECODE_WEIGHT:.1} * {decode:.3}"
            ),
        }
    }
}
