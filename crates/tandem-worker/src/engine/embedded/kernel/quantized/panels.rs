//! Quantised weights, laid out for the products.

use half::f16;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::block::{BLOCK, GROUPS};
use super::{Q4Block, Q8Block, QuantizedPanels};
use crate::engine::embedded::kernel::LANES;
use crate::engine::embedded::model::{Blank, Numbers};

/// Weights of 8 bits.
#[derive(Debug)]
pub(crate) struct Q8Panels {
    blocks: usize,
    quants: Numbers<i8>,
    scales: Numbers<f16>,
}

/// Weights of 4 bits.
#[derive(Debug)]
pub(crate) struct Q4Panels {
    blocks: usize,
    quants: Numbers<u8>,
    groups: Numbers<u8>,
    scales: Numbers<f16>,
}

impl Q8Panels {
    /// `panels` panels of rows of `inputs` weights. `write` gets the index of a panel, and its
    /// quants and scales, which are 0.
    pub(crate) fn pack(
        (panels, inputs): (usize, usize),
        write: impl Fn(usize, (&mut [i8], &mut [f16])) + Sync,
    ) -> Self {
        let blocks = inputs.div_ceil(BLOCK);
        let mut quants = Blank::new(panels * blocks * BLOCK * LANES);
        let mut scales = Blank::new(panels * blocks * LANES);
        quants
            .par_chunks_exact_mut(blocks * BLOCK * LANES)
            .zip(scales.par_chunks_exact_mut(blocks * LANES))
            .enumerate()
            .for_each(|(panel, parts)| write(panel, parts));
        Self {
            blocks,
            quants: quants.into(),
            scales: scales.into(),
        }
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
    /// `panels` panels of rows of `inputs` weights. `write` gets the index of a panel, which is 0.
    pub(crate) fn pack(
        (panels, inputs): (usize, usize),
        write: impl Fn(usize, &mut Q4Panel<'_>) + Sync,
    ) -> Self {
        let blocks = inputs.div_ceil(BLOCK);
        let eights = blocks.div_ceil(GROUPS);
        let mut quants = Blank::new(panels * blocks * BLOCK / 2 * LANES);
        let mut groups = Blank::new(panels * blocks * 2 * LANES);
        let mut scales = Blank::new(panels * eights * 2 * LANES);
        quants
            .par_chunks_exact_mut(blocks * BLOCK / 2 * LANES)
            .zip(groups.par_chunks_exact_mut(blocks * 2 * LANES))
            .zip(scales.par_chunks_exact_mut(eights * 2 * LANES))
            .enumerate()
            .for_each(|(panel, ((quants, groups), scales))| {
                let mut parts = Q4Panel {
                    quants,
                    groups,
                    scales,
                };
                write(panel, &mut parts);
            });
        Self {
            blocks,
            quants: quants.into(),
            groups: groups.into(),
            scales: scales.into(),
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

/// Writes a block of one output of a panel.
pub(in super::super) fn write_q8(
    weights: &Q8Block,
    (block, lane): (usize, usize),
    (quants, scales): (&mut [i8], &mut [f16]),
) {
    scales[block * LANES + lane] = weights.scale;
    let quants = &mut quants[block * BLOCK * LANES..][..BLOCK * LANES];
    for (four, inputs) in weights.quants.chunks_exact(4).enumerate() {
        quants[(four * LANES + lane) * 4..][..4].copy_from_slice(inputs);
    }
}

/// One panel of 4 bits.
#[derive(Debug)]
pub(crate) struct Q4Panel<'a> {
    quants: &'a mut [u8],
    groups: &'a mut [u8],
    scales: &'a mut [f16],
}

impl Q4Panel<'_> {
    /// Writes 8 blocks of one output, or as many as there are.
    pub(crate) fn write(&mut self, eight: usize, lane: usize, weights: &Q4Block) {
        self.scales[eight * 2 * LANES + lane] = weights.scale;
        self.scales[(eight * 2 + 1) * LANES + lane] = weights.min;
        let blocks = self.groups.len() / (2 * LANES);
        for group in 0..GROUPS.min(blocks - eight * GROUPS) {
            let block = eight * GROUPS + group;
            self.groups[block * 2 * LANES + lane] = weights.scales[group];
            self.groups[(block * 2 + 1) * LANES + lane] = weights.mins[group];
            let bytes = weights.halves(group);
            let quants = &mut self.quants[block * BLOCK / 2 * LANES..][..BLOCK / 2 * LANES];
            for (four, inputs) in bytes.chunks_exact(4).enumerate() {
                quants[(four * LANES + lane) * 4..][..4].copy_from_slice(inputs);
            }
        }
    }
}
