//! The numbers of the blocks.

mod data;

use std::sync::Arc;

use crate::block::BlockId;
use crate::layout::KvShape;

pub use data::BlockData;

/// One run of numbers per block, allocated when first written.
#[derive(Debug)]
pub struct BlockStore {
    shape: KvShape,
    blocks: Vec<Option<Arc<[f32]>>>,
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
        Arc::clone(self.share_ref(block)).into()
    }

    /// The numbers of a block, to write. If somebody still holds the block's earlier content
    /// (a transfer that outlived its lease), they keep it and the block gets new memory.
    pub fn write(&mut self, block: BlockId) -> &mut [f32] {
        let data = self.blocks[block.index()]
            .get_or_insert_with(|| Arc::from(vec![0.0; self.shape.block_len()]));
        Arc::make_mut(data)
    }

    /// Replaces a block's numbers with those of another worker, without copying what is in the heap.
    pub fn install(&mut self, block: BlockId, data: BlockData) {
        debug_assert_eq!(data.len(), self.shape.block_len());
        self.blocks[block.index()] = Some(data.into_heap());
    }

    /// Takes a block's numbers away, before the block is used for something else. `None` if it never
    /// had any.
    pub fn take(&mut self, block: BlockId) -> Option<BlockData> {
        self.blocks[block.index()].take().map(BlockData::from)
    }

    fn share_ref(&self, block: BlockId) -> &Arc<[f32]> {
        self.blocks[block.index()]
            .as_ref()
            .expect("a block is written before it is read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::BlockPool;

    const SHAPE: KvShape = KvShape {
        layers: 1,
        kv_heads: 1,
        head_dim: 2,
        block_size: 16,
    };

    #[test]
    fn a_shared_block_does_not_change_under_its_reader() {
        let block = BlockPool::new(1).allocate(1).unwrap()[0];
        let mut store = BlockStore::new(SHAPE, 1);
        store.write(block)[0] = 1.0;
        let reader = store.share(block);
        store.write(block)[0] = 2.0;
        assert_eq!((reader[0], store.read(block)[0]), (1.0, 2.0));
    }

    #[test]
    fn installed_blocks_are_written_in_place_only_if_nobody_else_reads_them() {
        let block = BlockPool::new(1).allocate(1).unwrap()[0];
        let mut store = BlockStore::new(SHAPE, 1);
        let heap = BlockData::from(vec![1.0; SHAPE.block_len()]);
        let at = heap.as_ptr();
        store.install(block, heap);
        store.write(block)[0] = 2.0;
        assert_eq!(
            (store.read(block).as_ptr(), store.read(block)[0]),
            (at, 2.0)
        );
        // Another worker's memory is never written.
        let lent = BlockData::from_owner(vec![3.0; SHAPE.block_len()]);
        store.install(block, lent.clone());
        store.write(block)[0] = 4.0;
        assert_eq!(
            (lent[0], store.take(block).unwrap()[..2].to_vec()),
            (3.0, vec![4.0, 3.0])
        );
    }
}
