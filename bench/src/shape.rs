//! The model that is measured: TinyLlama-1.1B's dimensions, random weights.

/// Dimensions of TinyLlama-1.1B, with as many layers as asked for.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub layers: usize,
    pub hidden: usize,
    pub intermediate: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
}

impl Shape {
    pub const fn tiny_llama(layers: usize) -> Self {
        Self {
            layers,
            hidden: 2048,
            intermediate: 5632,
            heads: 32,
            kv_heads: 4,
            head_dim: 64,
            vocab_size: 32000,
        }
    }

    /// Numbers in all matrices but the embedding table.
    pub const fn weights(&self) -> usize {
        let attention = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim;
        let mlp = 3 * self.hidden * self.intermediate;
        self.layers * (attention + mlp) + self.hidden * self.vocab_size
    }
}

/// What is measured of each engine.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Tokens of the prefill prompt.
    pub prefill: usize,
    /// Tokens before decoding starts.
    pub context: usize,
    /// Tokens to decode, per sequence.
    pub decode: usize,
}

/// A prompt whose tokens are spread over the vocabulary.
pub fn prompt(len: usize, seed: usize) -> Vec<u32> {
    (0..len)
        .filter_map(|i| u32::try_from((i * 7919 + seed * 104_729 + 13) % 32000).ok())
        .collect()
}
