//! Scales and minima of 4 bits for x86-64 with AVX2: eight groups of weights at a time, since the sums
//! of one are a chain.
#![allow(
    unsafe_code,
    reason = "loads and stores of vector registers take pointers; arrays bound them"
)]

use std::arch::x86_64::{
    __m256, _CMP_GE_OQ, _CMP_GT_OQ, _CMP_LT_OQ, _CMP_NLE_UQ, _mm256_add_ps, _mm256_and_ps,
    _mm256_blendv_ps, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_div_ps,
    _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_storeu_ps, _mm256_sub_ps, _mm256_xor_ps,
};

use super::avx2::{WIDTH, turn};
use crate::engine::embedded::kernel::avx2::Proof;
use crate::engine::embedded::kernel::quantized::{BLOCK, Fit, GROUPS, Q4_MAX, Q4Block, STEPS};

pub(super) fn quantize(_: Proof, weights: &[f32]) -> Q4Block {
    // SAFETY: the proof says that the instructions exist.
    unsafe { quantize_avx2(weights) }
}

#[target_feature(enable = "avx2")]
fn quantize_avx2(weights: &[f32]) -> Q4Block {
    Q4Block::fitted(weights, |groups| best(groups))
}

/// Scales and minima, one of each group.
#[derive(Debug, Clone, Copy)]
struct Fits {
    scale: __m256,
    min: __m256,
}

/// As [`Fit::best`], operation by operation.
#[inline]
#[target_feature(enable = "avx2")]
fn best(groups: &[[f32; BLOCK]; GROUPS]) -> [Fit; GROUPS] {
    let weights = columns(groups);
    let (mut low, mut high) = (_mm256_setzero_ps(), _mm256_setzero_ps());
    for &weights in &weights {
        low = _mm256_min_ps(weights, low);
        high = _mm256_max_ps(weights, high);
    }
    let spread = _mm256_sub_ps(high, low);
    let mut best = Fits {
        scale: _mm256_div_ps(spread, _mm256_set1_ps(Q4_MAX)),
        min: _mm256_xor_ps(low, _mm256_set1_ps(-0.0)),
    };
    let mut least = errors(best, &weights);
    let uneven = _mm256_cmp_ps::<_CMP_GT_OQ>(high, low);
    for step in STEPS {
        let inverse = _mm256_div_ps(_mm256_set1_ps(Q4_MAX + step), spread);
        let (fits, valid) = regress(&weights, low, inverse);
        let error = errors(fits, &weights);
        let better = _mm256_cmp_ps::<_CMP_LT_OQ>(error, least);
        let take = _mm256_and_ps(_mm256_and_ps(valid, uneven), better);
        best.scale = _mm256_blendv_ps(best.scale, fits.scale, take);
        best.min = _mm256_blendv_ps(best.min, fits.min, take);
        least = _mm256_blendv_ps(least, error, take);
    }
    let (mut scales, mut mins) = ([0.0; GROUPS], [0.0; GROUPS]);
    // SAFETY: a register holds as many numbers as there are groups.
    unsafe {
        _mm256_storeu_ps(scales.as_mut_ptr(), best.scale);
        _mm256_storeu_ps(mins.as_mut_ptr(), best.min);
    }
    std::array::from_fn(|group| Fit {
        scale: scales[group],
        min: mins[group],
    })
}

/// The weights of all groups at each place.
#[inline]
#[target_feature(enable = "avx2")]
fn columns(groups: &[[f32; BLOCK]; GROUPS]) -> [__m256; BLOCK] {
    let mut columns = [_mm256_setzero_ps(); BLOCK];
    for part in (0..BLOCK).step_by(WIDTH) {
        let mut square = [_mm256_setzero_si256(); WIDTH];
        for (numbers, group) in square.iter_mut().zip(groups) {
            // SAFETY: `part + WIDTH` is at most BLOCK.
            let weights = unsafe { _mm256_loadu_ps(group.as_ptr().add(part)) };
            *numbers = _mm256_castps_si256(weights);
        }
        for (column, numbers) in columns[part..].iter_mut().zip(turn(square)) {
            *column = _mm256_castsi256_ps(numbers);
        }
    }
    columns
}

/// Least squares for the quants that `low` and `inverse` give, and where there are any.
#[inline]
#[target_feature(enable = "avx2")]
fn regress(weights: &[__m256; BLOCK], low: __m256, inverse: __m256) -> (Fits, __m256) {
    let zero = _mm256_setzero_ps();
    let (mut sum, mut squares, mut total, mut mixed) = (zero, zero, zero, zero);
    for &weights in weights {
        let quants = quants(_mm256_mul_ps(_mm256_sub_ps(weights, low), inverse));
        sum = _mm256_add_ps(sum, quants);
        squares = _mm256_add_ps(squares, _mm256_mul_ps(quants, quants));
        total = _mm256_add_ps(total, weights);
        mixed = _mm256_add_ps(mixed, _mm256_mul_ps(quants, weights));
    }
    let count = _mm256_set1_ps(BLOCK as f32);
    let minus = |a, b, c, d| _mm256_sub_ps(_mm256_mul_ps(a, b), _mm256_mul_ps(c, d));
    let determinant = minus(count, squares, sum, sum);
    let scale = _mm256_div_ps(minus(count, mixed, sum, total), determinant);
    let min = _mm256_div_ps(minus(sum, mixed, squares, total), determinant);
    // A minimum above 0 cannot be said: the line goes through 0 then.
    let below = _mm256_cmp_ps::<_CMP_GE_OQ>(min, zero);
    let fits = Fits {
        scale: _mm256_blendv_ps(_mm256_div_ps(mixed, squares), scale, below),
        min: _mm256_and_ps(min, below),
    };
    let solvable = _mm256_cmp_ps::<_CMP_NLE_UQ>(determinant, zero);
    let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(fits.scale, zero);
    (fits, _mm256_and_ps(solvable, positive))
}

/// Squared errors.
#[inline]
#[target_feature(enable = "avx2")]
fn errors(fits: Fits, weights: &[__m256; BLOCK]) -> __m256 {
    let zero = _mm256_setzero_ps();
    let some = _mm256_cmp_ps::<_CMP_GT_OQ>(fits.scale, zero);
    let inverse = _mm256_and_ps(_mm256_div_ps(_mm256_set1_ps(1.0), fits.scale), some);
    let mut errors = zero;
    for &weights in weights {
        let quants = quants(_mm256_mul_ps(_mm256_add_ps(weights, fits.min), inverse));
        let meant = _mm256_sub_ps(_mm256_mul_ps(fits.scale, quants), fits.min);
        let off = _mm256_sub_ps(meant, weights);
        errors = _mm256_add_ps(errors, _mm256_mul_ps(off, off));
    }
    errors
}

/// The nearest whole numbers of 4 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn quants(x: __m256) -> __m256 {
    let rounder = _mm256_set1_ps(12_582_912.0);
    let whole = _mm256_sub_ps(_mm256_add_ps(x, rounder), rounder);
    // What is not a number stays that: the second operand is taken then.
    let least = _mm256_max_ps(_mm256_setzero_ps(), whole);
    _mm256_min_ps(_mm256_set1_ps(Q4_MAX), least)
}
