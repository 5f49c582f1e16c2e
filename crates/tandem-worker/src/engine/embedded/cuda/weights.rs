//! Weights in the memory of a GPU.

use std::sync::Arc;

use cudarc::driver::CudaSlice;
use half::bf16;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::ModelError;
use super::gpu::Gpu;
use crate::engine::embedded::model::{Place, Values};

/// Slices that products cut their inputs into: see `kernels.cu`.
pub(super) const SLICES: usize = 8;
/// What inputs are padded to: whole steps of 32 in each slice.
const INPUTS: usize = SLICES * 32;
/// What outputs are padded to: the columns of a block of the kernels.
const OUTPUTS: usize = 64;

/// Inputs of a product with zeros up to what the kernels step by.
pub(super) const fn padded(inputs: usize) -> usize {
    inputs.next_multiple_of(INPUTS)
}

/// Matrices of `[outputs][padded inputs]` in bf16, one or two of them ("planes"): the second is
/// what rounding lost in the first.
#[derive(Debug)]
pub(super) struct DeviceMatrix {
    pub(super) numbers: CudaSlice<u16>,
    pub(super) outputs: usize,
    /// With the padding.
    pub(super) inputs: usize,
    /// Numbers in a plane.
    pub(super) plane: usize,
}

/// Puts weights on a GPU.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) gpu: Arc<Gpu>,
    pub(super) planes: usize,
}

impl Upload {
    /// As many planes as a model whose matrices are like `values` needs.
    pub(super) fn for_weights(gpu: &Arc<Gpu>, values: &Values) -> Self {
        Self {
            gpu: Arc::clone(gpu),
            planes: if matches!(values, Values::Bf16(_)) {
                1
            } else {
                2
            },
        }
    }
}

impl Place for Upload {
    type Matrix = DeviceMatrix;
    type Vector = CudaSlice<f32>;

    fn matrix(&self, parts: &[Values], inputs: usize) -> Result<DeviceMatrix, ModelError> {
        if self.planes == 1 && !parts.iter().all(|part| matches!(part, Values::Bf16(_))) {
            return Err(ModelError::Unsupported {
                feature: "mixture of tensor types",
                value: "bf16 and others".to_owned(),
                supported: "on a GPU, all matrices in bf16 or none",
            });
        }
        let width = padded(inputs);
        let outputs: usize = parts.iter().map(|part| part.len() / inputs).sum();
        let plane = outputs.next_multiple_of(OUTPUTS) * width;
        let mut numbers = vec![0; plane * self.planes];
        let (high, low) = numbers.split_at_mut(plane);
        let mut rows = high;
        let mut low = (self.planes == 2).then_some(low);
        for part in parts {
            let length = part.len() / inputs * width;
            let (own, rest) = rows.split_at_mut(length);
            rows = rest;
            match low.take() {
                None => own
                    .par_chunks_mut(width)
                    .enumerate()
                    .for_each(|(row, out)| {
                        if let Values::Bf16(bits) = part {
                            out[..inputs].copy_from_slice(&bits[row * inputs..][..inputs]);
                        }
                    }),
                Some(all) => {
                    let (own_low, rest) = all.split_at_mut(length);
                    low = Some(rest);
                    let rows = own.par_chunks_mut(width).zip(own_low.par_chunks_mut(width));
                    rows.enumerate().for_each(|(row, (high, low))| {
                        let values = part.row(row, inputs);
                        for ((high, low), value) in high.iter_mut().zip(low).zip(values) {
                            [*high, *low] = split(value);
                        }
                    });
                }
            }
        }
        Ok(DeviceMatrix {
            numbers: self.gpu.upload(&numbers)?,
            outputs,
            inputs: width,
            plane,
        })
    }

    fn vector(&self, values: Vec<f32>) -> Result<CudaSlice<f32>, ModelError> {
        self.gpu.upload(&values)
    }
}

/// A number in two planes.
fn split(value: f32) -> [u16; 2] {
    let high = bf16::from_f32(value);
    let low = bf16::from_f32(value - high.to_f32());
    [high.to_bits(), low.to_bits()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_planes_keep_sixteen_bits(value in -1e30_f32..1e30) {
            let [high, low] = split(value);
            let sum = bf16::from_bits(high).to_f32() + bf16::from_bits(low).to_f32();
            prop_assert!((sum - value).abs() <= value.abs() * 2_f32.powi(-16));
        }
    }
}
