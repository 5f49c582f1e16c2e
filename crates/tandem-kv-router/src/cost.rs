//! What it would cost to send a request to a worker: Dynamo 0.6.1's formula.
//!
//! The cost counts blocks: those still to compute on the worker, weighted, plus those in use
//! there. Lower is better.

use crate::load::WorkerLoad;

/// Cost of one worker for one request, with its terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Weight of the prefill term.
    pub overlap_weight: f64,
    /// Blocks' worth of prompt tokens to compute, queued ones included.
    pub prefill_blocks: f64,
    /// Blocks in use, this request's included.
    pub decode_blocks: f64,
}

impl Cost {
    /// Cost of a worker whose load would be `potential` with this request on it.
    #[allow(
        clippy::cast_precision_loss,
        reason = "token and block counts are far below 2^52"
    )]
    pub fn new(overlap_weight: f64, block_size: usize, potential: WorkerLoad) -> Self {
        Self {
            overlap_weight,
            prefill_blocks: potential.prefill_tokens as f64 / block_size as f64,
            decode_blocks: potential.active_blocks as f64,
        }
    }

    /// The number that workers are compared by; lower is better.
    pub fn logit(&self) -> f64 {
        self.overlap_weight * self.prefill_blocks + self.decode_blocks
    }
}
