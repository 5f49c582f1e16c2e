//! candle-transformers' quantised llama, in the loop of candle's own example. It reads a GGUF file,
//! which is written here.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Result;
use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

use crate::candle::weights;
use crate::clock::{Clock, Spent};
use crate::shape::{Shape, Work, prompt};

/// Writes random weights of a format.
pub fn write(shape: Shape, format: GgmlDType, path: &Path) -> Result<()> {
    let mut tensors = Vec::new();
    for (name, weight) in weights(shape, DType::F32)? {
        let format = if weight.rank() == 1 {
            GgmlDType::F32
        } else {
            format
        };
        tensors.push((own_name(&name), QTensor::quantize(&weight, format)?));
    }
    let number = |number: usize| Value::U32(u32::try_from(number).unwrap_or(u32::MAX));
    let metadata = [
        ("general.architecture", Value::String("llama".to_owned())),
        ("llama.attention.head_count", number(shape.heads)),
        ("llama.attention.head_count_kv", number(shape.kv_heads)),
        ("llama.block_count", number(shape.layers)),
        ("llama.embedding_length", number(shape.hidden)),
        ("llama.rope.dimension_count", number(shape.head_dim)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
    ];
    let metadata: Vec<_> = metadata
        .iter()
        .map(|(name, value)| (*name, value))
        .collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut file = BufWriter::new(File::create(path)?);
    gguf_file::write(&mut file, &metadata, &tensors)?;
    Ok(())
}

fn own_name(name: &str) -> String {
    const NAMES: [(&str, &str); 13] = [
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    NAMES
        .iter()
        .fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// The model from a GGUF file. Its KV cache is part of it, and starts over at position 0.
pub struct QuantizedCandle(ModelWeights);

impl QuantizedCandle {
    pub fn load(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        let content = Content::read(&mut file)?;
        let model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
        Ok(Self(model))
    }

    /// Time to the first token of a prompt.
    pub fn prefill(&mut self, work: Work) -> Result<Spent> {
        let clock = Clock::start()?;
        self.step(&prompt(work.prefill, 0), 0)?;
        clock.spent()
    }

    /// Time to decode one sequence after its prompt is computed.
    pub fn decode(&mut self, work: Work) -> Result<Spent> {
        let mut token = self.step(&prompt(work.context, 0), 0)?;
        let clock = Clock::start()?;
        for index in 0..work.decode {
            token = self.step(&[token], work.context + index)?;
        }
        clock.spent()
    }

    fn step(&mut self, tokens: &[u32], position: usize) -> Result<u32> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = self.0.forward(&input, position)?;
        Ok(logits.squeeze(0)?.argmax(0)?.to_scalar()?)
    }
}
