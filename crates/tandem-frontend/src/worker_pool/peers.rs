//! Workers that give their KV blocks to others of their pool.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tandem_kv_router::{Overlap, Worker};
use tandem_protocol::engine::KvPeer;
use tandem_runtime::instances::Instances;

use super::{WorkerChoice, WorkerPool};

/// How many blocks more than the chosen worker another one must have to be worth asking.
const LEAST_GAIN: u32 = 4;

impl WorkerPool {
    /// Replaces what is known of where workers give blocks away.
    pub(crate) fn set_kv_peers(&self, addresses: HashMap<u64, String>) {
        self.kv_peers.store(Arc::new(addresses));
    }

    /// The worker that has most of the prompt in memory, if the one that was chosen can have it from
    /// there: of several, the one with least to do.
    pub(super) fn kv_peer(
        &self,
        choice: &WorkerChoice<'_>,
        (chosen, here): (Worker, Overlap),
        instances: &Instances,
    ) -> Option<KvPeer> {
        let addresses = self.kv_peers.load();
        let shares = addresses.contains_key(&chosen.worker_id);
        if choice.remote_prefill || addresses.len() < 2 || !shares {
            return None;
        }
        let now = Instant::now();
        let answers = |id: u64| {
            id != chosen.worker_id
                && instances.contains_key(&id)
                && !choice.excluded.contains(&id)
                && !self.quarantine.lock().holds(id, now)
        };
        let overlaps = self.router.overlaps(&choice.prompt.blocks);
        let peers = overlaps.iter().filter_map(|(worker, overlap)| {
            let address = addresses.get(&worker.worker_id)?;
            let blocks = overlap.device + overlap.host;
            let worth = blocks >= here.blocks() + LEAST_GAIN && answers(worker.worker_id);
            worth.then_some((worker, blocks, address))
        });
        let best = peers.min_by_key(|&(worker, blocks, _)| {
            let load = self.router.load(worker);
            (Reverse(blocks), load.prefill_tokens, load.active_blocks)
        });
        best.map(|(_, blocks, address)| KvPeer {
            address: address.clone(),
            blocks,
        })
    }
}
