//! `config.json` and `generation_config.json`, in the layouts of transformers 4 and 5.

use std::path::Path;

use serde::Deserialize;

use super::super::rope::yarn_attention;
use super::super::{Architecture, ModelError, Rope, RopeScaling};
use super::{ModelConfig, SamplingDefaults, Scores, SlidingAttention};
use crate::engine::embedded::kernel::LANES;

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
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    #[serde(default = "default_positions")]
    max_position_embeddings: usize,
    /// Phi-3 keeps it beside the scaling rather than in it.
    original_max_position_embeddings: Option<f64>,
    partial_rotary_factor: Option<f64>,
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f64>,
    /// Gemma 3's base for the layers with a window.
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<RawRope>,
    /// Where transformers 5 keeps what used to be `rope_theta` and `rope_scaling`.
    rope_parameters: Option<RawRopes>,
    query_pre_attn_scalar: Option<f32>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    mlp_bias: bool,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    #[serde(alias = "_sliding_window_pattern")]
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    use_bidirectional_attention: Option<bool>,
    eos_token_id: Option<TokenIds>,
    quantization_config: Option<serde_json::Value>,
}

/// One set of parameters, or one for each kind of layer.
#[derive(Debug, Clone, Deserialize)]
struct RawRopes {
    full_attention: Option<RawRope>,
    sliding_attention: Option<RawRope>,
    #[serde(flatten)]
    all: RawRope,
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
    short_factor: Option<Vec<f64>>,
    long_factor: Option<Vec<f64>>,
}

/// What the scaling of a rope depends on beside its own parameters.
struct Lengths {
    /// Positions of the model.
    model: f64,
    /// Longest sequence that will be computed.
    served: f64,
    /// Context of the first training, where the scaling does not say.
    original: f64,
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

fn default_positions() -> usize {
    2048
}

pub(super) fn read(
    directory: &Path,
    context_length: Option<usize>,
) -> Result<ModelConfig, ModelError> {
    let raw: Raw = read_json(&directory.join("config.json"))?;
    let path = directory.join("generation_config.json");
    let generation: RawGeneration = if path.exists() {
        read_json(&path)?
    } else {
        RawGeneration::default()
    };
    let named = raw.architectures.first().map_or("", String::as_str);
    let architecture = Architecture::parse(named)?;
    raw.check()?;
    let heads = raw.num_attention_heads;
    let eos = generation
        .eos_token_id
        .as_ref()
        .or(raw.eos_token_id.as_ref());
    let activation = raw.hidden_activation.as_ref().or(raw.hidden_act.as_ref());
    let hidden = raw.hidden_size;
    Ok(ModelConfig {
        vocab_size: raw.vocab_size,
        hidden,
        intermediate: raw.intermediate_size,
        layers: raw.num_hidden_layers,
        heads,
        kv_heads: raw.num_key_value_heads.unwrap_or(heads),
        head_dim: raw.head_dim(),
        rms_eps: raw.rms_norm_eps.unwrap_or(1e-6),
        norms: architecture.norms(),
        activation: architecture.activation(activation.map(String::as_str))?,
        rope: raw.rope(false, context_length)?,
        sliding: raw.sliding(architecture, context_length)?,
        scores: raw.scores(),
        embedding_scale: if architecture.is_gemma() {
            (hidden as f32).sqrt()
        } else {
            1.0
        },
        logit_softcap: raw.final_logit_softcapping,
        tied: raw
            .tie_word_embeddings
            .unwrap_or(architecture.tied_by_default()),
        max_positions: raw.max_position_embeddings,
        eos_token_ids: match eos {
            None => Vec::new(),
            Some(TokenIds::One(id)) => vec![*id],
            Some(TokenIds::Many(ids)) => ids.clone(),
        },
        sampling: generation.sampling(),
    })
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
        if let Some(quantization) = &self.quantization_config {
            let method = &quantization["quant_method"];
            return unsupported("quantization", method.to_string(), "none (f32, f16, bf16)");
        }
        if self.mlp_bias {
            return unsupported("mlp_bias", "true".to_owned(), "false");
        }
        if self.use_bidirectional_attention == Some(true) {
            return unsupported("use_bidirectional_attention", "true".to_owned(), "false");
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

    fn head_dim(&self) -> usize {
        let even = self.hidden_size.checked_div(self.num_attention_heads);
        self.head_dim.unwrap_or(even.unwrap_or(0))
    }

    fn scores(&self) -> Scores {
        let plain = Scores::plain(self.head_dim());
        Scores {
            scale: self
                .query_pre_attn_scalar
                .map_or(plain.scale, |scalar| 1.0 / scalar.sqrt()),
            softcap: self.attn_logit_softcapping,
        }
    }

    /// The layers with a window, if there are some that it makes a difference to.
    fn sliding(
        &self,
        architecture: Architecture,
        context_length: Option<usize>,
    ) -> Result<Option<SlidingAttention>, ModelError> {
        let Some(window) = self.sliding_window else {
            return Ok(None);
        };
        let layers = self.sliding_layers(architecture)?;
        // Gemma 3 rotates these layers in another way however long the window is.
        let matters = window < self.max_position_embeddings || architecture == Architecture::Gemma3;
        if !matters || !layers.contains(&true) {
            return Ok(None);
        }
        Ok(Some(SlidingAttention {
            window,
            rope: self.rope(true, context_length)?,
            layers,
        }))
    }

    fn sliding_layers(&self, architecture: Architecture) -> Result<Vec<bool>, ModelError> {
        let count = self.num_hidden_layers;
        if let Some(types) = &self.layer_types {
            let types = types.iter().map(|name| match name.as_str() {
                "sliding_attention" => Ok(true),
                "full_attention" => Ok(false),
                other => Err(ModelError::Unsupported {
                    feature: "layer type",
                    value: other.to_owned(),
                    supported: "full_attention, sliding_attention",
                }),
            });
            let layers: Vec<bool> = types.collect::<Result<_, _>>()?;
            if layers.len() == count {
                return Ok(layers);
            }
            return Err(ModelError::Unsupported {
                feature: "number of layer types",
                value: layers.len().to_string(),
                supported: "one per layer",
            });
        }
        let slides = |layer: usize| match architecture {
            Architecture::Llama | Architecture::Gemma => false,
            Architecture::Mistral | Architecture::Phi3 => true,
            Architecture::Qwen2 | Architecture::Qwen3 => {
                self.use_sliding_window == Some(true)
                    && layer >= self.max_window_layers.unwrap_or(0)
            }
            Architecture::Gemma2 => layer.is_multiple_of(2),
            // One layer in so many sees everything.
            Architecture::Gemma3 => {
                !(layer + 1).is_multiple_of(self.sliding_window_pattern.unwrap_or(6))
            }
        };
        Ok((0..count).map(slides).collect())
    }

    /// The position embeddings of the layers with or without a window.
    fn rope(&self, sliding: bool, context_length: Option<usize>) -> Result<Rope, ModelError> {
        let ropes = self.rope_parameters.as_ref();
        let own = ropes.and_then(|ropes| match sliding {
            true => ropes.sliding_attention.as_ref(),
            false => ropes.full_attention.as_ref(),
        });
        let parameters = match (own, sliding, self.rope_local_base_freq) {
            (Some(own), ..) => own.clone(),
            // Gemma 3 in the layout of transformers 4: no scaling in layers with a window.
            (None, true, Some(theta)) => RawRope {
                rope_theta: Some(theta),
                ..RawRope::default()
            },
            _ => {
                let all = ropes.map(|ropes| &ropes.all);
                all.or(self.rope_scaling.as_ref())
                    .cloned()
                    .unwrap_or_default()
            }
        };
        let part = parameters
            .partial_rotary_factor
            .or(self.partial_rotary_factor)
            .unwrap_or(1.0);
        let dims = rotated(self.head_dim(), part).ok_or_else(|| ModelError::Unsupported {
            feature: "partial_rotary_factor",
            value: part.to_string(),
            supported: "an even number of dimensions",
        })?;
        let model = self.max_position_embeddings as f64;
        let served = context_length.map_or(model, |length| model.min(length as f64));
        let lengths = Lengths {
            model,
            served,
            original: self.original_max_position_embeddings.unwrap_or(model),
        };
        Ok(Rope {
            theta: parameters
                .rope_theta
                .or(self.rope_theta)
                .unwrap_or(10_000.0),
            dims,
            scaling: parameters.scaling(&lengths, dims)?,
        })
    }
}

/// How many of a head's dimensions are rotated: `part` of them, in pairs.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a small whole number, rounded down as transformers does"
)]
fn rotated(head_dim: usize, part: f64) -> Option<usize> {
    let dims = (head_dim as f64 * part) as usize;
    let fits = part > 0.0 && dims > 0 && dims <= head_dim && dims.is_multiple_of(2);
    fits.then_some(dims)
}

impl RawRope {
    fn scaling(&self, lengths: &Lengths, dims: usize) -> Result<RopeScaling, ModelError> {
        let original = self
            .original_max_position_embeddings
            .unwrap_or(lengths.original);
        let factor = self.factor.unwrap_or(lengths.model / original);
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor,
                low: self.low_freq_factor.unwrap_or(1.0),
                high: self.high_freq_factor.unwrap_or(4.0),
                original,
            }),
            // Phi-3's first configurations call it by its author's name, "su", or "yarn".
            Some("longrope" | "su") => self.long_rope((factor, original), lengths, dims),
            Some("yarn") if self.long_factor.is_some() => {
                self.long_rope((factor, original), lengths, dims)
            }
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
                supported: "default, linear, llama3, longrope, yarn",
            }),
        }
    }

    /// LongRoPE has two sets of factors. Which one a position gets must not depend on how long its
    /// sequence will become, or cached keys would be wrong: the longest sequence decides, as in
    /// vLLM.
    fn long_rope(
        &self,
        (factor, original): (f64, f64),
        lengths: &Lengths,
        dims: usize,
    ) -> Result<RopeScaling, ModelError> {
        let (name, factors) = if lengths.served > original {
            ("long_factor", &self.long_factor)
        } else {
            ("short_factor", &self.short_factor)
        };
        let factors = factors.clone().unwrap_or_default();
        if factors.len() != dims / 2 {
            return Err(ModelError::Unsupported {
                feature: name,
                value: format!("{} numbers", factors.len()),
                supported: "one number for each pair of rotated dimensions",
            });
        }
        let inferred = if factor <= 1.0 {
            1.0
        } else {
            (1.0 + factor.ln() / original.ln()).sqrt()
        };
        Ok(RopeScaling::Factors {
            factors,
            attention: self.attention_factor.unwrap_or(inferred),
        })
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
