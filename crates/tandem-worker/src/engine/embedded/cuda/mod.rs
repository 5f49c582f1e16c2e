//! The embedded engine on NVIDIA GPUs.
//!
//! The same decoder as on the CPU, with its own kernels (`kernels.cu`), reached through the driver
//! that the process finds when it starts: nothing of CUDA is needed to build or run tandem
//! elsewhere. Blocks have the same layout as on the CPU, so tiers and transfer work on both.

mod blocks;
mod decoder;
mod gpu;
mod launch;
mod pinned;
mod plan;
mod weights;

pub(super) use blocks::DeviceBlocks;
pub(super) use decoder::CudaDecoder;
pub(super) use gpu::Gpu;

use super::model::ModelError;

#[cfg(test)]
mod tests {
    use ring::digest::{SHA256, digest};

    /// `make kernels` writes it beside what it compiles.
    #[test]
    fn the_kernels_are_those_of_the_source() {
        let source = digest(&SHA256, include_bytes!("kernels.cu"));
        let source: String = source
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let compiled = include_str!("kernels.fatbin.source");
        assert_eq!(
            compiled.trim(),
            source,
            "kernels.cu has changed: run `make kernels`"
        );
    }
}
