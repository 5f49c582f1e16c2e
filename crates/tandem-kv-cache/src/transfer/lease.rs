//! Blocks that wait to be fetched: pinned until somebody has them or a deadline passes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::Ticket;
use crate::block::BlockId;
use crate::cache::BlockCache;
use crate::store::BlockData;

/// The blocks that this worker holds for others.
#[derive(Debug)]
pub struct LeaseTable {
    cache: Arc<BlockCache>,
    fingerprint: String,
    address: String,
    duration: Duration,
    leases: Mutex<FxHashMap<String, Lease>>,
}

#[derive(Debug)]
struct Lease {
    blocks: Vec<BlockId>,
    data: Vec<BlockData>,
    deadline: Instant,
}

impl LeaseTable {
    /// An empty table. `address` is where other workers reach [`serve`](super::serve),
    /// `duration` how long a lease lasts, `fingerprint` identifies model and block shape.
    pub fn new(
        cache: Arc<BlockCache>,
        fingerprint: String,
        address: String,
        duration: Duration,
    ) -> Self {
        Self {
            cache,
            fingerprint,
            address,
            duration,
            leases: Mutex::default(),
        }
    }

    /// Holds `blocks` with their numbers for whoever has the ticket. Takes over one reference of
    /// each block.
    pub fn grant(&self, blocks: Vec<(BlockId, BlockData)>, tokens: usize, now: Instant) -> Ticket {
        let handle = Uuid::new_v4().simple().to_string();
        let ticket = Ticket {
            address: self.address.clone(),
            handle: handle.clone(),
            fingerprint: self.fingerprint.clone(),
            tokens,
            blocks: blocks.len(),
        };
        let (blocks, data) = blocks.into_iter().unzip();
        let deadline = now + self.duration;
        let lease = Lease {
            blocks,
            data,
            deadline,
        };
        self.leases.lock().insert(handle, lease);
        ticket
    }

    /// Releases what was not fetched in time and returns how many leases that were.
    pub fn expire(&self, now: Instant) -> usize {
        let expired: Vec<_> = {
            let mut leases = self.leases.lock();
            leases
                .extract_if(|_, lease| lease.deadline <= now)
                .collect()
        };
        for (_, lease) in &expired {
            self.unpin(lease);
        }
        expired.len()
    }

    /// Leases that are neither fetched nor expired.
    pub fn outstanding(&self) -> usize {
        self.leases.lock().len()
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The numbers under a lease. They stay valid even if the lease ends meanwhile.
    pub(super) fn read(&self, handle: &str) -> Option<Vec<BlockData>> {
        let leases = self.leases.lock();
        leases.get(handle).map(|lease| lease.data.clone())
    }

    pub(super) fn release(&self, handle: &str) {
        let lease = self.leases.lock().remove(handle);
        if let Some(lease) = lease {
            self.unpin(&lease);
        }
    }

    fn unpin(&self, lease: &Lease) {
        self.cache.update(|pool| pool.release_all(&lease.blocks));
    }
}
