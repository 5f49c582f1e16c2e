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

/// [`ROWS`] rows of equal length times one panel of `f32` weights.
#[inline(always)]
pub(super) fn tile<const FMA: bool>(
    rows: [&[f32]; ROWS],
    panel: &[f32],
    sums: &mut [[f32; PANEL]; ROWS],
) {
    #[cfg(target_arch = "x86_64")]
    if FMA {
        // SAFETY: `FMA` is true only in functions that run after AVX2 and FMA were detected.
        unsafe { x86::tile_f32(rows, panel, sums) };
        return;
    }
    product::tile(rows, panel, sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_ps,
        _mm256_setzero_si256, _mm256_storeu_ps, _mm256_storeu_si256,
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
        let mut sums = [[0; PANEL]; ROWS];
        for (index, panel) in values.chunks_exact(pairs * PANEL * 2).enumerate() {
            let column = index * PANEL;
            let columns = column..outputs.min(column + PANEL);
            let mut column_scales = [0.0; PANEL];
            column_scales[..columns.len()].copy_from_slice(&scales[columns.clone()]);
            for first in (0..rows).step_by(ROWS) {
                let block = block_of(&input.values, pairs * 2, first, rows);
                tile_i16(block, panel, &mut sums);
                for (row, sums) in (first..rows).zip(&sums) {
                    let tile = scaled(sums, input.scales[row], &column_scales);
                    let out = &mut output[row * outputs..][columns.clone()];
                    epilogue.write(column, &tile, out);
                }
            }
        }
    }

    /// `ROWS` rows of pairs times one panel of pairs.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn tile_i16(rows: [&[i16]; ROWS], panel: &[i16], out: &mut [[i32; PANEL]; ROWS]) {
        let pairs = panel.len() / (2 * PANEL);
        for row in rows {
            assert!(row.len() >= 2 * pairs, "a row is as long as the panel");
        }
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        for pair in 0..pairs {
            // SAFETY: the panel holds 32 values of 16 bits per pair, which are two vectors, and
            // every row holds a pair of values at each of them, as asserted.
            unsafe {
                let weights: *const __m256i = panel.as_ptr().add(pair * 2 * PANEL).cast();
                let left = _mm256_loadu_si256(weights);
                let right = _mm256_loadu_si256(weights.add(1));
                for (row, sums) in rows.iter().zip(&mut sums) {
                    let both: *const i32 = row.as_ptr().add(2 * pair).cast();
                    let both = _mm256_set1_epi32(both.read_unaligned());
                    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(left, both));
                    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(right, both));
                }
            }
        }
        for (out, [left, right]) in out.iter_mut().zip(sums) {
            let slot: *mut __m256i = out.as_mut_ptr().cast();
            // SAFETY: the array holds 16 values of 32 bits, which are two vectors.
            unsafe {
                _mm256_storeu_si256(slot, left);
                _mm256_storeu_si256(slot.add(1), right);
            }
        }
    }

    /// `ROWS` rows times one panel.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn tile_f32(rows: [&[f32]; ROWS], panel: &[f32], out: &mut [[f32; PANEL]; ROWS]) {
        let inputs = panel.len() / PANEL;
        for row in rows {
            assert!(row.len() >= inputs, "a row is as long as the panel");
        }
        let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
        for input in 0..inputs {
            // SAFETY: the panel holds 16 values per input, which are two vectors, and every row
            // holds a value for each input, as asserted.
            unsafe {
                let weights = panel.as_ptr().add(input * PANEL);
                let left = _mm256_loadu_ps(weights);
                let right = _mm256_loadu_ps(weights.add(PANEL / 2));
                for (row, sums) in rows.iter().zip(&mut sums) {
                    let value = _mm256_broadcast_ss(&*row.as_ptr().add(input));
                    sums[0] = _mm256_fmadd_ps(value, left, sums[0]);
                    sums[1] = _mm256_fmadd_ps(value, right, sums[1]);
                }
            }
        }
        for (out, [left, right]) in out.iter_mut().zip(sums) {
            // SAFETY: the array holds 16 values, which are two vectors.
            unsafe {
                _mm256_storeu_ps(out.as_mut_ptr(), left);
                _mm256_storeu_ps(out.as_mut_ptr().add(PANEL / 2), right);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::product::Store;
    use super::*;

    /// Rows of whole numbers, so that every order of summation gives the same result.
    fn whole(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from(i8::try_from((state >> 24).cast_signed() - 128).unwrap())
            })
            .collect()
    }

    fn naive(input: &[f32], weights: &[f32], inputs: usize) -> Vec<f32> {
        let rows = input.chunks_exact(inputs);
        let products = rows.flat_map(|row| {
            let outputs = weights.chunks_exact(inputs);
            outputs.map(move |w| row.iter().zip(w).map(|(a, b)| a * b).sum::<f32>())
        });
        products.collect()
    }

    proptest! {
        #[test]
        fn products_equal_the_naive_loop(
            rows in 1_usize..30,
            inputs in 1_usize..40,
            outputs in 1_usize..40,
            seed in any::<u32>(),
        ) {
            let input = whole(rows * inputs, seed);
            let weights = whole(outputs * inputs, !seed);
            let expect = naive(&input, &weights, inputs);
            let mut scratch = Quantised::default();
            let packed = Packed::from_f32(outputs, inputs, &weights);
            let mut got = vec![1.0; rows * outputs];
            packed.multiply(&input, None, Store::Set, &mut got, &mut scratch);
            prop_assert_eq!(&got, &expect);
            let bias = vec![2.0; outputs];
            packed.multiply(&input, Some(&bias), Store::Add, &mut got, &mut scratch);
            prop_assert!(got.iter().zip(&expect).all(|(got, expect)| *got == 2.0 * expect + 2.0));
        }

        #[test]
        fn integer_products_equal_the_portable_ones(
            rows in 1_usize..30,
            inputs in 1_usize..600,
            outputs in 1_usize..40,
            seed in any::<u32>(),
        ) {
            let input = whole(rows * inputs, seed);
            #[expect(clippy::cast_possible_truncation, reason = "the values are small whole numbers")]
            let weights: Vec<i8> = whole(outputs * inputs, !seed).iter().map(|v| *v as i8).collect();
            let packed = Packed::from_i8(outputs, inputs, &weights, vec![0.01; outputs]);
            let mut scratch = Quantised::default();
            quantise(&input, inputs, &mut scratch);
            let epilogue = Epilogue { bias: None, store: Store::Set };
            let (mut fast, mut portable) = (vec![0.0; rows * outputs], vec![0.0; rows * outputs]);
            product_i16(&packed, &scratch, epilogue, &mut fast);
            product::product_i16(&packed, &scratch, epilogue, &mut portable);
            prop_assert_eq!(&fast, &portable);
            let weights: Vec<f32> = weights.iter().map(|v| f32::from(*v) * 0.01).collect();
            for (got, expect) in fast.iter().zip(naive(&input, &weights, inputs)) {
                prop_assert!((got - expect).abs() < 0.3, "{} {}", got, expect);
            }
        }
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        for inputs in [2, 256, 512, 1024, 3072] {
            let packed = Packed::from_i8(1, inputs, &vec![-127; inputs], vec![1.0]);
            let mut got = [0.0];
            let input = vec![-3.0; inputs];
            packed.multiply(
                &input,
                None,
                Store::Set,
                &mut got,
                &mut Quantised::default(),
            );
            let expect = 381.0 * inputs as f32;
            assert!(
                (got[0] - expect).abs() < expect * 1e-3,
                "{inputs}: {} {expect}",
                got[0]
            );
        }
    }
}
