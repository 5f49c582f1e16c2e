//! Operations on one row at a time, written so that the compiler vectorises them.
//!
//! Always inlined: each instruction set's file compiles its own copy.

use std::ops::Range;

use super::LANES;

/// Adding it rounds to an integer, which then sits in the low bits.
const ROUNDER: f32 = 12_582_912.0;

#[inline(always)]
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut sums = [0.0; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += x * x;
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += x * x;
    }
    let scale = 1.0 / (total(&sums) / x.len() as f32 + eps).sqrt();
    for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

#[inline(always)]
pub(super) fn softmax(scores: &mut [f32], stride: usize, visible: Range<usize>) -> f32 {
    let lane = |position: usize, group: usize| position.saturating_sub(group * LANES).min(LANES);
    let hide = |lanes: &mut [f32], group: usize, value: f32| {
        lanes[..lane(visible.start, group)].fill(value);
        lanes[lane(visible.end, group)..].fill(value);
    };
    let mut max = [f32::NEG_INFINITY; LANES];
    for (group, lanes) in scores.chunks_mut(stride).enumerate() {
        let lanes = &mut lanes[..LANES];
        hide(lanes, group, f32::NEG_INFINITY);
        for (max, &score) in max.iter_mut().zip(&*lanes) {
            *max = if score > *max { score } else { *max };
        }
    }
    let max = max.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0; LANES];
    for (group, lanes) in scores.chunks_mut(stride).enumerate() {
        let lanes = &mut lanes[..LANES];
        for score in lanes.iter_mut() {
            *score = exp(*score - max);
        }
        hide(lanes, group, 0.0);
        for (sum, &weight) in sums.iter_mut().zip(&*lanes) {
            *sum += weight;
        }
    }
    total(&sums)
}

#[inline(always)]
pub(super) fn softcap(x: &mut [f32], cap: f32) {
    let scale = 2.0 / cap;
    for x in x {
        // tanh(y) = 1 - 2 / (e^2y + 1)
        *x = cap * (1.0 - 2.0 / (exp(*x * scale) + 1.0));
    }
}

#[inline(always)]
pub(super) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1.0 + exp(-gate)) * up;
    }
}

#[inline(always)]
pub(super) fn geglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    /// Twice the square root of 2 / pi.
    const SCALE: f32 = 1.595_769;
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        // x / 2 * (1 + tanh(y)) = x / (1 + e^-2y)
        let doubled = SCALE * (gate + 0.044_715 * gate * gate * gate);
        *out = gate / (1.0 + exp(-doubled)) * up;
    }
}

/// Rounds to 8 bits. Each block of 32 numbers gets a scale, and the sum of what was kept.
#[allow(clippy::cast_possible_truncation, reason = "clamped to 8 bits")]
#[inline(always)]
pub(super) fn quantize(x: &[f32], (quants, scales, sums): (&mut [i8], &mut [f32], &mut [f32])) {
    const BLOCK: usize = 32;
    let blocks = quants.chunks_exact_mut(BLOCK).zip(x.chunks(BLOCK));
    for ((quants, x), (scale, sum)) in blocks.zip(scales.iter_mut().zip(sums)) {
        let mut block = [0.0; BLOCK];
        block[..x.len()].copy_from_slice(x);
        let mut largest = [0.0_f32; LANES];
        for half in block.chunks_exact(LANES) {
            for (largest, x) in largest.iter_mut().zip(half) {
                *largest = if x.abs() > *largest {
                    x.abs()
                } else {
                    *largest
                };
            }
        }
        let largest = largest.into_iter().fold(0.0_f32, f32::max);
        *scale = largest / 127.0;
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let mut total = 0;
        for (quant, x) in quants.iter_mut().zip(block) {
            let rounded = (x * inverse + ROUNDER)
                .to_bits()
                .wrapping_sub(ROUNDER.to_bits());
            *quant = rounded.cast_signed().clamp(-127, 127) as i8;
            total += i32::from(*quant);
        }
        *sum = *scale * total as f32;
    }
}

#[inline(always)]
fn total(sums: &[f32; LANES]) -> f32 {
    let mut sums = *sums;
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// e^x within 2 units in the last place, without branches.
///
/// Cephes' `expf`: e^x = 2^n * e^r with r in [-ln 2 / 2, ln 2 / 2], and a polynomial for e^r.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.3);
    let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut polynomial = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        polynomial = polynomial * r + coefficient;
    }
    let fraction = polynomial * r * r + r + 1.0;
    let exponent = rounded.to_bits().wrapping_sub(ROUNDER.to_bits());
    fraction * f32::from_bits(exponent.wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_library_s() {
        let mut x = -87.0_f32;
        while x < 88.0 {
            let expect = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expect).abs() / expect;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
            x += 0.003;
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1000.0) < 1e-37);
    }

    #[test]
    fn softmax_ignores_what_is_beyond_the_row() {
        // Two rows interleaved by groups of 16; the first row has 18 scores, then garbage.
        let mut scores: Vec<f32> = (0_u8..64).map(f32::from).collect();
        scores[40] = f32::NAN;
        let expect: f32 = (0..16_u8)
            .chain(32..34)
            .map(|score| (f32::from(score) - 33.0).exp())
            .sum();
        let sum = softmax(&mut scores, 32, 0..18);
        assert!((sum - expect).abs() < 1e-6, "{sum} {expect}");
        assert_eq!(scores[33], 1.0);
        assert_eq!(scores[34..48], [0.0; 14]);
    }

    #[test]
    fn softmax_sees_no_further_than_the_window() {
        let mut scores: Vec<f32> = (0_u8..48).map(f32::from).collect();
        scores[3] = f32::NAN;
        let sum = softmax(&mut scores, 16, 20..35);
        let expect: f32 = (20..35_u8)
            .map(|score| (f32::from(score) - 34.0).exp())
            .sum();
        assert!((sum - expect).abs() < 1e-6, "{sum} {expect}");
        assert_eq!(scores[34], 1.0);
        assert!(
            scores[..20]
                .iter()
                .chain(&scores[35..])
                .all(|&score| score == 0.0)
        );
    }

    #[test]
    fn bounds_and_gelu_are_those_of_the_formulas() {
        for x in [-300.0, -7.5, -1.0, -1e-3, 0.0, 0.3, 2.0, 49.0, 1e4_f32] {
            let mut capped = [x];
            softcap(&mut capped, 30.0);
            let expect = 30.0 * (f64::from(x) / 30.0).tanh();
            assert!((f64::from(capped[0]) - expect).abs() < 1e-5, "{x}");
            let mut gated = [0.0];
            geglu(&[x], &[2.0], &mut gated);
            let x = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            let expect = x * (1.0 + inner.tanh());
            let error = (f64::from(gated[0]) - expect).abs();
            assert!(
                error < 1e-5 * (1.0 + expect.abs()),
                "{x} {gated:?} {expect}"
            );
        }
    }
}
