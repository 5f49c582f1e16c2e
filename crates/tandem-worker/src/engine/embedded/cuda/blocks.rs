//! The numbers of the blocks, in the memory of a GPU, and their ways out of it and back.

use std::sync::Arc;

use cudarc::driver::CudaSlice;
use tandem_kv_cache::{BlockData, BlockId, KvShape, Lent, SlabPool};

use super::ModelError;
use super::gpu::{Gpu, must};
use super::pinned::PinnedSlabs;

/// Page-locked memory beside that of the tier in the host's memory: for blocks that wait to be
/// written to disk or to be fetched by another worker.
const STAGING_BYTES: usize = 512 << 20;

/// All blocks of an engine, in one piece of a GPU's memory.
#[derive(Debug)]
pub(in super::super) struct DeviceBlocks {
    gpu: Arc<Gpu>,
    shape: KvShape,
    /// `[block]`, each as [`KvShape`] says.
    pub(super) numbers: CudaSlice<f32>,
    /// Where blocks go that leave the GPU.
    pinned: Arc<SlabPool<PinnedSlabs>>,
}

/// A copy that may not be complete before the GPU has been waited for.
enum Copied {
    Pinned(Lent<PinnedSlabs>),
    Heap(Vec<f32>),
}

impl DeviceBlocks {
    /// Memory for `blocks` blocks, all of it at once. As many bytes as the tier in the host's memory
    /// has, `host_bytes`, are page-locked as blocks come there.
    ///
    /// # Errors
    /// The GPU has less.
    pub(in super::super) fn new(
        gpu: &Arc<Gpu>,
        shape: KvShape,
        blocks: usize,
        host_bytes: u64,
    ) -> Result<Self, ModelError> {
        let block_bytes = shape.block_bytes();
        let in_host = usize::try_from(host_bytes).map_or(usize::MAX, |bytes| bytes / block_bytes);
        let rooms = in_host.saturating_add(STAGING_BYTES / block_bytes);
        let slabs = PinnedSlabs::new(&gpu.context, shape.block_len());
        Ok(Self {
            numbers: gpu.allocate(shape.block_len() * blocks)?,
            gpu: Arc::clone(gpu),
            shape,
            pinned: SlabPool::new(slabs, rooms),
        })
    }

    pub(super) fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// Copies of the blocks' numbers as they are now, in page-locked memory while there is some.
    ///
    /// # Panics
    /// If the GPU fails.
    pub(in super::super) fn share_all(&self, blocks: &[BlockId]) -> Vec<BlockData> {
        if blocks.is_empty() {
            return Vec::new();
        }
        let copies: Vec<_> = blocks.iter().map(|&block| self.copy(block)).collect();
        must(self.gpu.stream.synchronize());
        copies.into_iter().map(Copied::finished).collect()
    }

    /// A copy of one block's numbers.
    ///
    /// # Panics
    /// If the GPU fails.
    pub(in super::super) fn share(&self, block: BlockId) -> BlockData {
        let copy = self.copy(block);
        must(self.gpu.stream.synchronize());
        copy.finished()
    }

    /// Replaces the blocks' numbers.
    ///
    /// # Panics
    /// If the GPU fails.
    pub(in super::super) fn install_all<'a>(
        &mut self,
        blocks: impl IntoIterator<Item = (BlockId, &'a BlockData)>,
    ) {
        let length = self.shape.block_len();
        let mut under_way = false;
        for (block, data) in blocks {
            let start = block.index() * length;
            let mut numbers = self.numbers.slice_mut(start..start + length);
            must(self.gpu.stream.memcpy_htod(&data[..], &mut numbers));
            under_way = true;
        }
        if under_way {
            // From page-locked memory, the GPU takes the numbers later.
            must(self.gpu.stream.synchronize());
        }
    }

    /// Begins to copy a block. What is returned must be kept, and not be looked at, until the GPU
    /// has been waited for.
    fn copy(&self, block: BlockId) -> Copied {
        let length = self.shape.block_len();
        let start = block.index() * length;
        let numbers = self.numbers.slice(start..start + length);
        match self.pinned.lend() {
            Some(mut lent) => {
                must(self.gpu.stream.memcpy_dtoh(&numbers, lent.as_mut()));
                Copied::Pinned(lent)
            }
            None => Copied::Heap(must(self.gpu.stream.clone_dtoh(&numbers))),
        }
    }
}

impl Copied {
    fn finished(self) -> BlockData {
        match self {
            Self::Pinned(lent) => lent.into(),
            Self::Heap(numbers) => numbers.into(),
        }
    }
}

#[cfg(test)]
mod tests;
