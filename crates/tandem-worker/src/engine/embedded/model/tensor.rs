//! Weights as they come from a checkpoint.

use super::ModelError;

/// The numbers of a tensor, row by row, in the checkpoint's precision (f16 is widened).
#[derive(Debug, Clone)]
pub enum Values {
    /// Single precision.
    F32(Vec<f32>),
    /// The upper halves of single-precision numbers.
    Bf16(Vec<u16>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
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
        }
    }

    /// All of them, widened.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            Self::Bf16(values) => values.into_iter().map(widen).collect(),
        }
    }
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
