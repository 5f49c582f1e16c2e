//! candle-transformers' llama, in the loop of candle's own example: greedy, with its KV cache.

use std::collections::HashMap;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama};

use crate::clock::{Clock, Spent};
use crate::shape::{Shape, Work, prompt};

/// The model with random weights.
pub struct Candle {
    model: Llama,
    config: Config,
    dtype: DType,
}

impl Candle {
    pub fn load(shape: Shape, dtype: DType) -> Result<Self> {
        let config = Config {
            hidden_size: shape.hidden,
            intermediate_size: shape.intermediate,
            vocab_size: shape.vocab_size,
            num_hidden_layers: shape.layers,
            num_attention_heads: shape.heads,
            num_key_value_heads: shape.kv_heads,
            use_flash_attn: false,
            rms_norm_eps: 1e-5,
            rope_theta: 10000.0,
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling: None,
            max_position_embeddings: 2048,
            tie_word_embeddings: false,
        };
        let weights = weights(shape, dtype)?;
        let builder = VarBuilder::from_tensors(weights, dtype, &Device::Cpu);
        let model = Llama::load(builder, &config)?;
        Ok(Self {
            model,
            config,
            dtype,
        })
    }

    /// Time to the first token of a prompt.
    pub fn prefill(&self, work: Work) -> Result<Spent> {
        let mut cache = self.cache()?;
        let clock = Clock::start()?;
        self.step(&prompt(work.prefill, 0), 0, &mut cache)?;
        clock.spent()
    }

    /// Time to decode one sequence after its prompt is computed.
    pub fn decode(&self, work: Work) -> Result<Spent> {
        let mut cache = self.cache()?;
        let mut token = self.step(&prompt(work.context, 0), 0, &mut cache)?;
        let clock = Clock::start()?;
        for index in 0..work.decode {
            token = self.step(&[token], work.context + index, &mut cache)?;
        }
        clock.spent()
    }

    fn cache(&self) -> Result<Cache> {
        Ok(Cache::new(true, self.dtype, &self.config, &Device::Cpu)?)
    }

    fn step(&self, tokens: &[u32], position: usize, cache: &mut Cache) -> Result<u32> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = self.model.forward(&input, position, cache)?;
        Ok(logits.squeeze(0)?.argmax(0)?.to_scalar()?)
    }
}

/// Random weights under the names of transformers.
pub fn weights(shape: Shape, dtype: DType) -> Result<HashMap<String, Tensor>> {
    let mut weights = HashMap::new();
    let mut add = |name: String, dims: &[usize]| -> Result<()> {
        let tensor = if let [length] = dims {
            Tensor::ones(*length, dtype, &Device::Cpu)?
        } else {
            let scale = (3.0 / dims[1] as f64).sqrt();
            Tensor::rand(-scale, scale, dims, &Device::Cpu)?.to_dtype(dtype)?
        };
        weights.insert(name, tensor);
        Ok(())
    };
    let (hidden, wide) = (shape.hidden, shape.intermediate);
    let queries = shape.heads * shape.head_dim;
    let keys = shape.kv_heads * shape.head_dim;
    add(
        "model.embed_tokens.weight".to_owned(),
        &[shape.vocab_size, hidden],
    )?;
    add("lm_head.weight".to_owned(), &[shape.vocab_size, hidden])?;
    add("model.norm.weight".to_owned(), &[hidden])?;
    for layer in 0..shape.layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        add(name("input_layernorm"), &[hidden])?;
        add(name("post_attention_layernorm"), &[hidden])?;
        add(name("self_attn.q_proj"), &[queries, hidden])?;
        add(name("self_attn.k_proj"), &[keys, hidden])?;
        add(name("self_attn.v_proj"), &[keys, hidden])?;
        add(name("self_attn.o_proj"), &[hidden, queries])?;
        add(name("mlp.gate_proj"), &[wide, hidden])?;
        add(name("mlp.up_proj"), &[wide, hidden])?;
        add(name("mlp.down_proj"), &[hidden, wide])?;
    }
    Ok(weights)
}
