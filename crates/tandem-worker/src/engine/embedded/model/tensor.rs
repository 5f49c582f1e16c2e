//! Weights as they come from a checkpoint.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::numbers::{Blank, Plain};
use super::{ModelError, Numbers};
use crate::engine::embedded::kernel::{Q4Block, Q8Block};

/// The numbers of a tensor, row by row, in the checkpoint's precision (f16 is widened).
#[derive(Debug, Clone)]
pub enum Values {
    /// Single precision.
    F32(Numbers<f32>),
    /// The upper halves of single-precision numbers.
    Bf16(Numbers<u16>),
    /// 8 bits, in blocks of 32.
    Q8(Numbers<Q8Block>),
    /// 4 bits, in blocks of 256.
    Q4(Numbers<Q4Block>),
}

impl Values {
    /// Half-precision numbers, widened.
    pub fn from_f16(numbers: &Numbers<f16>) -> Self {
        let widen = |from: &[f16], to: &mut [f32]| from.convert_to_f32_slice(to);
        Self::F32(Numbers::convert(numbers, widen))
    }

    /// Copies those that lie in a file, so that it may change.
    pub fn detach(self) -> Self {
        match self {
            Self::F32(values) => Self::F32(values.detach()),
            Self::Bf16(values) => Self::Bf16(values.detach()),
            Self::Q8(blocks) => Self::Q8(blocks.detach()),
            Self::Q4(blocks) => Self::Q4(blocks.detach()),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::Q8(blocks) => blocks.len() * Q8Block::WEIGHTS,
            Self::Q4(blocks) => blocks.len() * Q4Block::WEIGHTS,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number at `index`.
    pub fn get(&self, index: usize) -> f32 {
        match self {
            Self::F32(values) => values[index],
            Self::Bf16(values) => widen(values[index]),
            Self::Q8(blocks) => blocks[index / Q8Block::WEIGHTS].get(index % Q8Block::WEIGHTS),
            Self::Q4(blocks) => blocks[index / Q4Block::WEIGHTS].get(index % Q4Block::WEIGHTS),
        }
    }

    /// A row of `width` numbers, widened.
    pub fn row(&self, row: usize, width: usize) -> Vec<f32> {
        let range = row * width..(row + 1) * width;
        match self {
            Self::F32(values) => values[range].to_vec(),
            Self::Bf16(values) => values[range].iter().copied().map(widen).collect(),
            Self::Q8(_) | Self::Q4(_) => range.map(|index| self.get(index)).collect(),
        }
    }

    /// The first `count` of them, which are whole blocks, and the others.
    pub fn split(self, count: usize) -> [Self; 2] {
        match self {
            Self::F32(values) => values.split(count).map(Self::F32),
            Self::Bf16(values) => values.split(count).map(Self::Bf16),
            Self::Q8(blocks) => blocks.split(count / Q8Block::WEIGHTS).map(Self::Q8),
            Self::Q4(blocks) => blocks.split(count / Q4Block::WEIGHTS).map(Self::Q4),
        }
    }

    /// Brings rows of `width` numbers, which are whole blocks, into another order: `from` says
    /// which row comes to a place.
    pub fn reorder(self, width: usize, from: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::F32(values) => Self::F32(reorder(&values, width, from)),
            Self::Bf16(values) => Self::Bf16(reorder(&values, width, from)),
            Self::Q8(blocks) => Self::Q8(reorder(&blocks, width / Q8Block::WEIGHTS, from)),
            Self::Q4(blocks) => Self::Q4(reorder(&blocks, width / Q4Block::WEIGHTS, from)),
        }
    }

    /// All of them, widened.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values.to_vec(),
            Self::Bf16(values) => values.iter().copied().map(widen).collect(),
            Self::Q8(_) | Self::Q4(_) => (0..self.len()).map(|index| self.get(index)).collect(),
        }
    }
}

fn reorder<T: Plain>(values: &[T], width: usize, from: impl Fn(usize) -> usize) -> Numbers<T> {
    let mut all = Blank::new(values.len());
    for (row, to) in all.chunks_exact_mut(width).enumerate() {
        to.copy_from_slice(&values[from(row) * width..][..width]);
    }
    all.into()
}

fn widen(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Where weights come from.
pub trait TensorSource {
    /// The tensor called `name`, which must have `shape`.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError>;

    /// Whether there is a tensor called `name`.
    fn contains(&self, name: &str) -> bool;

    /// Text that differs between checkpoints whose KV blocks are not interchangeable.
    fn fingerprint(&self) -> String;
}
