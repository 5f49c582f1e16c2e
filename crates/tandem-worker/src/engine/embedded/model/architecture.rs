//! The architectures that this engine runs, and what their names imply beside `config.json`.
//!
//! They are one decoder with switches ([`ModelConfig`](super::ModelConfig)); this is the only place
//! that knows them apart.

use super::{Activation, ModelError, Norms};

/// What `architectures` in `config.json` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, and what is built like them.
    Llama,
    /// Llama with a sliding window in all layers.
    Mistral,
    /// Biases on queries, keys and values; a sliding window in the upper layers where asked for.
    Qwen2,
    /// Normalised queries and keys.
    Qwen3,
    /// GELU, scaled embeddings.
    Gemma,
    /// Norms after each part too, bounded scores and logits, a window in every other layer.
    Gemma2,
    /// Normalised queries and keys, a window in five of six layers.
    Gemma3,
    /// Phi-3 and Phi-4: fused projections, two sets of wavelengths.
    Phi3,
}

/// Names, for the message about one that is not supported.
const SUPPORTED: &str = "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, \
    GemmaForCausalLM, Gemma2ForCausalLM, Gemma3ForCausalLM, Phi3ForCausalLM";

impl Architecture {
    /// The architecture that `config.json` names.
    ///
    /// # Errors
    /// Names those that are supported.
    pub(super) fn parse(name: &str) -> Result<Self, ModelError> {
        Ok(match name {
            "LlamaForCausalLM" => Self::Llama,
            "MistralForCausalLM" => Self::Mistral,
            "Qwen2ForCausalLM" => Self::Qwen2,
            "Qwen3ForCausalLM" => Self::Qwen3,
            "GemmaForCausalLM" => Self::Gemma,
            "Gemma2ForCausalLM" => Self::Gemma2,
            "Gemma3ForCausalLM" => Self::Gemma3,
            "Phi3ForCausalLM" => Self::Phi3,
            other => {
                return Err(ModelError::Unsupported {
                    feature: "architecture",
                    value: other.to_owned(),
                    supported: SUPPORTED,
                });
            }
        })
    }

    /// Whether it is one of Google's Gemma models, which share most of what sets them apart.
    pub(super) const fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma | Self::Gemma2 | Self::Gemma3)
    }

    /// Where it normalises.
    pub(super) const fn norms(self) -> Norms {
        Norms {
            heads: matches!(self, Self::Qwen3 | Self::Gemma3),
            after: matches!(self, Self::Gemma2 | Self::Gemma3),
            offset: if self.is_gemma() { 1.0 } else { 0.0 },
        }
    }

    /// The activation that `name` means. Gemma's first configurations say "gelu" and mean its
    /// approximation by tanh.
    pub(super) fn activation(self, name: Option<&str>) -> Result<Activation, ModelError> {
        match (self.is_gemma(), name) {
            (false, None | Some("silu")) => Ok(Activation::Silu),
            (true, None | Some("gelu" | "gelu_pytorch_tanh")) => Ok(Activation::GeluTanh),
            (gemma, Some(other)) => Err(ModelError::Unsupported {
                feature: "activation",
                value: other.to_owned(),
                supported: if gemma { "gelu_pytorch_tanh" } else { "silu" },
            }),
        }
    }

    /// Whether the output layer is the embedding table where the configuration does not say.
    pub(super) const fn tied_by_default(self) -> bool {
        self.is_gemma()
    }
}
