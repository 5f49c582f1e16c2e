//! Rotary position embedding.

use super::attention::Shape;
use super::{kernel, math};

/// Cosines and sines of every position.
#[derive(Debug)]
pub(crate) struct Angles {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    pub(crate) fn new(theta: f64, head_size: usize, positions: usize) -> Self {
        let half = head_size / 2;
        let mut angles = Self {
            half,
            cos: Vec::with_capacity(positions * half),
            sin: Vec::with_capacity(positions * half),
        };
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "positions are small, and the angle is rounded to f32 as the reference does"
        )]
        for position in 0..positions {
            for pair in 0..half {
                let frequency = theta.powf(-2.0 * pair as f64 / head_size as f64) as f32;
                let angle = f64::from(position as f32 * frequency);
                angles.cos.push(angle.cos() as f32);
                angles.sin.push(angle.sin() as f32);
            }
        }
        angles
    }

    /// Rotates the queries and keys of one text.
    pub(crate) fn apply(&self, shape: Shape, qkv: &mut [f32]) {
        kernel::rotate_rows(self, shape, qkv);
    }
}

#[inline(always)]
pub(super) fn rotate_rows<const FMA: bool>(angles: &Angles, shape: Shape, qkv: &mut [f32]) {
    let hidden = shape.heads * shape.head_size;
    for (position, row) in qkv.chunks_exact_mut(3 * hidden).enumerate() {
        let cos = &angles.cos[position * angles.half..][..angles.half];
        let sin = &angles.sin[position * angles.half..][..angles.half];
        for head in row[..2 * hidden].chunks_exact_mut(shape.head_size) {
            math::rotate::<FMA>(cos, sin, head);
        }
    }
}
