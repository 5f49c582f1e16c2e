//! KV block hashes and KV events, as Dynamo 0.6.1 computes and publishes them.
//!
//! Only full blocks are hashed. A *local* block hash covers one block's tokens and knows neither
//! parent nor position; a *sequence* hash chains local hashes, so equal sequence hashes mean
//! equal prefixes.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Seed of every block and chain hash.
pub const HASH_SEED: u64 = 1337;

/// XXH3-64 over one block's tokens as little-endian `u32`; no parent, no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockHash(pub u64);

/// Chained hash of a block and everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequenceHash(pub u64);

/// What separates the hash spaces of requests that must not share blocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct HashScope<'a> {
    /// LoRA adapter; empty is the same as absent.
    pub lora: Option<&'a str>,
    /// Cache salt, for example a tenant; empty is the same as absent.
    pub cache_salt: Option<&'a str>,
}

impl HashScope<'_> {
    fn seed(self) -> u64 {
        let part = |text: Option<&str>, seed| match text {
            Some(text) if !text.is_empty() => xxh3_64_with_seed(text.as_bytes(), seed),
            _ => 0,
        };
        HASH_SEED
            .wrapping_add(part(self.lora, 0))
            .wrapping_add(part(self.cache_salt, 1))
    }
}

/// Hashes every full block of `tokens`; a trailing partial block is left out.
///
/// # Panics
/// If `block_size` is 0.
pub fn hash_blocks(tokens: &[u32], block_size: usize, scope: HashScope<'_>) -> Vec<BlockHash> {
    let seed = scope.seed();
    let mut bytes = Vec::with_capacity(block_size * 4);
    tokens
        .chunks_exact(block_size)
        .map(|block| {
            bytes.clear();
            bytes.extend(block.iter().flat_map(|token| token.to_le_bytes()));
            BlockHash(xxh3_64_with_seed(&bytes, seed))
        })
        .collect()
}

/// Chains local hashes: the i-th result identifies blocks 0 to i together.
pub fn hash_sequence(blocks: &[BlockHash]) -> Vec<SequenceHash> {
    let mut parent = None;
    blocks
        .iter()
        .map(|block| {
            let hash = chain(parent, *block);
            parent = Some(hash);
            hash
        })
        .collect()
}

/// Sequence hash of `block` after `parent`.
pub fn chain(parent: Option<SequenceHash>, block: BlockHash) -> SequenceHash {
    let Some(parent) = parent else {
        return SequenceHash(block.0);
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&parent.0.to_le_bytes());
    bytes[8..].copy_from_slice(&block.0.to_le_bytes());
    SequenceHash(xxh3_64_with_seed(&bytes, HASH_SEED))
}

/// One change to a worker's prefix cache, in the JSON form of Dynamo 0.6.1's JetStream body.
///
/// Where the blocks are was added later and is left out for those on the device, as 0.6.1 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterEvent {
    /// Instance id of the worker.
    pub worker_id: u64,
    /// Where the blocks are.
    #[serde(default, skip_serializing_if = "StorageTier::is_device")]
    pub storage_tier: StorageTier,
    /// What changed.
    pub event: KvEvent,
}

impl RouterEvent {
    /// A change on the worker's device.
    pub const fn new(worker_id: u64, event: KvEvent) -> Self {
        Self {
            worker_id,
            storage_tier: StorageTier::Device,
            event,
        }
    }
}

/// Where a worker keeps blocks, as Dynamo 1.6.1 names it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum StorageTier {
    /// Memory of the accelerator.
    #[default]
    Device,
    /// Memory of the host.
    HostPinned,
    /// A disk of the worker.
    Disk,
    /// Storage that workers share.
    External,
}

impl StorageTier {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_device(&self) -> bool {
        *self == Self::Device
    }
}

/// A change, numbered by its publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEvent {
    /// Increasing per publisher; a gap means lost events.
    pub event_id: u64,
    /// What changed.
    pub data: KvEventData,
    /// Data-parallel rank inside the worker.
    #[serde(default)]
    pub dp_rank: u32,
}

/// The three things that can happen to a prefix cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvEventData {
    /// Blocks became reusable.
    Stored(StoredBlocks),
    /// Blocks were evicted.
    Removed {
        /// Engine hashes of the blocks.
        block_hashes: Vec<SequenceHash>,
    },
    /// The whole cache was dropped.
    Cleared,
}

/// A run of consecutive blocks that became reusable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBlocks {
    /// Engine hash of the block before the first; `None` at the start of a sequence.
    pub parent_hash: Option<SequenceHash>,
    /// The blocks, in order.
    pub blocks: Vec<StoredBlock>,
}

/// One stored block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBlock {
    /// The engine's own hash: opaque, names the block in later events.
    pub block_hash: SequenceHash,
    /// Local hash of the block's tokens.
    pub tokens_hash: BlockHash,
}

/// Everything a worker has stored, for a router that joins late or has lost events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvSnapshot {
    /// `Cleared`, then `Stored` with parents before children. Each carries the number of the last
    /// event that the snapshot includes; the next live event has the number after it.
    pub events: Vec<KvEvent>,
}

#[cfg(test)]
mod tests;
