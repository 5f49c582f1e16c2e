//! What an embedded engine allows.

use tandem_kv_cache::KvShape;

use super::EmbeddedConfig;
use super::adapters::Adapters;
use super::model::{ModelConfig, ModelError};
use super::speculation::Speculation;
use crate::engine::EngineInfo;

/// What an embedded engine allows.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) vocab_size: usize,
    /// Longest sequence, prompt and answer together.
    pub(super) context_length: usize,
    pub(super) block_size: usize,
    pub(super) total_blocks: usize,
    pub(super) max_sequences: usize,
    pub(super) max_batched_tokens: usize,
    /// Requests that may wait.
    pub(super) queue: usize,
    pub(super) prefix_reuse: bool,
    pub(super) speculation: Option<Speculation>,
    pub(super) eos_token_ids: Vec<u32>,
    pub(super) adapters: Adapters,
}

/// What limits follow from, on the model's side.
#[derive(Debug, Clone)]
pub(super) struct Dimensions {
    pub(super) vocab_size: usize,
    pub(super) max_positions: usize,
    pub(super) eos_token_ids: Vec<u32>,
    pub(super) shape: KvShape,
}

impl Dimensions {
    pub(super) fn new(model: &ModelConfig, block_size: usize) -> Self {
        Self {
            vocab_size: model.vocab_size,
            max_positions: model.max_positions,
            eos_token_ids: model.eos_token_ids.clone(),
            shape: model.kv_shape(block_size),
        }
    }
}

impl Limits {
    pub(super) fn new(config: &EmbeddedConfig, model: &Dimensions) -> Result<Self, ModelError> {
        let shape = model.shape;
        let unsupported = |feature, value: usize, supported| ModelError::Unsupported {
            feature,
            value: value.to_string(),
            supported,
        };
        if config.block_size == 0 || !config.block_size.is_multiple_of(tandem_kv_cache::LANES) {
            return Err(unsupported(
                "block size",
                config.block_size,
                "multiples of 16",
            ));
        }
        let asked = config.context_length.unwrap_or(model.max_positions);
        let longest = asked.min(model.max_positions);
        // More than this is never used.
        let useful = shape.blocks_for(longest) * config.max_sequences;
        let affordable = config.kv_cache_bytes / shape.block_bytes();
        let total_blocks = config.kv_blocks.unwrap_or(affordable.min(useful));
        if total_blocks == 0 {
            let bytes = config.kv_cache_bytes;
            return Err(unsupported(
                "kv cache of bytes",
                bytes,
                "room for one block or more",
            ));
        }
        if config.max_sequences == 0 {
            return Err(unsupported("number of sequences", 0, "one or more"));
        }
        if config.max_batched_tokens < config.max_sequences {
            let value = config.max_batched_tokens;
            return Err(unsupported(
                "number of tokens per step",
                value,
                "at least one per sequence",
            ));
        }
        Ok(Self {
            vocab_size: model.vocab_size,
            context_length: longest.min(total_blocks * config.block_size),
            block_size: config.block_size,
            total_blocks,
            max_sequences: config.max_sequences,
            max_batched_tokens: config.max_batched_tokens,
            queue: config.queue,
            prefix_reuse: config.prefix_reuse,
            adapters: Adapters::default(),
            speculation: config.speculation,
            eos_token_ids: model.eos_token_ids.clone(),
        })
    }

    pub(super) fn info(&self) -> EngineInfo {
        EngineInfo {
            block_size: self.block_size,
            total_blocks: self.total_blocks,
            max_sequences: self.max_sequences,
            context_length: self.context_length,
            max_batched_tokens: self.max_batched_tokens,
            eos_token_ids: self.eos_token_ids.clone(),
            adapters: self.adapters.names(),
        }
    }
}
