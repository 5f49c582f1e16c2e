//! Panels for any machine, and what the others are tested against.

use half::f16;

use super::{Rows, Weight};
use crate::engine::embedded::kernel::LANES;
use crate::engine::embedded::kernel::quantized::{BLOCK, Q8Block, write_q8};

/// Numbers of a row that are read before the next row: its part of a panel stays in the L1 cache.
const TOGETHER: usize = 256;

pub(super) fn f32(rows: &Rows<'_, f32>, panel: &mut [f32]) {
    let (panel, _) = panel.as_chunks_mut::<LANES>();
    for (index, panel) in panel.chunks_mut(TOGETHER).enumerate() {
        for (lane, row) in rows.iter().enumerate() {
            let row = &row[index * TOGETHER..];
            for (lanes, &number) in panel.iter_mut().zip(row) {
                lanes[lane] = number;
            }
        }
    }
}

pub(super) fn bf16(rows: &Rows<'_, u16>, panel: &mut [u32]) {
    const HALF: usize = LANES / 2;
    let (panel, _) = panel.as_chunks_mut::<HALF>();
    for (index, panel) in panel.chunks_mut(TOGETHER).enumerate() {
        for lane in 0..HALF {
            let low = &rows[lane][index * TOGETHER..];
            let high = &rows[lane + HALF][index * TOGETHER..];
            for (words, (&low, &high)) in panel.iter_mut().zip(low.iter().zip(high)) {
                words[lane] = u32::from(low) | u32::from(high) << 16;
            }
        }
    }
}

pub(super) fn q8<T: Weight>(rows: &Rows<'_, T>, (quants, scales): (&mut [i8], &mut [f16])) {
    for (lane, row) in rows.iter().enumerate() {
        for (block, weights) in row.chunks(BLOCK).enumerate() {
            let mut wide = [0.0; BLOCK];
            for (wide, weight) in wide.iter_mut().zip(weights) {
                *wide = weight.widen();
            }
            let block_of_row = Q8Block::quantize(&wide[..weights.len()]);
            write_q8(&block_of_row, (block, lane), (quants, scales));
        }
    }
}
