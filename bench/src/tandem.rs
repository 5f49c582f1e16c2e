//! The embedded engine, driven through its trait as a worker does.

use std::path::Path;

use anyhow::{Result, bail};
use candle_core::DType;
use futures::StreamExt;
use futures::future::join_all;
use tandem_protocol::engine::{EngineRequest, FinishReason};
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine, Quantization};

use crate::candle::weights;
use crate::clock::{Clock, Spent};
use crate::shape::{Shape, Work, prompt};

/// Writes a checkpoint with random weights.
pub fn write(shape: Shape, dtype: DType, directory: &Path) -> Result<()> {
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": false,
    });
    std::fs::write(directory.join("config.json"), config.to_string())?;
    let file = directory.join("model.safetensors");
    candle_core::safetensors::save(&weights(shape, dtype)?, file)?;
    Ok(())
}

/// Loads a checkpoint.
pub fn load(
    directory: &Path,
    quantization: Quantization,
    threads: Option<usize>,
) -> Result<EmbeddedEngine> {
    let config = EmbeddedConfig {
        threads,
        quantization,
        prefix_reuse: false,
        context_length: Some(1024),
        max_sequences: 8,
        ..EmbeddedConfig::default()
    };
    Ok(EmbeddedEngine::load(directory, config)?)
}

/// Computes the first token of a short prompt.
pub async fn first_token(engine: &EmbeddedEngine) -> Result<()> {
    generate(engine, request(&prompt(16, 0), 1)).await
}

/// Time to the first token of a prompt.
pub async fn prefill(engine: &EmbeddedEngine, work: Work) -> Result<Spent> {
    let clock = Clock::start()?;
    generate(engine, request(&prompt(work.prefill, 0), 1)).await?;
    clock.spent()
}

/// Time to decode with `batch` sequences at once, after their prompts are computed.
pub async fn decode(engine: &EmbeddedEngine, work: Work, batch: usize) -> Result<Spent> {
    let requests = (0..batch).map(|i| request(&prompt(work.context, i), work.decode + 1));
    let mut streams: Vec<_> = requests.map(|request| engine.submit(request)).collect();
    for stream in &mut streams {
        stream.next().await;
    }
    let clock = Clock::start()?;
    let rest = streams.into_iter().map(|stream| stream.count());
    let tokens: usize = join_all(rest).await.into_iter().sum();
    if tokens < batch * work.decode / 2 {
        bail!("only {tokens} tokens came");
    }
    clock.spent()
}

async fn generate(engine: &EmbeddedEngine, request: EngineRequest) -> Result<()> {
    let outputs: Vec<_> = engine.submit(request).collect().await;
    let last = outputs.into_iter().last().transpose()?;
    match last.and_then(|output| output.finish_reason) {
        Some(FinishReason::Length) => Ok(()),
        other => bail!("generation ended with {other:?}"),
    }
}

fn request(prompt: &[u32], tokens: usize) -> EngineRequest {
    let mut request = EngineRequest {
        token_ids: prompt.to_vec(),
        ..EngineRequest::default()
    };
    request.stop_conditions.max_tokens = u32::try_from(tokens).ok();
    request.stop_conditions.ignore_eos = Some(true);
    request.sampling_options.temperature = Some(0.0);
    request
}
