//! The kernels for any machine.

use std::ops::Range;

use super::{LANES, Panels, Product, rows};

pub(super) fn multiply(product: &mut Product<'_>) {
    let (rows, depth) = (product.rows, product.depth);
    for (panel, out) in product.out.chunks_exact_mut(rows * LANES).enumerate() {
        for (row, out) in out.chunks_exact_mut(LANES).enumerate() {
            let mut sums = [0.0; LANES];
            if product.accumulate {
                sums.copy_from_slice(out);
            }
            let x = &product.x[row * product.stride..][..depth];
            for (k, &x) in x.iter().enumerate() {
                let weights = lanes(product.panels, panel, k, depth);
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += x * weight;
                }
            }
            out.copy_from_slice(&sums);
        }
    }
}

fn lanes(panels: Panels<'_>, panel: usize, k: usize, depth: usize) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    match panels {
        Panels::F32 {
            data,
            panel: panel_step,
            step,
        } => lanes.copy_from_slice(&data[panel * panel_step + k * step..][..LANES]),
        Panels::Bf16(words) => {
            let words = &words[(panel * depth + k) * LANES / 2..][..LANES / 2];
            let (low, high) = lanes.split_at_mut(LANES / 2);
            for ((low, high), &word) in low.iter_mut().zip(high).zip(words) {
                *low = f32::from_bits(word << 16);
                *high = f32::from_bits(word & 0xffff_0000);
            }
        }
    }
    lanes
}

pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    rows::rms_norm(x, weight, eps, out);
}

pub(super) fn softmax(scores: &mut [f32], stride: usize, visible: Range<usize>) -> f32 {
    rows::softmax(scores, stride, visible)
}

pub(super) fn softcap(x: &mut [f32], cap: f32) {
    rows::softcap(x, cap);
}

pub(super) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    rows::swiglu(gate, up, out);
}

pub(super) fn geglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    rows::geglu(gate, up, out);
}
