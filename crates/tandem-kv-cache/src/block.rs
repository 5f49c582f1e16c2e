//! Names of blocks: the slot that holds one, and the content that makes it reusable.

use serde::{Deserialize, Serialize};
use tandem_protocol::kv::{BlockHash, SequenceHash, chain};

/// A slot of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(u32);

impl BlockId {
    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("the pool checks its size when it is made"))
    }

    /// Position of the slot, below the pool's size.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a full block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIdentity {
    /// Names the block together with everything before it.
    pub sequence: SequenceHash,
    /// Names the block's own tokens.
    pub local: BlockHash,
    /// The block before it.
    pub parent: Option<SequenceHash>,
}

impl BlockIdentity {
    /// Identity of a block with tokens `local` that follows `parent`.
    pub fn after(parent: Option<SequenceHash>, local: BlockHash) -> Self {
        Self {
            sequence: chain(parent, local),
            local,
            parent,
        }
    }
}
