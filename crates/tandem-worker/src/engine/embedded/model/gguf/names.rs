//! What llama.cpp calls the tensors, and what its converters do to some of them.

use super::super::Values;
use super::reader::Header;

/// How a file's tensors differ from those of the model that it was made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming {
    /// Numbers of query and key heads whose rows lie in the order of another rotary embedding.
    interleaved: Option<(usize, usize)>,
    /// Norms hold 1 more than in the checkpoint.
    shifted_norms: bool,
    /// Norms follow each part of a layer, too.
    norms_after: bool,
    /// The gates lie in one tensor with what they gate.
    fused_gates: bool,
}

impl Naming {
    pub(super) fn of(header: &Header) -> Self {
        let architecture = header.architecture.as_str();
        let heads = || Some((header.heads?, header.kv_heads.or(header.heads)?));
        Self {
            interleaved: (architecture == "llama").then(heads).flatten(),
            shifted_norms: architecture.starts_with("gemma"),
            norms_after: matches!(architecture, "gemma2" | "gemma3"),
            fused_gates: architecture == "phi3",
        }
    }

    /// The file's name for a tensor.
    pub(super) fn of_tensor(self, name: &str) -> Option<String> {
        let (stem, kind) = name.rsplit_once('.')?;
        let Some(rest) = stem.strip_prefix("model.layers.") else {
            let own = match stem {
                "model.embed_tokens" => "token_embd",
                "model.norm" => "output_norm",
                "lm_head" => "output",
                _ => return None,
            };
            return Some(format!("{own}.{kind}"));
        };
        let (layer, part) = rest.split_once('.')?;
        let own = match part {
            "input_layernorm" => "attn_norm",
            "self_attn.q_proj" => "attn_q",
            "self_attn.k_proj" => "attn_k",
            "self_attn.v_proj" => "attn_v",
            "self_attn.qkv_proj" => "attn_qkv",
            "self_attn.o_proj" => "attn_output",
            "self_attn.q_norm" => "attn_q_norm",
            "self_attn.k_norm" => "attn_k_norm",
            "post_attention_layernorm" if self.norms_after => "post_attention_norm",
            "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
            "post_feedforward_layernorm" => "post_ffw_norm",
            "mlp.gate_up_proj" if self.fused_gates => "ffn_up",
            "mlp.gate_proj" => "ffn_gate",
            "mlp.up_proj" => "ffn_up",
            "mlp.down_proj" => "ffn_down",
            _ => return None,
        };
        Some(format!("blk.{layer}.{own}.{kind}"))
    }

    /// Undoes what the converter did to a tensor.
    pub(super) fn restore(self, name: &str, values: Values, shape: &[usize]) -> Values {
        if self.shifted_norms && name.ends_with("norm.weight") {
            let mut weights = values.into_f32();
            for weight in &mut weights {
                *weight -= 1.0;
            }
            return Values::F32(weights.into());
        }
        let heads = match self.interleaved {
            Some((heads, _)) if name.contains("q_proj") => heads,
            Some((_, kv_heads)) if name.contains("k_proj") => kv_heads,
            _ => return values,
        };
        let [rows, rest @ ..] = shape else {
            return values;
        };
        let width = rest.iter().product();
        let head_dim = rows / heads.max(1);
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            return values;
        }
        // The halves of a head that are rotated with each other alternate in the file.
        values.reorder(width, |row| {
            let (head, place) = (row / head_dim, row % head_dim);
            let (half, pair) = (place / (head_dim / 2), place % (head_dim / 2));
            head * head_dim + 2 * pair + half
        })
    }
}
