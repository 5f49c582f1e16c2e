//! Where the numbers of the engine's blocks are.

use tandem_kv_cache::{BlockData, BlockId, BlockStore};

use super::cuda::DeviceBlocks;

/// The numbers of the engine's blocks.
#[derive(Debug)]
pub(super) enum Blocks {
    /// In this process's memory.
    Host(BlockStore),
    /// In a GPU's.
    Device(DeviceBlocks),
}

impl Blocks {
    /// The numbers of a block that was written or installed, as they are now.
    pub(super) fn share(&self, block: BlockId) -> BlockData {
        match self {
            Self::Host(store) => store.share(block),
            Self::Device(blocks) => blocks.share(block),
        }
    }

    /// Replaces a block's numbers with those of another worker or a slower tier.
    pub(super) fn install(&mut self, block: BlockId, data: BlockData) {
        match self {
            Self::Host(store) => store.install(block, data),
            Self::Device(blocks) => blocks.install(block, &data),
        }
    }

    /// Takes the numbers of a block away, before the block is used for something else. `None` if
    /// it never had any.
    pub(super) fn take(&mut self, block: BlockId) -> Option<BlockData> {
        match self {
            Self::Host(store) => store.take(block),
            Self::Device(blocks) => Some(blocks.share(block)),
        }
    }
}
