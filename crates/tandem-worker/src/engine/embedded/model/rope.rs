//! Rotary position embeddings and the ways that models stretch them to longer contexts.

use std::f64::consts::PI;

/// How a model turns positions into rotations.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the wavelengths.
    pub theta: f64,
    /// How many of a head's dimensions are rotated: the first ones.
    pub dims: usize,
    /// How the wavelengths are stretched.
    pub scaling: RopeScaling,
}

/// How wavelengths are stretched beyond what the model was first trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All alike.
    Linear {
        /// By how much.
        factor: f64,
    },
    /// Llama 3.1: long ones fully, short ones not at all, and a smooth transition.
    Llama3 {
        /// By how much.
        factor: f64,
        /// Wavelengths above `original / low` are stretched fully.
        low: f64,
        /// Wavelengths below `original / high` are left alone.
        high: f64,
        /// Context of the first training.
        original: f64,
    },
    /// Each by a factor of its own: LongRoPE (Ding et al. 2024), and GGUF files of Llama 3.1.
    Factors {
        /// One for each pair of dimensions.
        factors: Vec<f64>,
        /// Multiplies sines and cosines.
        attention: f64,
    },
    /// YaRN (Peng et al. 2023).
    Yarn {
        /// By how much.
        factor: f64,
        /// Multiplies sines and cosines.
        attention: f64,
        /// Dimensions that rotate more often than this over the original context are left alone.
        fast: f64,
        /// Dimensions that rotate less often than this are stretched fully.
        slow: f64,
        /// Context of the first training.
        original: f64,
        /// Whether the range between is widened to whole dimensions.
        truncate: bool,
    },
}

impl Rope {
    /// Angle per position of each pair of dimensions, and what multiplies sines and cosines.
    pub fn frequencies(&self) -> (Vec<f32>, f32) {
        let plain: Vec<f64> = (0..self.dims / 2)
            .map(|pair| self.theta.powf(-(2.0 * pair as f64) / self.dims as f64))
            .collect();
        let mut magnitude = 1.0;
        let scaled: Vec<f64> = match &self.scaling {
            RopeScaling::None => plain,
            RopeScaling::Linear { factor } => plain.iter().map(|f| f / factor).collect(),
            RopeScaling::Factors { factors, attention } => {
                magnitude = *attention;
                let pairs = plain.iter().zip(factors);
                pairs
                    .map(|(frequency, factor)| frequency / factor)
                    .collect()
            }
            &RopeScaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => {
                let stretch = |frequency: f64| {
                    let turns = original * frequency / (2.0 * PI);
                    let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                };
                plain.into_iter().map(stretch).collect()
            }
            &RopeScaling::Yarn {
                factor, attention, ..
            } => {
                magnitude = attention;
                let (from, to) = self.yarn_range();
                let stretch = |(pair, frequency): (usize, f64)| {
                    let stretched = ((pair as f64 - from) / (to - from)).clamp(0.0, 1.0);
                    frequency / factor * stretched + frequency * (1.0 - stretched)
                };
                plain.into_iter().enumerate().map(stretch).collect()
            }
        };
        (scaled.into_iter().map(narrow).collect(), narrow(magnitude))
    }

    /// The pairs of dimensions between which YaRN goes from not stretched to stretched.
    fn yarn_range(&self) -> (f64, f64) {
        let RopeScaling::Yarn {
            fast,
            slow,
            original,
            truncate,
            ..
        } = self.scaling
        else {
            return (0.0, 1.0);
        };
        let dim = self.dims as f64;
        let pair_with =
            |turns: f64| dim * (original / (turns * 2.0 * PI)).ln() / (2.0 * self.theta.ln());
        let (mut from, mut to) = (pair_with(fast), pair_with(slow));
        if truncate {
            (from, to) = (from.floor(), to.ceil());
        }
        let (from, to) = (from.max(0.0), to.min(dim - 1.0));
        let to = if from == to { to + 0.001 } else { to };
        (from, to)
    }
}

/// YaRN's factor for sines and cosines where the model does not name one.
pub(super) fn yarn_attention(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * mscale * factor.ln() + 1.0
    }
}

#[allow(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Cosines then sines, for each pair of dimensions, at one position.
pub(super) fn angles(frequencies: &[f32], magnitude: f32, position: usize, out: &mut [f32]) {
    let (cosines, sines) = out.split_at_mut(frequencies.len());
    for ((cosine, sine), &frequency) in cosines.iter_mut().zip(sines).zip(frequencies) {
        let (s, c) = (position as f32 * frequency).sin_cos();
        *cosine = c * magnitude;
        *sine = s * magnitude;
    }
}

/// Rotates as many dimensions of one head as there are `angles`: dimension `i` with the one half
/// of them further on.
pub(super) fn rotate(head: &mut [f32], angles: &[f32]) {
    let half = angles.len() / 2;
    let (first, second) = head[..angles.len()].split_at_mut(half);
    let (cosines, sines) = angles.split_at(half);
    let pairs = first.iter_mut().zip(second);
    for ((a, b), (&cosine, &sine)) in pairs.zip(cosines.iter().zip(sines)) {
        (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
    }
}
