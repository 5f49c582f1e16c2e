//! The numbers of the blocks.

use std::sync::Arc;

use crate::block::BlockId;
use crate::layout::KvShape;

/// The numbers of one block. Whoever holds one sees it unchanged for as long as they hold it.
pub type BlockData = Arc<[f32]>;

/// One run of numbers per block, allocated when first written.
#[derive(Debug)]
pub struct BlockStore {
    shape: KvShape,
    blocks: Vec<Option<BlockData>>,
}

impl BlockStore {
    /// Room for `blocks` blocks; takes no memory yet.
    pub fn new(shape: KvShape, blocks: usize) -> Self {
        Self {
            shape,
            blocks: vec![None; blocks],
        }
    }

    /// Shape of every block.
    pub fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// The numbers of a block that was written or installed.
    ///
    /// # Panics
    /// If it never was.
    pub fn read(&self, block: BlockId) -> &[f32] {
        self.share_ref(block)
    }

    /// A handle to the numbers as they are now.
    pub fn share(&self, block: BlockId) -> BlockData {
        Arc::clone(self.share_ref(block))
    }

    /// The numbers of a block, to write. If somebody still holds the block's earlier content
    /// (a transfer that outlived its lease), they keep it and the block gets new memory.
    pub fn write(&mut self, block: BlockId) -> &mut [f32] {
        let data = self.blocks[block.index()]
            .get_or_insert_with(|| Arc::from(vec![0.0; self.shape.block_len()]));
        Arc::make_mut(data)
    }

    /// Replaces a block's numbers with those of another worker, without copying.
    pub fn install(&mut self, block: BlockId, data: BlockData) {
        debug_assert_eq!(data.len(), self.shape.block_len());
        self.blocks[block.index()] = Some(data);
    }

    /// Takes a block's numbers away, before the block is used for something else. `None` if it never
    /// had any.
    pub fn take(&mut self, block: BlockId) -> Option<BlockData> {
        self.blocks[block.index()].take()
    }

    fn share_ref(&self, block: BlockId) -> &BlockData {
        self.blocks[block.index()]
            .as_ref()
            .expect("a block is written before it is read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::BlockPool;

    #[test]
    fn a_shared_block_does_not_change_under_its_reader() {
        let shape = KvShape {
            layers: 1,
            kv_heads: 1,
            head_dim: 2,
            block_size: 16,
        };
        let block = BlockPool::new(1).allocate(1).unwrap()[0];
        let mut store = BlockStore::new(shape, 1);
        store.write(block)[0] = 1.0;
        let reader = store.share(block);
        store.write(block)[0] = 2.0;
        assert_eq!((reader[0], store.read(block)[0]), (1.0, 2.0));
    }
}
