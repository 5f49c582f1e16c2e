//! How a product is cut for the vector kernels: what a tile reads and where it writes.
#![allow(
    unsafe_code,
    reason = "tiles are pointers into what QuantizedProduct::check has bounded"
)]

use half::f16;

use super::block::{BLOCK, GROUPS};
use super::{QuantizedPanels, QuantizedProduct};
use crate::engine::embedded::kernel::LANES;

/// Blocks that are computed before the next panel: a panel's part stays in the L1 cache.
const BLOCKS: usize = 16;
/// Rows whose inputs for so many blocks stay in the L2 cache.
const ROWS: usize = 192;
/// Up to this many rows, a panel is read from beginning to end: memory bounds the time.
const FEW_ROWS: usize = 4;

/// Some rows of inputs for some blocks of a panel.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) quants: *const i8,
    pub(super) scales: *const f32,
    pub(super) sums: *const f32,
    /// Blocks from one row to the next.
    pub(super) stride: usize,
    pub(super) weights: Weights,
    /// Blocks to compute.
    pub(super) blocks: usize,
    pub(super) out: *mut f32,
    /// Whether `out` holds the sums of the blocks before.
    pub(super) accumulate: bool,
}

/// The weights of one panel from some block on.
#[derive(Clone, Copy)]
pub(super) enum Weights {
    Q8 {
        quants: *const i8,
        scales: *const f16,
    },
    Q4 {
        quants: *const u8,
        groups: *const u8,
        /// Of the first 8 blocks.
        scales: *const f16,
        /// Place of the first block among its 8.
        offset: usize,
    },
}

/// Calls `run` with tiles of as many rows as it says, until all of `product` is covered.
///
/// # Safety
/// `product.check()` has passed, `run` computes the first `n` rows of the tile it is given, reads
/// no other blocks and returns `n`, which is between 1 and the number of rows it is told are left.
#[inline(always)]
pub(super) unsafe fn each(
    product: &mut QuantizedProduct<'_>,
    mut run: impl FnMut(Tile, usize) -> usize,
) {
    let x = product.x;
    let panels = product.panel_count();
    let step = if x.rows <= FEW_ROWS { x.blocks } else { BLOCKS };
    for block in (0..x.blocks).step_by(step) {
        for first in (0..x.rows).step_by(ROWS) {
            let end = x.rows.min(first + ROWS);
            for panel in 0..panels {
                let mut row = first;
                while row < end {
                    // SAFETY: block, row and panel exist, and `check` has verified that what they
                    // refer to is within bounds.
                    let tile = unsafe {
                        Tile {
                            quants: x.quants.as_ptr().add((row * x.blocks + block) * BLOCK),
                            scales: x.scales.as_ptr().add(row * x.blocks + block),
                            sums: x.sums.as_ptr().add(row * x.blocks + block),
                            stride: x.blocks,
                            weights: weights(product.panels, panel, (block, x.blocks)),
                            blocks: step.min(x.blocks - block),
                            out: product.out.as_mut_ptr().add((panel * x.rows + row) * LANES),
                            accumulate: block > 0,
                        }
                    };
                    row += run(tile, end - row);
                }
            }
        }
    }
}

/// # Safety
/// The panel and the block exist.
#[inline(always)]
unsafe fn weights(
    panels: QuantizedPanels<'_>,
    panel: usize,
    (block, blocks): (usize, usize),
) -> Weights {
    let place = panel * blocks + block;
    // SAFETY: as the caller promises.
    unsafe {
        match panels {
            QuantizedPanels::Q8 { quants, scales } => Weights::Q8 {
                quants: quants.as_ptr().add(place * BLOCK * LANES),
                scales: scales.as_ptr().add(place * LANES),
            },
            QuantizedPanels::Q4 {
                quants,
                groups,
                scales,
            } => {
                let eight = panel * blocks.div_ceil(GROUPS) + block / GROUPS;
                Weights::Q4 {
                    quants: quants.as_ptr().add(place * BLOCK / 2 * LANES),
                    groups: groups.as_ptr().add(place * 2 * LANES),
                    scales: scales.as_ptr().add(eight * 2 * LANES),
                    offset: block % GROUPS,
                }
            }
        }
    }
}
