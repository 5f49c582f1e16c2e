//! Who can be chosen.

use std::fmt;

/// One cache and one queue: a data-parallel rank of a worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Worker {
    /// Instance id of the process.
    pub worker_id: u64,
    /// Data-parallel rank inside it.
    pub dp_rank: u32,
}

impl Worker {
    /// Rank 0 of a process.
    pub const fn new(worker_id: u64) -> Self {
        Self {
            worker_id,
            dp_rank: 0,
        }
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker_id={} dp_rank={}", self.worker_id, self.dp_rank)
    }
}

/// A worker that may be chosen for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerCandidate {
    /// Who.
    pub worker: Worker,
    /// Capacity of its KV cache in blocks, as its model card says; 0 when unknown.
    pub total_blocks: u64,
}
