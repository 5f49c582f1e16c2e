//! Quantised weights, laid out for the products.

use half::f16;
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::block::{BLOCK, GROUPS};
use super::{Q4Block, Q8Block, QuantizedPanels};
use crate::engine::embedded::kernel::LANES;

/// Weights of 8 bits.
#[derive(Debug)]
pub(crate) struct Q8Panels {
    blocks: usize,
    quants: Vec<i8>,
    scales: Vec<f16>,
}

/// Weights of 4 bits.
#[derive(Debug)]
pub(crate) struct Q4Panels {
    blocks: usize,
    quants: Vec<u8>,
    groups: Vec<u8>,
    scales: Vec<f16>,
}

impl Q8Panels {
    /// Panels of `outputs` rows of `inputs` weights, each of which `row` gives as blocks.
    pub(crate) fn pack(
        (outputs, inputs): (usize, usize),
        row: impl Fn(usize) -> Vec<Q8Block> + Sync,
    ) -> Self {
        let blocks = inputs.div_ceil(BLOCK);
        let panels = outputs.div_ceil(LANES);
        let packed: Vec<_> = (0..panels)
            .into_par_iter()
            .with_min_len(4)
            .map(|panel| {
                let mut quants = vec![0; blocks * BLOCK * LANES];
                let mut scales = vec![f16::ZERO; blocks * LANES];
                for lane in 0..LANES.min(outputs - panel * LANES) {
                    for (block, weights) in row(panel * LANES + lane).iter().enumerate() {
                        scales[block * LANES + lane] = weights.scale;
                        let quants = &mut quants[block * BLOCK * LANES..];
                        for (four, inputs) in weights.quants.chunks_exact(4).enumerate() {
                            quants[(four * LANES + lane) * 4..][..4].copy_from_slice(inputs);
                        }
                    }
                }
                (quants, scales)
            })
            .collect();
        let mut all = Self {
            blocks,
            quants: Vec::with_capacity(panels * blocks * BLOCK * LANES),
            scales: Vec::with_capacity(panels * blocks * LANES),
        };
        for (quants, scales) in packed {
            all.quants.extend(quants);
            all.scales.extend(scales);
        }
        all
    }

    pub(crate) fn as_panels(&self) -> QuantizedPanels<'_> {
        QuantizedPanels::Q8 {
            quants: &self.quants,
            scales: &self.scales,
        }
    }

    /// Copies the weights of one output.
    pub(crate) fn copy_row(&self, row: usize, out: &mut [f32]) {
        let (panel, lane) = (row / LANES, row % LANES);
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let place = panel * self.blocks + block;
            let scale = self.scales[place * LANES + lane].to_f32();
            let quants = &self.quants[place * BLOCK * LANES..];
            for (i, out) in out.iter_mut().enumerate() {
                *out = scale * f32::from(quants[(i / 4 * LANES + lane) * 4 + i % 4]);
            }
        }
    }
}

impl Q4Panels {
    /// Panels of `outputs` rows of `inputs` weights, each of which `row` gives as blocks.
    pub(crate) fn pack(
        (outputs, inputs): (usize, usize),
        row: impl Fn(usize) -> Vec<Q4Block> + Sync,
    ) -> Self {
        let blocks = inputs.div_ceil(BLOCK);
        let panels = outputs.div_ceil(LANES);
        let packed: Vec<_> = (0..panels)
            .into_par_iter()
            .with_min_len(4)
            .map(|panel| {
                let mut packed = Self::empty(blocks, 1);
                for lane in 0..LANES.min(outputs - panel * LANES) {
                    for (eight, weights) in row(panel * LANES + lane).iter().enumerate() {
                        packed.write(eight, lane, weights);
                    }
                }
                packed
            })
            .collect();
        let mut all = Self::empty(blocks, 0);
        for part in packed {
            all.quants.extend(part.quants);
            all.groups.extend(part.groups);
            all.scales.extend(part.scales);
        }
        all
    }

    fn empty(blocks: usize, panels: usize) -> Self {
        let eights = blocks.div_ceil(GROUPS);
        Self {
            blocks,
            quants: vec![0; panels * blocks * BLOCK / 2 * LANES],
            groups: vec![0; panels * blocks * 2 * LANES],
            scales: vec![f16::ZERO; panels * eights * 2 * LANES],
        }
    }

    /// Writes 8 blocks of one output of the first panel, or as many as there are.
    fn write(&mut self, eight: usize, lane: usize, weights: &Q4Block) {
        self.scales[eight * 2 * LANES + lane] = weights.scale;
        self.scales[(eight * 2 + 1) * LANES + lane] = weights.min;
        for group in 0..GROUPS.min(self.blocks - eight * GROUPS) {
            let block = eight * GROUPS + group;
            self.groups[block * 2 * LANES + lane] = weights.scales[group];
            self.groups[(block * 2 + 1) * LANES + lane] = weights.mins[group];
            let quants = &mut self.quants[block * BLOCK / 2 * LANES..];
            for i in 0..BLOCK {
                let shift = if i < BLOCK / 2 { 0 } else { 4 };
                let quant = weights.quant(group * BLOCK + i);
                quants[(i / 4 % 4 * LANES + lane) * 4 + i % 4] |= quant << shift;
            }
        }
    }

    pub(crate) fn as_panels(&self) -> QuantizedPanels<'_> {
        QuantizedPanels::Q4 {
            quants: &self.quants,
            groups: &self.groups,
            scales: &self.scales,
        }
    }

    /// Copies the weights of one output.
    pub(crate) fn copy_row(&self, row: usize, out: &mut [f32]) {
        let (panel, lane) = (row / LANES, row % LANES);
        let eights = self.blocks.div_ceil(GROUPS);
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let place = panel * self.blocks + block;
            let scales = &self.scales[(panel * eights + block / GROUPS) * 2 * LANES..];
            let groups = &self.groups[place * 2 * LANES..];
            let of = |part: usize| scales[part + lane].to_f32() * f32::from(groups[part + lane]);
            let (scale, min) = (of(0), of(LANES));
            let quants = &self.quants[place * BLOCK / 2 * LANES..];
            for (i, out) in out.iter_mut().enumerate() {
                let byte = quants[(i / 4 % 4 * LANES + lane) * 4 + i % 4];
                let quant = if i < BLOCK / 2 { byte & 15 } else { byte >> 4 };
                *out = scale * f32::from(quant) - min;
            }
        }
    }
}
