//! Weight matrices, packed for the product kernels.

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::quantized::{Q4Panels, Q8Panels};
use super::{Compute, LANES, Panels, Q4Block, Q8Block, QuantizedRows};
use crate::engine::embedded::model::Values;

/// How weights are rounded when they are loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Quantization {
    /// Not at all: the checkpoint's precision.
    #[default]
    None,
    /// 8 bits, a scale for each 32 weights: half the memory of bf16, hardly another answer.
    Q8_0,
    /// 4 bits, a scale and a minimum for each 32: a quarter of it, and somewhat other answers. The
    /// output layer gets 8 bits.
    Q4K,
}

impl Quantization {
    /// What becomes of the output layer, whose errors no other layer makes up for.
    pub(crate) const fn of_output(self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Q8_0 | Self::Q4K => Self::Q8_0,
        }
    }
}

/// A weight matrix: panels of [`LANES`] outputs, each along the inputs.
///
/// Weights stay in the precision of the checkpoint or what they were quantised to: halving the
/// bytes doubles decoding speed, which memory bandwidth bounds.
#[derive(Debug)]
pub(crate) struct Matrix {
    inputs: usize,
    segments: Vec<Segment>,
}

/// Panels of one format.
#[derive(Debug)]
struct Segment {
    panels: usize,
    data: Data,
}

#[derive(Debug)]
enum Data {
    F32(Vec<f32>),
    Bf16(Vec<u32>),
    Q8(Q8Panels),
    Q4(Q4Panels),
}

/// Formats of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    F32,
    Bf16,
    Q8,
    Q4,
}

impl Format {
    /// What weights become. Those that are quantised already stay as they are.
    fn of(values: &Values, quantization: Quantization) -> Self {
        match (values, quantization) {
            (Values::Q8(_), _) => Self::Q8,
            (Values::Q4(_), _) => Self::Q4,
            (_, Quantization::Q8_0) => Self::Q8,
            (_, Quantization::Q4K) => Self::Q4,
            (Values::F32(_), Quantization::None) => Self::F32,
            (Values::Bf16(_), Quantization::None) => Self::Bf16,
        }
    }
}

impl Matrix {
    /// Packs matrices of `[outputs][inputs]` one after the other; each starts a new panel.
    pub(crate) fn pack(parts: &[Values], inputs: usize, quantization: Quantization) -> Self {
        let format = |part: &Values| Format::of(part, quantization);
        let segments = parts
            .chunk_by(|a, b| format(a) == format(b))
            .map(|parts| Segment::pack(parts, inputs, format(&parts[0])))
            .collect();
        Self { inputs, segments }
    }

    /// Number of panels.
    pub(crate) fn panels(&self) -> usize {
        self.segments.iter().map(|segment| segment.panels).sum()
    }

    /// Multiplies `x` (`[rows][inputs]`); `out` becomes `[panel][row][LANES]`.
    pub(crate) fn apply(&self, compute: &Compute, x: &[f32], out: &mut Vec<f32>) {
        let rows = x.len() / self.inputs;
        out.resize(self.panels() * rows * LANES, 0.0);
        let mut rest = &mut out[..];
        let mut quantized = None;
        for segment in &self.segments {
            let (out, others) = rest.split_at_mut(segment.panels * rows * LANES);
            rest = others;
            let panels = match &segment.data {
                Data::F32(data) => Panels::F32 {
                    data,
                    panel: self.inputs * LANES,
                    step: LANES,
                },
                Data::Bf16(words) => Panels::Bf16(words),
                Data::Q8(panels) => {
                    let x = quantized
                        .get_or_insert_with(|| QuantizedRows::new(compute, x, self.inputs));
                    compute.multiply_quantized(x, panels.as_panels(), out);
                    continue;
                }
                Data::Q4(panels) => {
                    let x = quantized
                        .get_or_insert_with(|| QuantizedRows::new(compute, x, self.inputs));
                    compute.multiply_quantized(x, panels.as_panels(), out);
                    continue;
                }
            };
            compute.multiply(x, (rows, self.inputs), panels, out);
        }
    }

    /// Copies the weights of one output of the first part, for matrices that double as embedding
    /// tables.
    pub(crate) fn copy_row(&self, row: usize, out: &mut [f32]) {
        let mut row = row;
        for segment in &self.segments {
            if row < segment.panels * LANES {
                return segment.copy_row(row, out);
            }
            row -= segment.panels * LANES;
        }
    }
}

impl Segment {
    fn pack(parts: &[Values], inputs: usize, format: Format) -> Self {
        let panels_of = |values: &Values| (values.len() / inputs).div_ceil(LANES);
        let panels: usize = parts.iter().map(panels_of).sum();
        // Where a row of panels is in the parts; `None` for what fills up a part's last panel.
        let place = |row: usize| {
            let mut row = row;
            for part in parts {
                let outputs = part.len() / inputs;
                if row < panels_of(part) * LANES {
                    return (row < outputs).then_some((part, row));
                }
                row -= panels_of(part) * LANES;
            }
            None
        };
        let outputs = panels * LANES;
        let data = match format {
            Format::F32 => {
                let mut data = vec![0.0; outputs * inputs];
                each_part(&mut data, (inputs * LANES, inputs), parts, |part, data| {
                    pack_f32(data, part, inputs);
                });
                Data::F32(data)
            }
            Format::Bf16 => {
                let mut words = vec![0; outputs * inputs / 2];
                each_part(
                    &mut words,
                    (inputs * LANES / 2, inputs),
                    parts,
                    |part, words| {
                        pack_bf16(words, part, inputs);
                    },
                );
                Data::Bf16(words)
            }
            Format::Q8 => Data::Q8(Q8Panels::pack((outputs, inputs), |row| {
                place(row).map_or_else(Vec::new, |(part, row)| part.q8_row(row, inputs))
            })),
            Format::Q4 => Data::Q4(Q4Panels::pack((outputs, inputs), |row| {
                place(row).map_or_else(Vec::new, |(part, row)| part.q4_row(row, inputs))
            })),
        };
        Self { panels, data }
    }

    fn copy_row(&self, row: usize, out: &mut [f32]) {
        let (panel, lane) = (row / LANES, row % LANES);
        let inputs = out.len();
        match &self.data {
            Data::F32(data) => {
                let panel = &data[panel * inputs * LANES..];
                let numbers = panel.iter().skip(lane).step_by(LANES);
                for (out, &number) in out.iter_mut().zip(numbers) {
                    *out = number;
                }
            }
            Data::Bf16(words) => {
                let half = LANES / 2;
                let panel = &words[panel * inputs * half..];
                let words = panel.iter().skip(lane % half).step_by(half);
                for (out, &word) in out.iter_mut().zip(words) {
                    *out = f32::from_bits(if lane < half {
                        word << 16
                    } else {
                        word & 0xffff_0000
                    });
                }
            }
            Data::Q8(panels) => panels.copy_row(row, out),
            Data::Q4(panels) => panels.copy_row(row, out),
        }
    }
}

impl Values {
    /// A row as blocks of 8 bits, rounded unless it is that already.
    fn q8_row(&self, row: usize, inputs: usize) -> Vec<Q8Block> {
        if let Self::Q8(blocks) = self {
            let count = inputs / Q8Block::WEIGHTS;
            return blocks[row * count..][..count].to_vec();
        }
        let weights = self.row(row, inputs);
        let blocks = weights.chunks(Q8Block::WEIGHTS);
        blocks.map(Q8Block::quantize).collect()
    }

    /// A row as blocks of 4 bits, rounded unless it is that already.
    fn q4_row(&self, row: usize, inputs: usize) -> Vec<Q4Block> {
        if let Self::Q4(blocks) = self {
            let count = inputs / Q4Block::WEIGHTS;
            return blocks[row * count..][..count].to_vec();
        }
        let weights = self.row(row, inputs);
        let blocks = weights.chunks(Q4Block::WEIGHTS);
        blocks.map(Q4Block::quantize).collect()
    }
}

/// Calls `pack` with each part and its place in `data`, where a panel has `panel` elements.
fn each_part<T>(
    mut data: &mut [T],
    (panel, inputs): (usize, usize),
    parts: &[Values],
    pack: impl Fn(&Values, &mut [T]),
) {
    for part in parts {
        let panels = (part.len() / inputs).div_ceil(LANES);
        let (own, rest) = data.split_at_mut(panels * panel);
        data = rest;
        pack(part, own);
    }
}

fn pack_f32(data: &mut [f32], part: &Values, inputs: usize) {
    let outputs = part.len() / inputs;
    data.par_chunks_mut(inputs * LANES)
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

fn pack_bf16(words: &mut [u32], part: &Values, inputs: usize) {
    let Values::Bf16(part) = part else {
        unreachable!("parts of a segment have one format");
    };
    let outputs = part.len() / inputs;
    let half = LANES / 2;
    words
        .par_chunks_mut(inputs * half)
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
