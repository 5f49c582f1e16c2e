//! The hot loops, compiled for the instruction set found at run time.
//!
//! Everything here has a portable body in safe Rust. On x86-64 with AVX2 and FMA the same bodies
//! are compiled again with those instructions, and the integer product uses them by hand.
//! This is the only file of the crate with `unsafe`.
#![allow(
    unsafe_code,
    reason = "instructions beyond the baseline can only be called through unsafe"
)]

use super::attention::{self, Scratch, Shape};
use super::product::{self, Epilogue, Packed, Quantised};
use super::rotary::{self, Angles};
use super::{Activation, Norm, math};

/// Columns of a packed panel.
pub(super) const PANEL: usize = 16;
/// Rows that one inner loop works on.
pub(super) const ROWS: usize = 6;

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

/// Defines a function that runs a portable body with the best instructions available.
macro_rules! dispatch {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) => $module:ident::$body:ident) => {
        $(#[$doc])*
        pub(super) fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) {
                    $module::$body::<true>($($arg),*);
                }
                if has_avx2() {
                    // SAFETY: the processor has AVX2 and FMA.
                    unsafe { avx2($($arg),*) };
                    return;
                }
            }
            $module::$body::<false>($($arg),*);
        }
    };
}

dispatch! {
    /// Normalises rows.
    fn layer_norm(norm: &Norm, input: &[f32], output: &mut [f32]) => math::layer_norm
}
dispatch! {
    /// Applies an activation in place.
    fn activate(activation: Activation, values: &mut [f32]) => math::activate
}
dispatch! {
    /// Multiplies the activated first half of each row with its second half.
    fn gate(activation: Activation, width: usize, input: &mut [f32], output: &mut [f32]) => math::gate
}
dispatch! {
    /// Turns a row of scores into probabilities.
    fn softmax(row: &mut [f32]) => math::softmax
}
dispatch! {
    /// Rotates queries and keys by position.
    fn rotate_rows(angles: &Angles, shape: Shape, qkv: &mut [f32]) => rotary::rotate_rows
}
dispatch! {
    /// Rounds rows to integers.
    fn quantise(input: &[f32], width: usize, out: &mut Quantised) => product::quantise
}
dispatch! {
    /// Multiplies with `f32` weights.
    fn product_f32(
        weights: &Packed,
        panels: &[f32],
        input: &[f32],
        epilogue: Epilogue<'_>,
        output: &mut [f32],
    ) => product::product_f32
}
dispatch! {
    /// Attends within one head.
    fn attend_head(
        shape: Shape,
        head: usize,
        qkv: &[f32],
        output: &mut [f32],
        scratch: &mut Scratch,
    ) => attention::attend_head
}

/// Multiplies quantised activations with int8 weights.
pub(super) fn product_i16(
    weights: &Packed,
    input: &Quantised,
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        unsafe { x86::product_i16(weights, input, epilogue, output) };
        return;
    }
    product::product_i16(weights, input, epilogue, output);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32,
        _mm256_setzero_si256, _mm256_storeu_si256,
    };

    use super::super::product::{Epilogue, Packed, Panels, Quantised, block_of, scaled};
    use super::{PANEL, ROWS};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn product_i16(
        weights: &Packed,
        input: &Quantised,
        epilogue: Epilogue<'_>,
        output: &mut [f32],
    ) {
        let Panels::I16 { values, scales } = &weights.panels else {
            return;
        };
        let pairs = weights.inputs.div_ceil(2);
        let outputs = weights.outputs;
        let rows = input.scales.len();
        for (index, panel) in values.chunks_exact(pairs * PANEL * 2).enumerate() {
            let column = index * PANEL;
            let columns = column..outputs.min(column + PANEL);
            for first in (0..rows).step_by(ROWS) {
                let block = block_of(&input.values, pairs * 2, first, rows);
                let sums = tile(block, panel);
                for (row, sums) in (first..rows).zip(&sums) {
                    let tile = scaled(sums, input.scales[row], &scales[columns.clone()]);
                    let out = &mut output[row * outputs..][columns.clone()];
                    epilogue.write(column, &tile, out);
                }
            }
        }
    }

    /// `ROWS` rows of pairs times one panel of pairs.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn tile(rows: [&[i16]; ROWS], panel: &[i16]) -> [[i32; PANEL]; ROWS] {
        let (panel, _) = panel.as_chunks::<{ PANEL * 2 }>();
        let rows = rows.map(|row| &row.as_chunks::<2>().0[..panel.len()]);
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        for (index, weights) in panel.iter().enumerate() {
            let weights: *const __m256i = weights.as_ptr().cast();
            // SAFETY: the array holds 32 values of 16 bits, which are two vectors.
            let (left, right) = unsafe {
                (
                    _mm256_loadu_si256(weights),
                    _mm256_loadu_si256(weights.add(1)),
                )
            };
            for (row, sums) in rows.iter().zip(&mut sums) {
                let [a, b] = row[index];
                let pair = i32::from(a.cast_unsigned()) | (i32::from(b) << 16);
                let pair = _mm256_set1_epi32(pair);
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(left, pair));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(right, pair));
            }
        }
        sums.map(|[left, right]| {
            let mut out = [0; PANEL];
            let slot: *mut __m256i = out.as_mut_ptr().cast();
            // SAFETY: the array holds 16 values of 32 bits, which are two vectors.
            unsafe {
                _mm256_storeu_si256(slot, left);
                _mm256_storeu_si256(slot.add(1), right);
            }
            out
        })
    }
}
