//! Operations on one row at a time, written so that the compiler vectorises them.
//!
//! Always inlined: each instruction set's file compiles its own copy.

use super::LANES;

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
pub(super) fn softmax(scores: &mut [f32], stride: usize, len: usize) -> f32 {
    let valid = |group: usize| len.saturating_sub(group * LANES).min(LANES);
    let mut max = [f32::NEG_INFINITY; LANES];
    for (group, lanes) in scores.chunks_mut(stride).enumerate() {
        let lanes = &mut lanes[..LANES];
        lanes[valid(group)..].fill(f32::NEG_INFINITY);
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
        lanes[valid(group)..].fill(0.0);
        for (sum, &weight) in sums.iter_mut().zip(&*lanes) {
            *sum += weight;
        }
    }
    total(&sums)
}

#[inline(always)]
pub(super) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1.0 + exp(-gate)) * up;
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
    /// Adding it rounds to an integer, which then sits in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
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
        let sum = softmax(&mut scores, 32, 18);
        assert!((sum - expect).abs() < 1e-6, "{sum} {expect}");
        assert_eq!(scores[33], 1.0);
        assert_eq!(scores[34..48], [0.0; 14]);
    }
}
