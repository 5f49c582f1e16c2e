//! What `config.json` and `generation_config.json` say about a model.

use std::path::Path;

use serde::Deserialize;

use super::rope::yarn_attention;
use super::{ModelError, Rope, RopeScaling};
use crate::engine::embedded::kernel::LANES;

/// The decoder families that this engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Llama, and Mistral within its sliding window.
    Llama,
    /// Qwen2: biases on queries, keys and values.
    Qwen2,
    /// Qwen3: normalised queries and keys.
    Qwen3,
}

const SUPPORTED: &str = "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM";

/// Dimensions and switches of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Which family.
    pub family: Family,
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
    /// Position embeddings.
    pub rope: Rope,
    /// Whether the output layer uses the embedding table.
    pub tied: bool,
    /// Longest sequence.
    pub max_positions: usize,
    /// Tokens that end a sequence.
    pub eos_token_ids: Vec<u32>,
    /// How to sample when a request does not say.
    pub sampling: SamplingDefaults,
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

#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(default)]
    architectures: Vec<String>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default = "default_positions")]
    max_position_embeddings: usize,
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    /// Where transformers 5 keeps what used to be `rope_theta` and `rope_scaling`.
    rope_parameters: Option<RawRope>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    mlp_bias: bool,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    eos_token_id: Option<TokenIds>,
    quantization_config: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct RawRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    partial_rotary_factor: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TokenIds {
    One(u32),
    Many(Vec<u32>),
}

#[derive(Debug, Default, Deserialize)]
struct RawGeneration {
    eos_token_id: Option<TokenIds>,
    do_sample: Option<bool>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i32>,
    repetition_penalty: Option<f32>,
}

fn silu() -> String {
    "silu".to_owned()
}

fn default_positions() -> usize {
    2048
}

impl ModelConfig {
    /// Reads `config.json` and, if there is one, `generation_config.json`.
    pub fn read(directory: &Path) -> Result<Self, ModelError> {
        let raw: Raw = read_json(&directory.join("config.json"))?;
        let path = directory.join("generation_config.json");
        let generation: RawGeneration = if path.exists() {
            read_json(&path)?
        } else {
            RawGeneration::default()
        };
        raw.check()?;
        let family = raw.family()?;
        let heads = raw.num_attention_heads;
        let eos = generation
            .eos_token_id
            .as_ref()
            .or(raw.eos_token_id.as_ref());
        Ok(Self {
            family,
            vocab_size: raw.vocab_size,
            hidden: raw.hidden_size,
            intermediate: raw.intermediate_size,
            layers: raw.num_hidden_layers,
            heads,
            kv_heads: raw.num_key_value_heads.unwrap_or(heads),
            head_dim: raw.head_dim(),
            rms_eps: raw.rms_norm_eps.unwrap_or(1e-6),
            rope: raw.rope()?,
            tied: raw.tie_word_embeddings,
            max_positions: raw.positions(),
            eos_token_ids: match eos {
                None => Vec::new(),
                Some(TokenIds::One(id)) => vec![*id],
                Some(TokenIds::Many(ids)) => ids.clone(),
            },
            sampling: generation.sampling(),
        })
    }
}

impl Raw {
    fn check(&self) -> Result<(), ModelError> {
        let unsupported = |feature, value: String, supported| {
            Err(ModelError::Unsupported {
                feature,
                value,
                supported,
            })
        };
        if self.hidden_act != "silu" {
            return unsupported("activation", self.hidden_act.clone(), "silu");
        }
        if let Some(quantization) = &self.quantization_config {
            let method = &quantization["quant_method"];
            return unsupported("quantization", method.to_string(), "none (f32, f16, bf16)");
        }
        if self.mlp_bias {
            return unsupported("mlp_bias", "true".to_owned(), "false");
        }
        let head_dim = self.head_dim();
        if head_dim == 0 || !head_dim.is_multiple_of(LANES) {
            return unsupported("head_dim", head_dim.to_string(), "multiples of 16");
        }
        let kv_heads = self.num_key_value_heads.unwrap_or(self.num_attention_heads);
        if kv_heads == 0 || !self.num_attention_heads.is_multiple_of(kv_heads) {
            let value = format!("{} heads on {kv_heads}", self.num_attention_heads);
            return unsupported("grouping of heads", value, "whole groups");
        }
        Ok(())
    }

    fn family(&self) -> Result<Family, ModelError> {
        match self.architectures.first().map(String::as_str) {
            Some("LlamaForCausalLM" | "MistralForCausalLM") => Ok(Family::Llama),
            Some("Qwen2ForCausalLM") => Ok(Family::Qwen2),
            Some("Qwen3ForCausalLM") => Ok(Family::Qwen3),
            other => Err(ModelError::Unsupported {
                feature: "architecture",
                value: other.unwrap_or_default().to_owned(),
                supported: SUPPORTED,
            }),
        }
    }

    fn head_dim(&self) -> usize {
        let even = self.hidden_size.checked_div(self.num_attention_heads);
        self.head_dim.unwrap_or(even.unwrap_or(0))
    }

    /// Within its sliding window, a model with one is a model without one.
    fn positions(&self) -> usize {
        let window = self
            .sliding_window
            .filter(|_| self.use_sliding_window != Some(false));
        let longest = self.max_position_embeddings;
        window.map_or(longest, |window| window.min(longest))
    }

    fn rope(&self) -> Result<Rope, ModelError> {
        let parameters = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let raw = parameters.cloned().unwrap_or_default();
        if raw.partial_rotary_factor.is_some_and(|part| part != 1.0) {
            return Err(ModelError::Unsupported {
                feature: "partial_rotary_factor",
                value: format!("{:?}", raw.partial_rotary_factor),
                supported: "1.0",
            });
        }
        Ok(Rope {
            theta: raw.rope_theta.or(self.rope_theta).unwrap_or(10_000.0),
            scaling: raw.scaling(self.max_position_embeddings as f64)?,
        })
    }
}

impl RawRope {
    fn scaling(&self, positions: f64) -> Result<RopeScaling, ModelError> {
        let original = self.original_max_position_embeddings.unwrap_or(positions);
        let factor = self.factor.unwrap_or(positions / original);
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor,
                low: self.low_freq_factor.unwrap_or(1.0),
                high: self.high_freq_factor.unwrap_or(4.0),
                original,
            }),
            Some("yarn") => {
                let inferred = match (self.mscale, self.mscale_all_dim) {
                    (Some(one), Some(all)) if one != 0.0 && all != 0.0 => {
                        yarn_attention(factor, one) / yarn_attention(factor, all)
                    }
                    _ => yarn_attention(factor, 1.0),
                };
                Ok(RopeScaling::Yarn {
                    factor,
                    attention: self.attention_factor.unwrap_or(inferred),
                    fast: self.beta_fast.unwrap_or(32.0),
                    slow: self.beta_slow.unwrap_or(1.0),
                    original,
                    truncate: self.truncate.unwrap_or(true),
                })
            }
            Some(other) => Err(ModelError::Unsupported {
                feature: "rope scaling",
                value: other.to_owned(),
                supported: "default, linear, llama3, yarn",
            }),
        }
    }
}

impl RawGeneration {
    /// A model whose authors say that it does not sample is greedy by default.
    fn sampling(&self) -> SamplingDefaults {
        if self.do_sample == Some(false) {
            return SamplingDefaults {
                temperature: Some(0.0),
                repetition_penalty: self.repetition_penalty,
                ..SamplingDefaults::default()
            };
        }
        SamplingDefaults {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            repetition_penalty: self.repetition_penalty,
        }
    }
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, ModelError> {
    let text = std::fs::read(path).map_err(ModelError::read(path))?;
    serde_json::from_slice(&text).map_err(|error| ModelError::malformed(path, &error))
}
