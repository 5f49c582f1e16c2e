//! Weight matrices, packed for the product kernel.

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::{Compute, LANES, Panels};
use crate::engine::embedded::model::Values;

/// A weight matrix: panels of [`LANES`] outputs, each along the inputs.
///
/// Weights stay in the checkpoint's precision: halving the bytes doubles decoding speed, which
/// memory bandwidth bounds.
#[derive(Debug)]
pub(crate) struct Matrix {
    inputs: usize,
    data: Data,
}

#[derive(Debug)]
enum Data {
    F32(Vec<f32>),
    Bf16(Vec<u32>),
}

impl Matrix {
    /// Packs matrices of `[outputs][inputs]` one after the other; each starts a new panel.
    pub(crate) fn pack(parts: &[Values], inputs: usize) -> Self {
        let panels_of = |values: &Values| (values.len() / inputs).div_ceil(LANES);
        let panels: usize = parts.iter().map(panels_of).sum();
        let bf16 = parts.iter().all(|part| matches!(part, Values::Bf16(_)));
        let mut data = if bf16 {
            Data::Bf16(vec![0; panels * inputs * LANES / 2])
        } else {
            Data::F32(vec![0.0; panels * inputs * LANES])
        };
        let mut first = 0;
        for part in parts {
            match (&mut data, part) {
                (Data::Bf16(words), Values::Bf16(part)) => {
                    pack_bf16(&mut words[first * inputs * LANES / 2..], part, inputs);
                }
                (Data::F32(data), part) => {
                    pack_f32(&mut data[first * inputs * LANES..], part, inputs);
                }
                (Data::Bf16(_), Values::F32(_)) => unreachable!("mixed parts are packed as f32"),
            }
            first += panels_of(part);
        }
        Self { inputs, data }
    }

    /// Number of panels.
    pub(crate) fn panels(&self) -> usize {
        match &self.data {
            Data::F32(data) => data.len() / (self.inputs * LANES),
            Data::Bf16(words) => words.len() * 2 / (self.inputs * LANES),
        }
    }

    /// Multiplies `x` (`[rows][inputs]`); `out` becomes `[panel][row][LANES]`.
    pub(crate) fn apply(&self, compute: &Compute, x: &[f32], out: &mut Vec<f32>) {
        let rows = x.len() / self.inputs;
        out.resize(self.panels() * rows * LANES, 0.0);
        let panels = match &self.data {
            Data::F32(data) => Panels::F32 {
                data,
                panel: self.inputs * LANES,
                step: LANES,
            },
            Data::Bf16(words) => Panels::Bf16(words),
        };
        compute.multiply(x, (rows, self.inputs), panels, out);
    }

    /// Copies the weights of one output, for matrices that double as embedding tables.
    pub(crate) fn copy_row(&self, row: usize, out: &mut [f32]) {
        let (panel, lane) = (row / LANES, row % LANES);
        match &self.data {
            Data::F32(data) => {
                let panel = &data[panel * self.inputs * LANES..];
                let numbers = panel.iter().skip(lane).step_by(LANES);
                for (out, &number) in out.iter_mut().zip(numbers) {
                    *out = number;
                }
            }
            Data::Bf16(words) => {
                let half = LANES / 2;
                let panel = &words[panel * self.inputs * half..];
                let words = panel.iter().skip(lane % half).step_by(half);
                for (out, &word) in out.iter_mut().zip(words) {
                    *out = f32::from_bits(if lane < half {
                        word << 16
                    } else {
                        word & 0xffff_0000
                    });
                }
            }
        }
    }
}

fn pack_f32(data: &mut [f32], part: &Values, inputs: usize) {
    let outputs = part.len() / inputs;
    data.par_chunks_mut(inputs * LANES)
        .take(outputs.div_ceil(LANES))
        .enumerate()
        .for_each(|(panel, data)| {
            for lane in 0..LANES.min(outputs - panel * LANES) {
                let row = (panel * LANES + lane) * inputs;
                for (k, out) in data.iter_mut().skip(lane).step_by(LANES).enumerate() {
                    *out = part.get(row + k);
                }
            }
        });
}

fn pack_bf16(words: &mut [u32], part: &[u16], inputs: usize) {
    let outputs = part.len() / inputs;
    let half = LANES / 2;
    words
        .par_chunks_mut(inputs * half)
        .take(outputs.div_ceil(LANES))
        .enumerate()
        .for_each(|(panel, words)| {
            for lane in 0..LANES.min(outputs - panel * LANES) {
                let row = &part[(panel * LANES + lane) * inputs..][..inputs];
                let shift = if lane < half { 0 } else { 16 };
                let words = words.iter_mut().skip(lane % half).step_by(half);
                for (word, &bits) in words.zip(row) {
                    *word |= u32::from(bits) << shift;
                }
            }
        });
}
