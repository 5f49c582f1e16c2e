//! What a decoder consists of: one description for all architectures.

mod file;

use std::path::Path;

use tandem_kv_cache::KvShape;

use super::{ModelError, Rope};

/// Dimensions and switches of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Number of tokens that exist.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layers.
    pub intermediate: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Added to the mean square in norms.
    pub rms_eps: f32,
    /// Where it normalises.
    pub norms: Norms,
    /// Of the feed-forward layers' gates.
    pub activation: Activation,
    /// Position embeddings of the layers that see the whole sequence.
    pub rope: Rope,
    /// The layers that see a part of it.
    pub sliding: Option<SlidingAttention>,
    /// How queries and keys become scores.
    pub scores: Scores,
    /// Multiplies embeddings.
    pub embedding_scale: f32,
    /// Bounds logits: `cap * tanh(logit / cap)`.
    pub logit_softcap: Option<f32>,
    /// Whether the output layer uses the embedding table.
    pub tied: bool,
    /// Longest sequence.
    pub max_positions: usize,
    /// Tokens that end a sequence.
    pub eos_token_ids: Vec<u32>,
    /// How to sample when a request does not say.
    pub sampling: SamplingDefaults,
}

/// Where a decoder normalises, beside before each part of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Norms {
    /// Queries and keys, each head by itself.
    pub heads: bool,
    /// What each part of a layer adds to the residual stream.
    pub after: bool,
    /// Added to the weights of the checkpoint.
    pub offset: f32,
}

/// What the gates of the feed-forward layers go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU, approximated with tanh.
    GeluTanh,
}

/// Layers whose tokens see only the ones shortly before them.
#[derive(Debug, Clone, PartialEq)]
pub struct SlidingAttention {
    /// How many tokens one sees, itself included.
    pub window: usize,
    /// Position embeddings of these layers.
    pub rope: Rope,
    /// Which layers these are, one entry per layer.
    pub layers: Vec<bool>,
}

/// How queries and keys become scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Multiplies the products.
    pub scale: f32,
    /// Bounds them: `cap * tanh(score / cap)`.
    pub softcap: Option<f32>,
}

impl Scores {
    /// Scaled by the width of the heads, and not bounded.
    pub fn plain(head_dim: usize) -> Self {
        Self {
            scale: 1.0 / (head_dim as f32).sqrt(),
            softcap: None,
        }
    }
}

/// How to sample when a request does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SamplingDefaults {
    /// Softmax temperature.
    pub temperature: Option<f32>,
    /// Nucleus mass.
    pub top_p: Option<f32>,
    /// Number of candidates.
    pub top_k: Option<i32>,
    /// Penalty on tokens seen.
    pub repetition_penalty: Option<f32>,
}

impl ModelConfig {
    /// Reads `config.json` and, if there is one, `generation_config.json`. Sequences will not be
    /// longer than `context_length`, which decides between a model's two sets of wavelengths if it
    /// has those.
    ///
    /// # Errors
    /// A file cannot be read, or asks for what this engine does not have.
    pub fn read(directory: &Path, context_length: Option<usize>) -> Result<Self, ModelError> {
        file::read(directory, context_length)
    }

    /// Shape of this model's KV blocks.
    pub fn kv_shape(&self, block_size: usize) -> KvShape {
        KvShape {
            layers: self.layers,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            block_size,
        }
    }

    /// How far back the tokens of a layer see, if not to the beginning.
    pub fn window(&self, layer: usize) -> Option<usize> {
        let sliding = self.sliding.as_ref()?;
        sliding.layers[layer].then_some(sliding.window)
    }
}
