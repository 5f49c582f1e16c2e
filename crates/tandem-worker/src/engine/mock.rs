//! A model that takes time but does no arithmetic, for tests, benches and capacity planning.
//!
//! The mock engine is the embedded engine with this in the decoder's place: scheduling, batching,
//! KV blocks, eviction, events and hand-over are the real ones. Tokens depend on the tokens before
//! them and on nothing else, so a sequence that moves to another worker goes on as it would have.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::embedded::model::{ModelConfig, ModelError};

/// Tokens that the next one depends on.
const MEMORY: usize = 4;

/// How long the steps of the imagined accelerator take: about those of vLLM with an 8B model in
/// 16 bits on one 80 GB card.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTime {
    /// Of any step: weights are read, kernels are started.
    pub base: Duration,
    /// For each prompt token.
    pub prompt_token: Duration,
    /// For each prompt token and thousand tokens before it: attention.
    pub prompt_attention: Duration,
    /// For each sequence that generates.
    pub sequence: Duration,
    /// For each thousand tokens whose keys and values a generating sequence reads.
    pub context: Duration,
}

impl Default for StepTime {
    fn default() -> Self {
        Self {
            base: Duration::from_micros(5000),
            prompt_token: Duration::from_micros(40),
            prompt_attention: Duration::from_micros(2),
            sequence: Duration::from_micros(30),
            context: Duration::from_micros(40),
        }
    }
}

/// How the mock engine behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MockConfig {
    /// How much faster than the imagined accelerator.
    pub speedup: f64,
    /// The imagined accelerator.
    pub step_time: StepTime,
}

/// A part of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// Tokens before the part.
    pub(super) context: usize,
    /// Tokens of the part.
    pub(super) tokens: usize,
    /// Whether it generates.
    pub(super) decoding: bool,
}

/// What is known of the model that is imitated.
#[derive(Debug, Clone)]
pub(super) struct MockModel {
    config: MockConfig,
    pub(super) vocab_size: usize,
    pub(super) max_positions: usize,
    pub(super) eos_token_ids: Vec<u32>,
}

/// The members of `config.json` that matter, for models that the embedded engine cannot run.
#[derive(Deserialize)]
struct Outline {
    vocab_size: usize,
    #[serde(default = "default_positions")]
    max_position_embeddings: usize,
    #[serde(default)]
    eos_token_id: Option<Eos>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Eos {
    One(u32),
    Many(Vec<u32>),
}

const fn default_positions() -> usize {
    4096
}

impl MockModel {
    /// Imitates the model in `directory`; only its configuration is read.
    pub(super) fn read(directory: &Path, config: MockConfig) -> Result<Self, ModelError> {
        if let Ok(model) = ModelConfig::read(directory, None) {
            return Ok(Self {
                config,
                vocab_size: model.vocab_size,
                max_positions: model.max_positions,
                eos_token_ids: model.eos_token_ids,
            });
        }
        let path = directory.join("config.json");
        let text = std::fs::read(&path).map_err(|source| ModelError::Read {
            path: path.clone(),
            source,
        })?;
        let outline: Outline =
            serde_json::from_slice(&text).map_err(|error| ModelError::Malformed {
                path,
                reason: error.to_string(),
            })?;
        Ok(Self {
            config,
            vocab_size: outline.vocab_size,
            max_positions: outline.max_position_embeddings,
            eos_token_ids: match outline.eos_token_id {
                None => Vec::new(),
                Some(Eos::One(id)) => vec![id],
                Some(Eos::Many(ids)) => ids,
            },
        })
    }

    /// Lets as much time pass as a step with `parts` takes.
    pub(super) fn take_time(&self, parts: impl Iterator<Item = Work>) {
        let until = Instant::now() + self.step_time(parts).div_f64(self.config.speedup);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
    }

    fn step_time(&self, parts: impl Iterator<Item = Work>) -> Duration {
        let times = &self.config.step_time;
        let thousands = |tokens: usize| tokens as f64 / 1000.0;
        parts.fold(times.base, |sum, part| {
            let Work {
                context, tokens, ..
            } = part;
            let time = if part.decoding {
                times.sequence + times.context.mul_f64(thousands(context))
            } else {
                let middle = context + tokens / 2;
                let each = times.prompt_token + times.prompt_attention.mul_f64(thousands(middle));
                each.mul_f64(tokens as f64)
            };
            sum + time
        })
    }

    /// The token after `tokens`; never one that ends the sequence.
    pub(super) fn next_token(&self, tokens: &[u32]) -> u32 {
        let recent = &tokens[tokens.len().saturating_sub(MEMORY)..];
        let bytes: Vec<u8> = recent
            .iter()
            .flat_map(|token| token.to_le_bytes())
            .collect();
        // The first tokens of a vocabulary are special ones and single bytes.
        let first = self.vocab_size / 8;
        let choices = (self.vocab_size - first).max(1) as u64;
        let hash = xxh3_64_with_seed(&bytes, tokens.len() as u64);
        let mut token = first as u64 + hash % choices;
        while self
            .eos_token_ids
            .iter()
            .any(|eos| u64::from(*eos) == token)
        {
            token = first as u64 + (token + 1 - first as u64) % choices;
        }
        u32::try_from(token).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> MockModel {
        MockModel {
            config: MockConfig {
                speedup: 1.0,
                step_time: StepTime::default(),
            },
            vocab_size: 1000,
            max_positions: 4096,
            eos_token_ids: vec![2, 500],
        }
    }

    #[test]
    fn prompts_take_longer_than_generation() {
        let prompt = Work {
            context: 0,
            tokens: 1000,
            decoding: false,
        };
        let decode = Work {
            context: 1000,
            tokens: 1,
            decoding: true,
        };
        let base = StepTime::default().base;
        let model = model();
        let prompt = model.step_time([prompt].into_iter()) - base;
        let decode = model.step_time([decode].into_iter()) - base;
        assert_eq!(prompt, Duration::from_millis(41));
        assert_eq!(decode, Duration::from_micros(70));
    }

    #[test]
    fn tokens_are_ordinary_and_follow_from_the_ones_before() {
        let model = model();
        let mut tokens = vec![1, 2, 3];
        for _ in 0..5000 {
            let next = model.next_token(&tokens);
            assert!((125..1000).contains(&next) && next != 500);
            assert_eq!(next, model.next_token(&tokens));
            tokens.push(next);
        }
    }
}
