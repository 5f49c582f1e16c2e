//! The arithmetic: matrix products and row operations on plain slices.
//!
//! Every output number is computed by one chain of operations whose order depends on nothing but
//! the number's own inputs: not on how many rows are computed together, how they are tiled or on
//! how many threads. So a token's logits are bit for bit the same alone or in a batch, in one
//! chunk or in several, computed here or on another worker with the same instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod compute;
mod matrix;
mod pack;
mod portable;
mod quantized;
mod rows;

use std::ops::Range;

pub use compute::Compute;
pub(crate) use matrix::Matrix;
pub use matrix::Quantization;
pub use quantized::{Q4Block, Q8Block};
pub(crate) use quantized::{QuantizedPanels, QuantizedProduct, QuantizedRows};

/// Columns of a panel: what the product kernel computes together.
pub(crate) const LANES: usize = tandem_kv_cache::LANES;

/// The instruction set to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Proof),
    /// AVX2, and wider vectors for what is quantised.
    #[cfg(target_arch = "x86_64")]
    Avx512(quantized::Avx512),
}

/// Right-hand side of a product: columns in panels of [`LANES`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Panels<'a> {
    /// The weight at depth `k` of panel `p` starts at `p * panel + k * step`.
    F32 {
        data: &'a [f32],
        panel: usize,
        step: usize,
    },
    /// Two `bf16` per word: column `i` of a panel in the low half of word `i`, column `i + 8` in
    /// the high half. Panels follow each other without gaps.
    Bf16(&'a [u32]),
}

/// One product: `out[panel][row][lane] = sum over k of x[row][k] * weights[panel][k][lane]`.
#[derive(Debug)]
pub(crate) struct Product<'a> {
    /// Rows, `stride` apart.
    pub(crate) x: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) panels: Panels<'a>,
    /// `[panel][row][LANES]`; its length says how many panels there are.
    pub(crate) out: &'a mut [f32],
    /// Adds to `out` instead of replacing it.
    pub(crate) accumulate: bool,
}

impl Product<'_> {
    fn panel_count(&self) -> usize {
        self.out.len() / (self.rows * LANES)
    }

    /// Panics unless every number that the kernels will touch exists.
    fn check(&self) {
        let panels = self.panel_count();
        assert!(self.rows > 0 && self.depth > 0 && panels > 0);
        assert_eq!(self.out.len(), panels * self.rows * LANES);
        assert!(self.x.len() >= (self.rows - 1) * self.stride + self.depth);
        match self.panels {
            Panels::F32 { data, panel, step } => {
                assert!(data.len() >= (panels - 1) * panel + (self.depth - 1) * step + LANES);
            }
            Panels::Bf16(words) => assert!(words.len() >= panels * self.depth * LANES / 2),
        }
    }
}

/// Runs `$function` compiled for the instruction set of `$kernel`.
macro_rules! dispatch {
    ($kernel:expr, $function:ident($($argument:expr),*)) => {
        match $kernel {
            Kernel::Portable => portable::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2(proof) => avx2::$function(proof, $($argument),*),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512(proof) => avx2::$function(proof.avx2(), $($argument),*),
        }
    };
}

impl Kernel {
    /// The best that this machine has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(proof) = avx2::Proof::detect() {
            return quantized::Avx512::detect(proof).map_or(Self::Avx2(proof), Self::Avx512);
        }
        Self::Portable
    }

    pub(crate) fn multiply(self, product: &mut Product<'_>) {
        product.check();
        dispatch!(self, multiply(product));
    }

    /// `out = x / rms(x) * weight`.
    pub(crate) fn rms_norm(self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        dispatch!(self, rms_norm(x, weight, eps, out));
    }

    /// Turns `scores[group][row][lane]` of one row into `exp(score - max)` for the `visible`
    /// positions and 0 for the others, and returns the sum.
    pub(crate) fn softmax(self, scores: &mut [f32], stride: usize, visible: Range<usize>) -> f32 {
        dispatch!(self, softmax(scores, stride, visible))
    }

    /// `cap * tanh(x / cap)`, in place.
    pub(crate) fn softcap(self, x: &mut [f32], cap: f32) {
        dispatch!(self, softcap(x, cap));
    }

    /// `out = silu(gate) * up`.
    pub(crate) fn swiglu(self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        dispatch!(self, swiglu(gate, up, out));
    }

    /// `out = gelu(gate) * up`, with GELU's approximation by tanh.
    pub(crate) fn geglu(self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        dispatch!(self, geglu(gate, up, out));
    }
}

#[cfg(test)]
mod tests;
