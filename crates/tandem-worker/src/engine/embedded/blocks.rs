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

    /// The numbers of several such blocks: on a GPU, for little more than one by itself.
    pub(super) fn share_all(&self, ids: &[BlockId]) -> Vec<BlockData> {
        match self {
            Self::Host(store) => ids.iter().map(|&block| store.share(block)).collect(),
            Self::Device(blocks) => blocks.share_all(ids),
        }
    }

    /// Replaces the numbers of blocks with those of another worker or a slower tier; as many as
    /// there are.
    pub(super) fn install_all(&mut self, ids: &[BlockId], data: Vec<BlockData>) {
        let ids = ids.iter().copied();
        match self {
            Self::Host(store) => {
                for (block, data) in ids.zip(data) {
                    store.install(block, data);
                }
            }
            Self::Device(blocks) => blocks.install_all(ids.zip(&data)),
        }
    }

    /// Takes the numbers of blocks away, before the blocks are used for something else. `None` for
    /// those that never had any.
    pub(super) fn take_all(&mut self, ids: &[BlockId]) -> Vec<Option<BlockData>> {
        match self {
            Self::Host(store) => ids.iter().map(|&block| store.take(block)).collect(),
            Self::Device(blocks) => blocks.share_all(ids).into_iter().map(Some).collect(),
        }
    }
}
