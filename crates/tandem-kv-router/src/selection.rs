//! Which worker was chosen, and why.

use crate::WorkerCandidate;
use crate::cost::Cost;
use crate::index::Overlap;

/// The chosen worker, and what was weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The chosen one.
    pub chosen: Score,
    /// Every candidate in the order given, in mode [`crate::RouterMode::Kv`]; else empty.
    pub scores: Vec<Score>,
}

/// What the router knows about one candidate for one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Who.
    pub candidate: WorkerCandidate,
    /// What it has cached of the prompt's prefix.
    pub overlap: Overlap,
    /// What the request would cost there.
    pub cost: Cost,
}

impl Score {
    /// The log line that explains the cost, in Dynamo 0.6.1's words.
    pub fn formula(&self) -> String {
        let Self {
            candidate,
            overlap,
            cost,
        } = self;
        let overlap_blocks = overlap.blocks();
        let worker = candidate.worker;
        format!("Formula for {worker} with {overlap_blocks} cached blocks: {cost}")
    }
}

impl Selection {
    /// The log line that names the choice, in Dynamo 0.6.1's words.
    pub fn summary(&self) -> String {
        let Score {
            candidate,
            overlap,
            cost,
        } = self.chosen;
        let overlap_blocks = overlap.blocks();
        format!(
            "Selected worker: {}, logit: {:.3}, cached blocks: {overlap_blocks}, total blocks: {}",
            candidate.worker,
            cost.logit(),
            candidate.total_blocks,
        )
    }
}
