//! Attention of one text within itself.

use super::kernel::{self, PANEL, ROWS};
use super::math;
use super::product::block_of;

/// The shape of an attention layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) heads: usize,
    pub(crate) head_size: usize,
    /// How many positions to each side a position sees; all if `None`.
    pub(crate) reach: Option<usize>,
}

/// Buffers kept between calls.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
    queries: Vec<f32>,
}

/// Attends from every position of one text to the positions it sees. `qkv` is
/// `[positions, 3 * heads * head_size]`, `output` is `[positions, heads * head_size]`.
pub(crate) fn attend(shape: Shape, qkv: &[f32], output: &mut [f32], scratch: &mut Scratch) {
    for head in 0..shape.heads {
        kernel::attend_head(shape, head, qkv, output, scratch);
    }
}

#[inline(always)]
pub(super) fn attend_head<const FMA: bool>(
    shape: Shape,
    head: usize,
    qkv: &[f32],
    output: &mut [f32],
    scratch: &mut Scratch,
) {
    let size = shape.head_size;
    let hidden = shape.heads * size;
    let positions = qkv.len() / (3 * hidden);
    pack(shape, head, qkv, scratch);
    #[expect(clippy::cast_precision_loss, reason = "a head is small")]
    let scale = 1.0 / (size as f32).sqrt();
    let padded = positions.next_multiple_of(PANEL);
    scratch.scores.clear();
    scratch.scores.resize(ROWS * padded, 0.0);
    let mut sums = [[0.0; PANEL]; ROWS];
    for first in (0..positions).step_by(ROWS) {
        let last = (first + ROWS).min(positions) - 1;
        let (low, high) = match shape.reach {
            None => (0, positions),
            Some(reach) => (
                first.saturating_sub(reach) / PANEL * PANEL,
                (last + reach + 1).min(positions),
            ),
        };
        let width = (high - low).next_multiple_of(PANEL);
        let queries = block_of(&scratch.queries, size, first, positions);
        for (panel, key) in (low / PANEL..(low + width) / PANEL).enumerate() {
            let keys = &scratch.keys[key * size * PANEL..][..size * PANEL];
            kernel::tile::<FMA>(queries, keys, &mut sums);
            for (row, sums) in sums.iter().enumerate() {
                let scores = &mut scratch.scores[row * padded + panel * PANEL..][..PANEL];
                for (score, sum) in scores.iter_mut().zip(sums) {
                    *score = sum * scale;
                }
            }
        }
        for row in 0..=(last - first) {
            let (from, to) = match shape.reach {
                None => (0, positions),
                Some(reach) => (
                    (first + row).saturating_sub(reach).max(low) - low,
                    (first + row + reach + 1).min(high) - low,
                ),
            };
            // Out of reach, and the padding of the last panel: weight 0.
            let scores = &mut scratch.scores[row * padded..][..width];
            scores[..from].fill(f32::NEG_INFINITY);
            scores[to..].fill(f32::NEG_INFINITY);
            math::softmax::<FMA>(scores);
        }
        let weights = block_of(&scratch.scores, padded, 0, last - first + 1);
        for (panel, values) in scratch.values.chunks_exact(positions * PANEL).enumerate() {
            let values = &values[low * PANEL..high * PANEL];
            kernel::tile::<FMA>(weights, values, &mut sums);
            let column = head * size + panel * PANEL;
            let width = PANEL.min(size - panel * PANEL);
            for (row, sums) in (first..=last).zip(&sums) {
                let output = &mut output[row * hidden + column..];
                match output.first_chunk_mut::<PANEL>() {
                    Some(output) if width == PANEL => *output = *sums,
                    _ => output[..width].copy_from_slice(&sums[..width]),
                }
            }
        }
    }
}

/// Copies a head's keys into panels of [`PANEL`] positions and its values into panels of
/// [`PANEL`] columns, both as [`kernel::tile`] wants them.
#[inline(always)]
fn pack(shape: Shape, head: usize, qkv: &[f32], scratch: &mut Scratch) {
    let size = shape.head_size;
    let hidden = shape.heads * size;
    let positions = qkv.len() / (3 * hidden);
    scratch.queries.clear();
    scratch.keys.clear();
    scratch
        .keys
        .resize(positions.next_multiple_of(PANEL) * size, 0.0);
    scratch.values.clear();
    scratch
        .values
        .resize(positions * size.next_multiple_of(PANEL), 0.0);
    for (position, row) in qkv.chunks_exact(3 * hidden).enumerate() {
        let part = |third: usize| &row[third * hidden + head * size..][..size];
        scratch.queries.extend_from_slice(part(0));
        let keys = &mut scratch.keys[position / PANEL * size * PANEL + position % PANEL..];
        for (slot, key) in keys.iter_mut().step_by(PANEL).zip(part(1)) {
            *slot = *key;
        }
        for (panel, values) in part(2).chunks(PANEL).enumerate() {
            let slot = (panel * positions + position) * PANEL;
            let slot = &mut scratch.values[slot..][..PANEL];
            match (
                slot.first_chunk_mut::<PANEL>(),
                values.first_chunk::<PANEL>(),
            ) {
                (Some(slot), Some(values)) => *slot = *values,
                _ => slot[..values.len()].copy_from_slice(values),
            }
        }
    }
}
