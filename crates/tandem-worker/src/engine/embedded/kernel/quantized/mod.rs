//! Products with quantised weights: inputs are rounded to 8 bits, sums within a block are whole
//! numbers.
//!
//! Whole numbers have no rounding order, and blocks are added up one after the other with one fused
//! operation each: so the results are the same bits on every instruction set, and, as for the
//! other products, in any company.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod panels;
mod portable;
#[cfg(target_arch = "x86_64")]
mod tiles;

#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Proof as Avx512;
pub(super) use block::{BLOCK, Fit, GROUPS, Q4_MAX, STEPS};
pub use block::{Q4Block, Q8Block};
pub(super) use panels::{Q4Panel, write_q8};
pub(crate) use panels::{Q4Panels, Q8Panels};

use half::f16;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::{Compute, Kernel, LANES, rows};

/// Inputs in 8 bits, each block of 32 with a scale.
#[derive(Debug)]
pub(crate) struct QuantizedRows {
    rows: usize,
    /// Blocks of a row.
    blocks: usize,
    /// `[row][block][32]`
    quants: Vec<i8>,
    /// `[row][block]`
    scales: Vec<f32>,
    /// Sums of the blocks' numbers, scaled: what a weight's minimum is multiplied with.
    sums: Vec<f32>,
}

/// Weights in panels of [`LANES`] outputs, or some of the panels.
#[derive(Debug, Clone, Copy)]
pub(crate) enum QuantizedPanels<'a> {
    Q8 {
        /// `[panel][block][8][lane][4]`: four inputs of an output lie together.
        quants: &'a [i8],
        /// `[panel][block][lane]`
        scales: &'a [f16],
    },
    Q4 {
        /// `[panel][block][4][lane][4]`: inputs below 16 in the low halves, the others in the high
        /// ones.
        quants: &'a [u8],
        /// Of the blocks: `[panel][block][scale, min][lane]`
        groups: &'a [u8],
        /// Of every 8 blocks: `[panel][block / 8][scale, min][lane]`
        scales: &'a [f16],
    },
}

/// One product, into `[panel][row][LANES]`.
#[derive(Debug)]
pub(crate) struct QuantizedProduct<'a> {
    pub(crate) x: &'a QuantizedRows,
    pub(crate) panels: QuantizedPanels<'a>,
    pub(crate) out: &'a mut [f32],
}

impl QuantizedRows {
    /// Rounds `x` (`[rows][inputs]`).
    pub(crate) fn new(compute: &Compute, x: &[f32], inputs: usize) -> Self {
        let rows = x.len() / inputs;
        let blocks = inputs.div_ceil(BLOCK);
        let mut quantized = Self {
            rows,
            blocks,
            quants: vec![0; rows * blocks * BLOCK],
            scales: vec![0.0; rows * blocks],
            sums: vec![0.0; rows * blocks],
        };
        let kernel = compute.kernel();
        let least = if compute.threads() == 1 { rows } else { 8 };
        let quants = quantized.quants.par_chunks_mut(blocks * BLOCK);
        let scales = quantized.scales.par_chunks_mut(blocks);
        let sums = quantized.sums.par_chunks_mut(blocks);
        let row = |row, (quants, (scales, sums)): (&mut [i8], (&mut [f32], &mut [f32]))| {
            let x = &x[row * inputs..][..inputs];
            kernel.quantize(x, (quants, scales, sums));
        };
        if rows <= least {
            let scales = quantized.scales.chunks_mut(blocks);
            let pairs = scales.zip(quantized.sums.chunks_mut(blocks));
            let quants = quantized.quants.chunks_mut(blocks * BLOCK);
            for (index, parts) in quants.zip(pairs).enumerate() {
                row(index, parts);
            }
        } else {
            quants
                .zip(scales.zip(sums))
                .with_min_len(least)
                .enumerate()
                .for_each(|(index, parts)| row(index, parts));
        }
        quantized
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Inputs of a row, rounded up to whole blocks.
    pub(crate) fn inputs(&self) -> usize {
        self.blocks * BLOCK
    }
}

impl QuantizedPanels<'_> {
    /// The panels from `first` on.
    pub(crate) fn skip(self, first: usize, blocks: usize) -> Self {
        match self {
            Self::Q8 { quants, scales } => Self::Q8 {
                quants: &quants[first * blocks * BLOCK * LANES..],
                scales: &scales[first * blocks * LANES..],
            },
            Self::Q4 {
                quants,
                groups,
                scales,
            } => Self::Q4 {
                quants: &quants[first * blocks * BLOCK / 2 * LANES..],
                groups: &groups[first * blocks * 2 * LANES..],
                scales: &scales[first * blocks.div_ceil(GROUPS) * 2 * LANES..],
            },
        }
    }
}

impl QuantizedProduct<'_> {
    fn panel_count(&self) -> usize {
        self.out.len() / (self.x.rows * LANES)
    }

    /// Panics unless every number that the kernels will touch exists.
    fn check(&self) {
        let QuantizedRows {
            rows,
            blocks,
            quants,
            scales,
            sums,
        } = self.x;
        let panels = self.panel_count();
        assert!(*rows > 0 && *blocks > 0 && panels > 0);
        assert_eq!(self.out.len(), panels * rows * LANES);
        assert_eq!(quants.len(), rows * blocks * BLOCK);
        assert!(scales.len() == rows * blocks && sums.len() == scales.len());
        match self.panels {
            QuantizedPanels::Q8 { quants, scales } => {
                assert!(quants.len() >= panels * blocks * BLOCK * LANES);
                assert!(scales.len() >= panels * blocks * LANES);
            }
            QuantizedPanels::Q4 {
                quants,
                groups,
                scales,
            } => {
                assert!(quants.len() >= panels * blocks * BLOCK / 2 * LANES);
                assert!(groups.len() >= panels * blocks * 2 * LANES);
                assert!(scales.len() >= panels * blocks.div_ceil(GROUPS) * 2 * LANES);
            }
        }
    }
}

impl Kernel {
    pub(crate) fn multiply_quantized(self, product: &mut QuantizedProduct<'_>) {
        product.check();
        match self {
            Self::Portable => portable::multiply(product),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => avx2::multiply(proof, product),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => avx512::multiply(proof, product),
        }
    }

    /// Rounds a row to 8 bits: quants, scales and scaled sums of its blocks.
    fn quantize(self, x: &[f32], out: (&mut [i8], &mut [f32], &mut [f32])) {
        match self {
            Self::Portable => rows::quantize(x, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => avx2::quantize(proof, x, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => avx2::quantize(proof.avx2(), x, out),
        }
    }
}

#[cfg(test)]
mod tests;
