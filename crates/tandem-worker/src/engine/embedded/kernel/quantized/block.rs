//! Blocks of quantised weights, as GGUF files store them and as we make them at load.

use half::f16;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Weights that share a scale: the unit along the inputs in which products are computed.
pub(crate) const BLOCK: usize = 32;
/// Blocks of a [`Q4Block`].
pub(crate) const GROUPS: usize = 8;
pub(in super::super) const Q4_MAX: f32 = 15.0;
const SIX_BITS: f32 = 63.0;
/// How far the first scale of a [`Fit`] is stretched, in quants.
pub(in super::super) const STEPS: [f32; 6] = [-1.0, -0.6, -0.3, 0.0, 0.3, 0.6];

/// Q8_0: 32 weights, each `scale * quant`. The bytes are those of a file.
#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Q8Block {
    /// Of all weights.
    pub scale: f16,
    /// The weights, in order.
    pub quants: [i8; BLOCK],
}

/// Q4_K: 256 weights in 8 groups, each `scale * group's scale * quant - min * group's min`.
#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Q4Block {
    /// Of the groups' scales.
    pub scale: f16,
    /// Of the groups' minima.
    pub min: f16,
    /// One for each group, below 64.
    pub scales: [u8; GROUPS],
    /// One for each group, below 64.
    pub mins: [u8; GROUPS],
    /// Two groups in 32 bytes: the even one in the low halves.
    pub quants: [u8; BLOCK * GROUPS / 2],
}

impl Q8Block {
    /// Weights of a block.
    pub const WEIGHTS: usize = BLOCK;

    /// Rounds to 8 bits; missing weights are 0.
    #[allow(clippy::cast_possible_truncation, reason = "rounded to -127..=127")]
    pub fn quantize(weights: &[f32]) -> Self {
        let largest = largest(weights);
        // Of what will be read, not of what was meant.
        let scale = f16::from_f32(largest / 127.0);
        let inverse = inverse(scale.to_f32());
        let mut quants = [0; BLOCK];
        for (quant, weight) in quants.iter_mut().zip(weights) {
            *quant = whole(weight * inverse).clamp(-127.0, 127.0) as i8;
        }
        Self { scale, quants }
    }

    /// The weight at `index`.
    pub fn get(&self, index: usize) -> f32 {
        self.scale.to_f32() * f32::from(self.quants[index])
    }
}

/// The largest absolute value, found in lanes that the compiler turns into vectors.
fn largest(weights: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    for weights in weights.chunks(lanes.len()) {
        for (largest, weight) in lanes.iter_mut().zip(weights) {
            let size = weight.abs();
            *largest = if size > *largest { size } else { *largest };
        }
    }
    lanes.into_iter().fold(0.0, f32::max)
}

impl Q4Block {
    /// Weights of a block.
    pub const WEIGHTS: usize = BLOCK * GROUPS;
    /// Bytes in a file.
    pub const BYTES: usize = 4 + 12 + Self::WEIGHTS / 2;

    /// Reads the bytes of a file, where scales and minima of 6 bits share 12 bytes.
    pub fn read(bytes: &[u8]) -> Self {
        let packed = &bytes[4..16];
        let (mut scales, mut mins) = ([0; GROUPS], [0; GROUPS]);
        for i in 0..GROUPS / 2 {
            scales[i] = packed[i] & 63;
            mins[i] = packed[i + 4] & 63;
            scales[i + 4] = (packed[i + 8] & 15) | (packed[i] >> 6 << 4);
            mins[i + 4] = (packed[i + 8] >> 4) | (packed[i + 4] >> 6 << 4);
        }
        let mut quants = [0; Self::WEIGHTS / 2];
        quants.copy_from_slice(&bytes[16..Self::BYTES]);
        Self {
            scale: f16::from_le_bytes([bytes[0], bytes[1]]),
            min: f16::from_le_bytes([bytes[2], bytes[3]]),
            scales,
            mins,
            quants,
        }
    }

    /// Rounds to 4 bits with the scales and minima of least error; missing weights are 0.
    pub fn quantize(weights: &[f32]) -> Self {
        Self::fitted(weights, |groups| groups.map(|group| Fit::best(&group)))
    }

    /// Rounds as `fit` says.
    #[inline(always)]
    pub(in super::super) fn fitted(
        weights: &[f32],
        fit: impl FnOnce(&[[f32; BLOCK]; GROUPS]) -> [Fit; GROUPS],
    ) -> Self {
        let mut groups = [[0.0; BLOCK]; GROUPS];
        for (group, weights) in groups.iter_mut().zip(weights.chunks(BLOCK)) {
            group[..weights.len()].copy_from_slice(weights);
        }
        let fits = fit(&groups);
        let largest = |of: fn(&Fit) -> f32| fits.iter().map(of).fold(0.0, f32::max);
        let scale = f16::from_f32(largest(|fit| fit.scale) / SIX_BITS);
        let min = f16::from_f32(largest(|fit| fit.min) / SIX_BITS);
        let of_scale = inverse(scale.to_f32());
        let of_min = inverse(min.to_f32());
        let mut block = Self {
            scale,
            min,
            scales: fits.map(|fit| round(fit.scale * of_scale, SIX_BITS)),
            mins: fits.map(|fit| round(fit.min * of_min, SIX_BITS)),
            quants: [0; Self::WEIGHTS / 2],
        };
        for (group, weights) in groups.iter().enumerate() {
            let (scale, min) = block.affine(group);
            let inverse = inverse(scale);
            let quants = &mut block.quants[group / 2 * BLOCK..][..BLOCK];
            for (quant, weight) in quants.iter_mut().zip(weights) {
                *quant |= round((weight + min) * inverse, Q4_MAX) << (group % 2 * 4);
            }
        }
        block
    }

    /// Scale and minimum of a group: its weights are `scale * quant - min`.
    pub fn affine(&self, group: usize) -> (f32, f32) {
        (
            self.scale.to_f32() * f32::from(self.scales[group]),
            self.min.to_f32() * f32::from(self.mins[group]),
        )
    }

    /// The 4 bits at `index`.
    pub fn quant(&self, index: usize) -> u8 {
        let (group, place) = (index / BLOCK, index % BLOCK);
        self.quants[group / 2 * BLOCK + place] >> (group % 2 * 4) & 15
    }

    /// The 4 bits of a group: those of its first half in the low halves of bytes.
    pub(super) fn halves(&self, group: usize) -> [u8; BLOCK / 2] {
        let pair = &self.quants[group / 2 * BLOCK..][..BLOCK];
        let (first, second) = pair.split_at(BLOCK / 2);
        let shift = group % 2 * 4;
        std::array::from_fn(|i| (first[i] >> shift & 15) | (second[i] >> shift & 15) << 4)
    }

    /// The weight at `index`.
    pub fn get(&self, index: usize) -> f32 {
        let (scale, min) = self.affine(index / BLOCK);
        scale * f32::from(self.quant(index)) - min
    }
}

/// How a group of weights becomes 4 bits: `scale * quant - min`.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Fit {
    pub(in super::super) scale: f32,
    pub(in super::super) min: f32,
}

impl Fit {
    /// Tries some roundings, and for each the scale and minimum of least squared error.
    fn best(weights: &[f32; BLOCK]) -> Self {
        let low = weights.iter().copied().fold(0.0, f32::min);
        let high = weights.iter().copied().fold(0.0, f32::max);
        let mut best = Self {
            scale: (high - low) / Q4_MAX,
            min: -low,
        };
        if high <= low {
            return best;
        }
        let mut least = best.error(weights);
        for step in STEPS {
            let inverse = (Q4_MAX + step) / (high - low);
            let Some(fit) = Self::regress(weights, low, inverse) else {
                continue;
            };
            let error = fit.error(weights);
            if error < least {
                (best, least) = (fit, error);
            }
        }
        best
    }

    /// Least squares for the quants that `low` and `inverse` give.
    fn regress(weights: &[f32; BLOCK], low: f32, inverse: f32) -> Option<Self> {
        let (mut sum, mut squares, mut total, mut mixed) = (0.0, 0.0, 0.0, 0.0);
        for &weight in weights {
            let quant = whole((weight - low) * inverse).clamp(0.0, Q4_MAX);
            sum += quant;
            squares += quant * quant;
            total += weight;
            mixed += quant * weight;
        }
        let count = BLOCK as f32;
        let determinant = count * squares - sum * sum;
        if determinant <= 0.0 {
            return None;
        }
        let scale = (count * mixed - sum * total) / determinant;
        let min = (sum * mixed - squares * total) / determinant;
        if min >= 0.0 {
            return (scale > 0.0).then_some(Self { scale, min });
        }
        // A minimum above 0 cannot be said: the line goes through 0 then.
        let scale = mixed / squares;
        (scale > 0.0).then_some(Self { scale, min: 0.0 })
    }

    fn error(&self, weights: &[f32; BLOCK]) -> f32 {
        let inverse = inverse(self.scale);
        let mut error = 0.0;
        for &weight in weights {
            let quant = whole((weight + self.min) * inverse).clamp(0.0, Q4_MAX);
            let off = self.scale * quant - self.min - weight;
            error += off * off;
        }
        error
    }
}

#[inline(always)]
fn inverse(scale: f32) -> f32 {
    if scale > 0.0 { 1.0 / scale } else { 0.0 }
}

/// Adding it rounds to an integer, which then sits in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// The nearest whole number, for small ones, in a way that the compiler vectorises.
#[inline(always)]
fn whole(x: f32) -> f32 {
    (x + ROUNDER) - ROUNDER
}

/// The nearest whole number of a few bits; 0 for what is not a number.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the low bits are what is wanted"
)]
#[inline(always)]
fn round(x: f32, max: f32) -> u8 {
    (whole(x).max(0.0).min(max) + ROUNDER).to_bits() as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn eight_bits_are_within_half_a_step(
            weights in proptest::collection::vec(-3.0_f32..3.0, 1..=BLOCK),
        ) {
            let block = Q8Block::quantize(&weights);
            let largest = weights.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
            for (index, &weight) in weights.iter().enumerate() {
                // The scale itself is rounded to 11 bits.
                let allowed = largest / 127.0 * 0.57 + 1e-6;
                prop_assert!((block.get(index) - weight).abs() <= allowed, "{weight}");
            }
            prop_assert!((weights.len()..BLOCK).all(|index| block.get(index) == 0.0));
        }

        #[test]
        fn four_bits_are_close(
            weights in proptest::collection::vec(-2.0_f32..2.0, Q4Block::WEIGHTS),
            shift in -1.0_f32..1.0,
        ) {
            let weights: Vec<f32> = weights.iter().map(|weight| weight + shift).collect();
            let block = Q4Block::quantize(&weights);
            let mut squares = 0.0;
            for (index, &weight) in weights.iter().enumerate() {
                squares += (block.get(index) - weight).powi(2);
            }
            // Uniform errors of half a step of 4.0 / 15 have a deviation of 0.077.
            let deviation = (squares / weights.len() as f32).sqrt();
            prop_assert!(deviation < 0.11, "{deviation}");
        }
    }

    #[test]
    fn degenerate_blocks_are_exact() {
        for value in [0.0, 1.5, -1.5] {
            let four = Q4Block::quantize(&[value; Q4Block::WEIGHTS]);
            let eight = Q8Block::quantize(&[value; BLOCK]);
            assert!((four.get(77) - value).abs() < 2e-3, "{}", four.get(77));
            assert!((eight.get(7) - value).abs() < 2e-3, "{}", eight.get(7));
        }
    }

    #[test]
    fn six_bit_scales_are_unpacked() {
        // Scales 0..8 times 8, minima 63 down by 7, packed as the format says.
        let scales: [u8; 8] = std::array::from_fn(|i| u8::try_from(i * 8).unwrap());
        let mins: [u8; 8] = std::array::from_fn(|i| 63 - u8::try_from(i * 7).unwrap());
        let mut bytes = [0_u8; Q4Block::BYTES];
        bytes[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        bytes[2..4].copy_from_slice(&f16::from_f32(0.25).to_le_bytes());
        for i in 0..4 {
            bytes[4 + i] = scales[i] | (scales[i + 4] >> 4 << 6);
            bytes[8 + i] = mins[i] | (mins[i + 4] >> 4 << 6);
            bytes[12 + i] = (scales[i + 4] & 15) | (mins[i + 4] << 4);
        }
        bytes[16 + 32 + 5] = 0x9c;
        let block = Q4Block::read(&bytes);
        assert_eq!((block.scales, block.mins), (scales, mins));
        // Byte 5 of the second pair of groups: 12 in group 2, 9 in group 3.
        assert_eq!(block.get(64 + 5), 0.5 * 16.0 * 12.0 - 0.25 * 49.0);
        assert_eq!(block.get(96 + 5), 0.5 * 24.0 * 9.0 - 0.25 * 42.0);
    }
}
