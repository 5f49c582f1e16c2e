//! Transformer encoders on one CPU core: BERT, RoBERTa, XLM-R and ModernBERT (also mmBERT).
//!
//! Texts of a batch stand one after the other without padding: matrix products run over all of
//! them at once, attention over each by itself. A text therefore gets the same numbers whatever
//! shares its batch.

mod attention;
mod bert;
mod config;
mod heads;
mod kernel;
mod linear;
mod math;
mod modernbert;
mod product;
mod rotary;
mod weights;

use std::ops::Range;
use std::path::Path;

pub(crate) use config::{Architecture, Config, labels_by_id};
pub(crate) use heads::{Dense, EmbeddingHead, Pool, SequenceHead, TokenHead};
pub(crate) use product::Quantised;
pub(crate) use weights::Weights;

use weights::Matrix;

use crate::error::LoadError;

/// Texts to encode.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Token ids of all texts, special tokens included.
    pub(crate) ids: Vec<u32>,
    /// Letter case class per token; ignored by models without a case table.
    pub(crate) cases: Vec<u8>,
    /// Where each text lies.
    pub(crate) segments: Vec<Range<usize>>,
}

/// Buffers of a compute thread, kept between batches.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// Hidden states; what [`Trunk::forward`] leaves.
    pub(crate) hidden: Vec<f32>,
    normed: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    /// Scratch space of linear layers, for the heads.
    pub(crate) quantised: Quantised,
    attention: attention::Scratch,
}

/// The layers below the heads.
#[derive(Debug)]
pub(crate) enum Trunk {
    /// Absolute positions, normalisation after each block.
    Bert(bert::Bert),
    /// Rotary positions, normalisation before each block, gated MLP.
    ModernBert(modernbert::ModernBert),
}

impl Trunk {
    /// Loads the layers of a checkpoint; `window` is the longest text it will be given.
    pub(crate) fn load(
        config: &Config,
        weights: &Weights,
        window: usize,
    ) -> Result<Self, LoadError> {
        match &config.architecture {
            Architecture::Bert { position_offset } => {
                bert::Bert::load(config, *position_offset, weights).map(Self::Bert)
            }
            Architecture::ModernBert(layout) => {
                modernbert::ModernBert::load(config, layout, weights, window).map(Self::ModernBert)
            }
        }
    }

    /// Computes the hidden states of all tokens into `workspace.hidden`.
    pub(crate) fn forward(&self, batch: &Batch, workspace: &mut Workspace) {
        match self {
            Self::Bert(model) => model.forward(batch, workspace),
            Self::ModernBert(model) => model.forward(batch, workspace),
        }
    }
}

/// A normalisation of rows.
#[derive(Debug)]
pub(crate) struct Norm {
    weight: Vec<f32>,
    /// Empty if there is none.
    bias: Vec<f32>,
    eps: f32,
}

impl Norm {
    fn apply(&self, input: &[f32], output: &mut Vec<f32>) {
        output.resize(input.len(), 0.0);
        kernel::layer_norm(self, input, output);
    }
}

/// A nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Gelu,
    GeluTanh,
    Relu,
    Silu,
    Tanh,
}

impl Activation {
    fn from_name(name: &str, path: &Path) -> Result<Self, LoadError> {
        match name {
            "gelu" | "gelu_python" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            "silu" | "swish" => Ok(Self::Silu),
            "tanh" => Ok(Self::Tanh),
            _ => Err(LoadError::unsupported(
                path,
                format_args!("activation {name}"),
            )),
        }
    }
}

/// A table of vectors.
pub(crate) struct Table {
    columns: usize,
    numbers: Matrix,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl Table {
    fn rows(&self) -> usize {
        match &self.numbers {
            Matrix::F32(values) => values.len() / self.columns,
            Matrix::I8(_, scales) => scales.len(),
        }
    }

    /// Adds a row to a vector; an id beyond the table counts as the last.
    fn add(&self, id: usize, output: &mut [f32]) {
        let id = id.min(self.rows().saturating_sub(1));
        match &self.numbers {
            Matrix::F32(values) => {
                let row = &values[id * self.columns..][..self.columns];
                for (out, value) in output.iter_mut().zip(row) {
                    *out += value;
                }
            }
            Matrix::I8(values, scales) => {
                let row = &values[id * self.columns..][..self.columns];
                for (out, value) in output.iter_mut().zip(row) {
                    *out += f32::from(*value) * scales[id];
                }
            }
        }
    }
}

/// Turns logits into probabilities.
pub(crate) fn softmax(row: &mut [f32]) {
    kernel::softmax(row);
}

/// Scales a vector to length 1; a zero vector stays.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}
