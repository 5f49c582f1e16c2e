//! Blocks in the host's memory: what the device had no room for any more.

use rustc_hash::FxHashMap;
use tandem_protocol::kv::SequenceHash;

use super::residents::Residents;
use crate::block::BlockIdentity;
use crate::store::BlockData;

/// A bounded number of blocks.
///
/// A device whose memory is the host's gives its blocks' memory over instead of copying it.
#[derive(Debug)]
pub(super) struct HostPool {
    capacity: usize,
    residents: Residents,
    data: FxHashMap<SequenceHash, BlockData>,
}

impl HostPool {
    /// Room for `capacity` blocks.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            residents: Residents::default(),
            data: FxHashMap::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.residents.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn contains(&self, identity: &BlockIdentity) -> bool {
        self.residents.contains(identity)
    }

    /// The numbers of a block. It does not count as use: the block is on the device from then on,
    /// and is used again here when it comes back.
    pub(super) fn get(&self, identity: &BlockIdentity) -> Option<BlockData> {
        if !self.contains(identity) {
            return None;
        }
        self.data.get(&identity.sequence).cloned()
    }

    /// Takes a block in, or notes that it was used; returns whether it is new.
    pub(super) fn insert(&mut self, identity: BlockIdentity, data: BlockData) -> bool {
        let fresh = self.residents.insert(identity);
        if fresh {
            self.data.insert(identity.sequence, data);
        } else {
            self.residents.touch(identity.sequence);
        }
        fresh
    }

    /// Gives up blocks until the rest fits; returns their hashes.
    pub(super) fn keep_within_capacity(&mut self) -> Vec<SequenceHash> {
        let mut evicted = Vec::new();
        while self.len() > self.capacity {
            let Some(identity) = self.residents.evict() else {
                break;
            };
            self.data.remove(&identity.sequence);
            evicted.push(identity.sequence);
        }
        evicted
    }
}
