//! Brings rows of weights into panels, which is what loading does.
//!
//! A panel's rows lie far apart, and each of its lines has a little of all of them: so rows are read
//! some numbers at a time, and every line is written while it is in the first cache.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod fit;
mod portable;

use half::f16;

use super::quantized::{BLOCK, Q4Block};
use super::{Kernel, LANES};

/// The rows of a panel, all of one length.
pub(super) type Rows<'a, T> = [&'a [T]; LANES];

/// Runs `$function` for the instruction set of `$kernel`.
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

/// A weight that is rounded to fewer bits: `f32`, or `u16` for the upper half of one.
pub(super) trait Weight: Copy + Sync {
    /// Whether it is the upper half.
    const BF16: bool;

    fn widen(self) -> f32;
}

impl Weight for f32 {
    const BF16: bool = false;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Weight for u16 {
    const BF16: bool = true;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }
}

impl Kernel {
    /// `panel` becomes `[input][lane]`.
    pub(super) fn pack_f32(self, rows: &Rows<'_, f32>, panel: &mut [f32]) {
        check(rows, panel.len() / LANES, panel.len() % LANES);
        dispatch!(self, f32(rows, panel));
    }

    /// `panel` becomes words of two bf16: see [`Panels::Bf16`](super::Panels::Bf16).
    pub(super) fn pack_bf16(self, rows: &Rows<'_, u16>, panel: &mut [u32]) {
        check(rows, panel.len() / (LANES / 2), panel.len() % (LANES / 2));
        dispatch!(self, bf16(rows, panel));
    }

    /// Rounds to 8 bits, into the layout of [`QuantizedPanels::Q8`](super::QuantizedPanels::Q8).
    pub(super) fn pack_q8<T: Weight>(
        self,
        rows: &Rows<'_, T>,
        (quants, scales): (&mut [i8], &mut [f16]),
    ) {
        let blocks = scales.len() / LANES;
        assert_eq!(scales.len(), blocks * LANES);
        assert_eq!(quants.len(), blocks * BLOCK * LANES);
        let fits = |row: &&[T]| row.len() == rows[0].len() && row.len().div_ceil(BLOCK) == blocks;
        assert!(rows.iter().all(fits));
        dispatch!(self, q8(rows, (quants, scales)));
    }

    /// Rounds the weights of a block, or as many as there are, to 4 bits.
    pub(super) fn quantize_q4(self, weights: &[f32]) -> Q4Block {
        match self {
            Self::Portable => Q4Block::quantize(weights),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => fit::quantize(proof, weights),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => fit::quantize(proof.avx2(), weights),
        }
    }
}

/// Panics unless the rows are all of `inputs` numbers and the panel has nothing beyond them.
fn check<T>(rows: &Rows<'_, T>, inputs: usize, rest: usize) {
    assert!(rest == 0 && rows.iter().all(|row| row.len() == inputs));
}

#[cfg(test)]
mod tests;
