//! The products for any machine, and what the others are tested against.

use super::block::{BLOCK, GROUPS};
use super::{QuantizedPanels, QuantizedProduct};
use crate::engine::embedded::kernel::LANES;

pub(super) fn multiply(product: &mut QuantizedProduct<'_>) {
    let (rows, blocks) = (product.x.rows, product.x.blocks);
    let x = product.x;
    for (panel, out) in product.out.chunks_exact_mut(rows * LANES).enumerate() {
        for (row, sums) in out.chunks_exact_mut(LANES).enumerate() {
            sums.fill(0.0);
            for block in 0..blocks {
                let place = row * blocks + block;
                let numbers = &x.quants[place * BLOCK..][..BLOCK];
                let scaled = (x.scales[place], x.sums[place]);
                let at = Place {
                    panel,
                    block,
                    blocks,
                };
                add_block(product.panels, at, (numbers, scaled), sums);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Place {
    panel: usize,
    block: usize,
    blocks: usize,
}

fn add_block(
    panels: QuantizedPanels<'_>,
    Place {
        panel,
        block,
        blocks,
    }: Place,
    (numbers, (x_scale, x_sum)): (&[i8], (f32, f32)),
    sums: &mut [f32],
) {
    let place = panel * blocks + block;
    match panels {
        QuantizedPanels::Q8 { quants, scales } => {
            let quants = &quants[place * BLOCK * LANES..][..BLOCK * LANES];
            let scales = &scales[place * LANES..][..LANES];
            for (lane, sum) in sums.iter_mut().enumerate() {
                let weight = |i: usize| quants[(i / 4 * LANES + lane) * 4 + i % 4];
                let dot = dot(numbers, |i| i32::from(weight(i)));
                *sum = dot.mul_add(scales[lane].to_f32() * x_scale, *sum);
            }
        }
        QuantizedPanels::Q4 {
            quants,
            groups,
            scales,
        } => {
            let quants = &quants[place * BLOCK / 2 * LANES..][..BLOCK / 2 * LANES];
            let groups = &groups[place * 2 * LANES..][..2 * LANES];
            let eight = panel * blocks.div_ceil(GROUPS) + block / GROUPS;
            let scales = &scales[eight * 2 * LANES..][..2 * LANES];
            for (lane, sum) in sums.iter_mut().enumerate() {
                let weight = |i: usize| {
                    let byte = quants[(i / 4 % 4 * LANES + lane) * 4 + i % 4];
                    if i < BLOCK / 2 { byte & 15 } else { byte >> 4 }
                };
                let dot = dot(numbers, |i| i32::from(weight(i)));
                let of =
                    |part: usize| scales[part + lane].to_f32() * f32::from(groups[part + lane]);
                *sum = dot.mul_add(of(0) * x_scale, *sum);
                *sum = (-of(LANES)).mul_add(x_sum, *sum);
            }
        }
    }
}

/// Exact: at most 32 times 128 times 127.
fn dot(numbers: &[i8], weight: impl Fn(usize) -> i32) -> f32 {
    let products = numbers.iter().enumerate();
    let dot: i32 = products.map(|(i, &x)| i32::from(x) * weight(i)).sum();
    dot as f32
}
