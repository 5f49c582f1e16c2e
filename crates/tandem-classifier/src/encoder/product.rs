//! Matrix products: activations times packed weights.
//!
//! Weights are packed once, at load, into panels of [`PANEL`] columns, so that the inner loop
//! reads them in order. Int8 weights are kept as 16-bit integers and activations are quantised
//! per row to as many bits as the sum allows (15 for a width up to 512), which loses about as
//! much as the rounding of `f32` itself does over a few layers and is twice as fast as `f32`.

use super::kernel::{self, PANEL, ROWS};
use super::math;

/// A weight matrix `[outputs, inputs]`, packed.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) panels: Panels,
}

/// The numbers of a [`Packed`] matrix.
#[derive(Debug)]
pub(super) enum Panels {
    /// `[panel][input][PANEL]`.
    F32(Vec<f32>),
    /// `[panel][input / 2][PANEL][2]`, and one scale per output.
    I16 { values: Vec<i16>, scales: Vec<f32> },
}

/// What happens to the result of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// Replaces the output.
    Set,
    /// Is added to the output.
    Add,
}

/// Quantised activations of one product, kept between products to save the allocation.
#[derive(Debug, Default)]
pub(crate) struct Quantised {
    pub(super) values: Vec<i16>,
    pub(super) scales: Vec<f32>,
}

/// Rows that are multiplied with all panels before the next rows: they fit the L2 cache.
const ROWS_IN_CACHE: usize = ROWS * 40;

impl Packed {
    pub(crate) fn from_f32(outputs: usize, inputs: usize, rows: &[f32]) -> Self {
        let mut values = vec![0.0; outputs.div_ceil(PANEL) * inputs * PANEL];
        for (output, row) in rows.chunks_exact(inputs).enumerate() {
            let panel = &mut values[(output / PANEL) * inputs * PANEL..];
            for (input, value) in row.iter().enumerate() {
                panel[input * PANEL + output % PANEL] = *value;
            }
        }
        Self {
            inputs,
            outputs,
            panels: Panels::F32(values),
        }
    }

    pub(crate) fn from_i8(outputs: usize, inputs: usize, rows: &[i8], scales: Vec<f32>) -> Self {
        let pairs = inputs.div_ceil(2);
        let mut values = vec![0_i16; outputs.div_ceil(PANEL) * pairs * PANEL * 2];
        for (output, row) in rows.chunks_exact(inputs).enumerate() {
            let panel = &mut values[(output / PANEL) * pairs * PANEL * 2..];
            for (input, value) in row.iter().enumerate() {
                let pair = (input / 2) * PANEL + output % PANEL;
                panel[pair * 2 + input % 2] = i16::from(*value);
            }
        }
        Self {
            inputs,
            outputs,
            panels: Panels::I16 { values, scales },
        }
    }

    /// Multiplies `input` (`[rows, inputs]`) with the matrix into `output` (`[rows, outputs]`).
    pub(crate) fn multiply(
        &self,
        input: &[f32],
        bias: Option<&[f32]>,
        store: Store,
        output: &mut [f32],
        scratch: &mut Quantised,
    ) {
        debug_assert_eq!(input.len() / self.inputs, output.len() / self.outputs);
        let epilogue = Epilogue { bias, store };
        let chunks = input
            .chunks(ROWS_IN_CACHE * self.inputs)
            .zip(output.chunks_mut(ROWS_IN_CACHE * self.outputs));
        for (input, output) in chunks {
            match &self.panels {
                Panels::F32(panels) => {
                    kernel::product_f32(self, panels, input, epilogue, output);
                }
                Panels::I16 { .. } => {
                    kernel::quantise(input, self.inputs, scratch);
                    kernel::product_i16(self, scratch, epilogue, output);
                }
            }
        }
    }
}

/// Bias and destination of a product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epilogue<'a> {
    pub(super) bias: Option<&'a [f32]>,
    pub(super) store: Store,
}

impl Epilogue<'_> {
    /// Writes one row of a tile.
    #[inline(always)]
    pub(super) fn write(self, first_column: usize, tile: &[f32; PANEL], output: &mut [f32]) {
        let bias = self.bias.map(|bias| &bias[first_column..]);
        // Known lengths keep the usual case free of loops.
        match output.first_chunk_mut::<PANEL>() {
            Some(output) => {
                let bias = bias.and_then(|bias| bias.first_chunk::<PANEL>());
                self.write_all(tile, bias, output);
            }
            None => {
                let mut padded = [0.0; PANEL];
                padded[..output.len()].copy_from_slice(output);
                let mut padded_bias = [0.0; PANEL];
                for (slot, bias) in padded_bias.iter_mut().zip(bias.into_iter().flatten()) {
                    *slot = *bias;
                }
                self.write_all(tile, Some(&padded_bias), &mut padded);
                output.copy_from_slice(&padded[..output.len()]);
            }
        }
    }

    #[inline(always)]
    fn write_all(
        self,
        tile: &[f32; PANEL],
        bias: Option<&[f32; PANEL]>,
        output: &mut [f32; PANEL],
    ) {
        for column in 0..PANEL {
            let value = tile[column] + bias.map_or(0.0, |bias| bias[column]);
            output[column] = match self.store {
                Store::Set => value,
                Store::Add => output[column] + value,
            };
        }
    }
}

/// Portable [`kernel::tile`].
#[inline(always)]
pub(super) fn tile(rows: [&[f32]; ROWS], panel: &[f32], sums: &mut [[f32; PANEL]; ROWS]) {
    let (panel, _) = panel.as_chunks::<PANEL>();
    for (row, sums) in rows.iter().zip(sums) {
        *sums = [0.0; PANEL];
        for (value, weights) in row.iter().zip(panel) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
    }
}

/// The rows of a block; past the end the last one repeats, and its result is dropped.
#[inline(always)]
pub(super) fn block_of<T>(values: &[T], width: usize, first: usize, rows: usize) -> [&[T]; ROWS] {
    std::array::from_fn(|row| {
        let row = (first + row).min(rows - 1);
        &values[row * width..][..width]
    })
}

#[inline(always)]
pub(super) fn product_f32<const FMA: bool>(
    weights: &Packed,
    panels: &[f32],
    input: &[f32],
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let (inputs, outputs) = (weights.inputs, weights.outputs);
    let rows = input.len() / inputs;
    let mut sums = [[0.0; PANEL]; ROWS];
    for (index, panel) in panels.chunks_exact(inputs * PANEL).enumerate() {
        let column = index * PANEL;
        let columns = column..outputs.min(column + PANEL);
        for first in (0..rows).step_by(ROWS) {
            kernel::tile::<FMA>(block_of(input, inputs, first, rows), panel, &mut sums);
            for (row, sums) in (first..rows).zip(&sums) {
                let out = &mut output[row * outputs..][columns.clone()];
                epilogue.write(column, sums, out);
            }
        }
    }
}

/// Rounds each row to integers of at most `bound`, and remembers the scale.
#[inline(always)]
pub(super) fn quantise<const FMA: bool>(input: &[f32], width: usize, out: &mut Quantised) {
    let padded = width.next_multiple_of(2);
    let rows = input.len() / width;
    out.values.clear();
    out.values.resize(rows * padded, 0);
    out.scales.clear();
    let bound = largest_activation(width);
    let all = input
        .chunks_exact(width)
        .zip(out.values.chunks_exact_mut(padded));
    for (row, quantised) in all {
        let most = largest_magnitude(row);
        let scale = if most > 0.0 { bound / most } else { 0.0 };
        out.scales.push(if most > 0.0 { most / bound } else { 0.0 });
        for (value, quantised) in row.iter().zip(quantised) {
            let shifted = math::mul_add::<FMA>(*value, scale, math::ROUND);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the low 16 bits are the rounded value, which is below 2^15"
            )]
            let rounded = shifted.to_bits() as u16;
            *quantised = rounded.cast_signed();
        }
    }
}

#[inline(always)]
fn largest_magnitude(row: &[f32]) -> f32 {
    let (chunks, rest) = row.as_chunks::<8>();
    let mut lanes = [0.0_f32; 8];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            let magnitude = value.abs();
            *lane = if magnitude > *lane { magnitude } else { *lane };
        }
    }
    lanes
        .iter()
        .chain(rest)
        .fold(0.0, |most, value| value.abs().max(most))
}

/// The largest quantised activation for which a sum over `width` products with int8 weights
/// cannot overflow.
#[expect(clippy::cast_precision_loss, reason = "the bound is at most 2^15")]
fn largest_activation(width: usize) -> f32 {
    (i32::MAX as usize / (width.max(1) * 128)).min(i16::MAX as usize) as f32
}

/// Portable integer product.
pub(super) fn product_i16(
    weights: &Packed,
    input: &Quantised,
    epilogue: Epilogue<'_>,
    output: &mut [f32],
) {
    let Panels::I16 { values, scales } = &weights.panels else {
        return;
    };
    let pairs = weights.inputs.div_ceil(2);
    let outputs = weights.outputs;
    for (index, panel) in values.chunks_exact(pairs * PANEL * 2).enumerate() {
        let column = index * PANEL;
        let columns = column..outputs.min(column + PANEL);
        let mut column_scales = [0.0; PANEL];
        column_scales[..columns.len()].copy_from_slice(&scales[columns.clone()]);
        let rows = input.values.chunks_exact(pairs * 2).zip(&input.scales);
        for (row, (values, row_scale)) in rows.enumerate() {
            let mut sums = [0_i32; PANEL];
            let (panel, _) = panel.as_chunks::<{ PANEL * 2 }>();
            for (pair, weights) in values.as_chunks::<2>().0.iter().zip(panel) {
                let (a, b) = (i32::from(pair[0]), i32::from(pair[1]));
                for (sum, weight) in sums.iter_mut().zip(weights.as_chunks::<2>().0) {
                    *sum += a * i32::from(weight[0]) + b * i32::from(weight[1]);
                }
            }
            let tile = scaled(&sums, *row_scale, &column_scales);
            epilogue.write(column, &tile, &mut output[row * outputs..][columns.clone()]);
        }
    }
}

/// Integer sums as numbers.
#[inline(always)]
pub(super) fn scaled(sums: &[i32; PANEL], row: f32, columns: &[f32; PANEL]) -> [f32; PANEL] {
    let mut tile = [0.0; PANEL];
    for ((value, sum), column) in tile.iter_mut().zip(sums).zip(columns) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "the rounding is that of f32 arithmetic"
        )]
        let sum = *sum as f32;
        *value = sum * (row * column);
    }
    tile
}
