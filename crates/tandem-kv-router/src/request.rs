//! What needs a worker.

use tandem_protocol::engine::RouterConfigOverride;
use tandem_protocol::kv::{BlockHash, HashScope, SequenceHash, hash_blocks, hash_sequence};

/// A prompt, hashed once for every use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Length in tokens.
    pub tokens: usize,
    /// Local hashes of the full blocks.
    pub blocks: Vec<BlockHash>,
    /// Chained hashes of the full blocks.
    pub sequence: Vec<SequenceHash>,
}

impl Prompt {
    /// Hashes `tokens` in blocks of `block_size`.
    pub fn new(tokens: &[u32], block_size: usize, scope: HashScope<'_>) -> Self {
        let blocks = hash_blocks(tokens, block_size, scope);
        let sequence = hash_sequence(&blocks);
        Self {
            tokens: tokens.len(),
            blocks,
            sequence,
        }
    }
}

/// A request that needs a worker.
#[derive(Debug, Clone, Copy)]
pub struct SelectRequest<'a> {
    /// Names the request in [`crate::KvRouter::mark_prefill_completed`] and
    /// [`crate::KvRouter::free`].
    pub id: &'a str,
    /// Its prompt.
    pub prompt: &'a Prompt,
    /// Settings that differ for this request.
    pub overrides: RouterConfigOverride,
    /// Whether the prompt's KV blocks come from another worker, so that none has to be computed.
    pub remote_prefill: bool,
}
