//! The numbers of the blocks, in the memory of a GPU.

use std::sync::Arc;

use cudarc::driver::CudaSlice;
use tandem_kv_cache::{BlockData, BlockId, KvShape};

use super::ModelError;
use super::gpu::{Gpu, must};

/// All blocks of an engine, in one piece of a GPU's memory.
#[derive(Debug)]
pub(in super::super) struct DeviceBlocks {
    gpu: Arc<Gpu>,
    shape: KvShape,
    /// `[block]`, each as [`KvShape`] says.
    pub(super) numbers: CudaSlice<f32>,
}

impl DeviceBlocks {
    /// Memory for `blocks` blocks, all of it at once.
    ///
    /// # Errors
    /// The GPU has less.
    pub(in super::super) fn new(
        gpu: &Arc<Gpu>,
        shape: KvShape,
        blocks: usize,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            numbers: gpu.allocate(shape.block_len() * blocks)?,
            gpu: Arc::clone(gpu),
            shape,
        })
    }

    pub(super) fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// A copy of a block's numbers as they are now.
    ///
    /// # Panics
    /// If the GPU fails.
    pub(in super::super) fn share(&self, block: BlockId) -> BlockData {
        let length = self.shape.block_len();
        let start = block.index() * length;
        let numbers = self.numbers.slice(start..start + length);
        let copy = must(self.gpu.stream.clone_dtoh(&numbers));
        must(self.gpu.stream.synchronize());
        copy.into()
    }

    /// Replaces a block's numbers.
    ///
    /// # Panics
    /// If the GPU fails.
    pub(in super::super) fn install(&mut self, block: BlockId, data: &BlockData) {
        let length = self.shape.block_len();
        let start = block.index() * length;
        let mut numbers = self.numbers.slice_mut(start..start + length);
        // From memory that is not pinned, this returns when the numbers have been taken.
        must(self.gpu.stream.memcpy_htod(&data[..], &mut numbers));
    }
}
