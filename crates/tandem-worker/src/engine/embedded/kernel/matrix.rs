//! Weight matrices, packed for the product kernels.

use half::f16;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::pack::Rows;
use super::quantized::{Q4Panel, Q4Panels, Q8Panels, write_q8};
use super::{Compute, Kernel, LANES, Panels, Q4Block, Q8Block, QuantizedRows};
use crate::engine::embedded::model::{Blank, Numbers, Plain, Values};

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
    F32(Numbers<f32>),
    Bf16(Numbers<u32>),
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
        let source = Source {
            parts,
            inputs,
            kernel: Kernel::detect(),
        };
        let panels = source.panels();
        let data = match format {
            Format::F32 => Data::F32(source.numbers(LANES, Source::write_f32)),
            Format::Bf16 => Data::Bf16(source.numbers(LANES / 2, Source::write_bf16)),
            Format::Q8 => Data::Q8(Q8Panels::pack((panels, inputs), |panel, out| {
                source.write_q8(panel, out);
            })),
            Format::Q4 => Data::Q4(Q4Panels::pack((panels, inputs), |panel, out| {
                source.write_q4(panel, out);
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

/// Matrices of `[outputs][inputs]` that become panels, one after the other.
#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    parts: &'a [Values],
    inputs: usize,
    kernel: Kernel,
}

impl<'a> Source<'a> {
    fn panels_of(&self, part: &Values) -> usize {
        (part.len() / self.inputs).div_ceil(LANES)
    }

    fn panels(&self) -> usize {
        self.parts.iter().map(|part| self.panels_of(part)).sum()
    }

    /// The part that a panel is of, and the panel's first row in it.
    fn place(&self, panel: usize) -> (&'a Values, usize) {
        let mut panel = panel;
        for part in self.parts {
            let panels = self.panels_of(part);
            if panel < panels {
                return (part, panel * LANES);
            }
            panel -= panels;
        }
        unreachable!("there are no panels beyond the parts'");
    }

    /// Panels that have `width` elements for each input.
    fn numbers<T: Plain>(
        self,
        width: usize,
        write: impl Fn(Self, usize, &mut [T]) + Sync,
    ) -> Numbers<T> {
        let length = width * self.inputs;
        let mut all = Blank::new(self.panels() * length);
        all.par_chunks_exact_mut(length)
            .enumerate()
            .for_each(|(panel, out)| write(self, panel, out));
        all.into()
    }

    fn write_f32(self, panel: usize, out: &mut [f32]) {
        let (Values::F32(numbers), first) = self.place(panel) else {
            unreachable!("parts of a segment have one format");
        };
        let zeros = vec![0.0; self.inputs];
        self.kernel.pack_f32(&rows(numbers, first, &zeros), out);
    }

    fn write_bf16(self, panel: usize, out: &mut [u32]) {
        let (Values::Bf16(numbers), first) = self.place(panel) else {
            unreachable!("parts of a segment have one format");
        };
        let zeros = vec![0; self.inputs];
        self.kernel.pack_bf16(&rows(numbers, first, &zeros), out);
    }

    /// Rounds to 8 bits what is not that already.
    fn write_q8(self, panel: usize, (quants, scales): (&mut [i8], &mut [f16])) {
        let (part, first) = self.place(panel);
        match part {
            Values::F32(numbers) => {
                let zeros = vec![0.0; self.inputs];
                let rows = rows(numbers, first, &zeros);
                self.kernel.pack_q8(&rows, (quants, scales));
            }
            Values::Bf16(numbers) => {
                let zeros = vec![0; self.inputs];
                let rows = rows(numbers, first, &zeros);
                self.kernel.pack_q8(&rows, (quants, scales));
            }
            Values::Q8(blocks) => {
                let count = self.inputs / Q8Block::WEIGHTS;
                let rows = blocks[first * count..].chunks_exact(count).take(LANES);
                for (lane, row) in rows.enumerate() {
                    for (block, weights) in row.iter().enumerate() {
                        write_q8(weights, (block, lane), (&mut *quants, &mut *scales));
                    }
                }
            }
            Values::Q4(_) => unreachable!("these stay as they are"),
        }
    }

    /// Rounds to 4 bits what is not that already.
    fn write_q4(self, panel: usize, out: &mut Q4Panel<'_>) {
        let (part, first) = self.place(panel);
        let outputs = part.len() / self.inputs;
        for row in first..outputs.min(first + LANES) {
            let lane = row - first;
            if let Values::Q4(blocks) = part {
                let count = self.inputs / Q4Block::WEIGHTS;
                for (eight, weights) in blocks[row * count..][..count].iter().enumerate() {
                    out.write(eight, lane, weights);
                }
                continue;
            }
            let weights = part.row(row, self.inputs);
            for (eight, weights) in weights.chunks(Q4Block::WEIGHTS).enumerate() {
                out.write(eight, lane, &self.kernel.quantize_q4(weights));
            }
        }
    }
}

/// The rows of a panel, with `zeros` for those that there are not.
fn rows<'a, T>(numbers: &'a [T], first: usize, zeros: &'a [T]) -> Rows<'a, T> {
    let inputs = zeros.len();
    std::array::from_fn(|lane| {
        let start = (first + lane) * inputs;
        numbers.get(start..start + inputs).unwrap_or(zeros)
    })
}
