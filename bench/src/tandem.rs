//! The embedded engine, driven through its trait as a worker does.

use anyhow::{Result, bail};
use futures::StreamExt;
use futures::future::join_all;
use tandem_protocol::engine::{EngineRequest, FinishReason};
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::model::{
    Decoder, Family, ModelConfig, RandomWeights, Rope, RopeScaling, SamplingDefaults,
};
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine};

use crate::clock::{Clock, Spent};
use crate::shape::{Shape, Work, prompt};

/// Starts the engine with random weights.
pub fn start(shape: Shape, bf16: bool, threads: Option<usize>) -> Result<EmbeddedEngine> {
    let config = EmbeddedConfig {
        threads,
        prefix_reuse: false,
        context_length: Some(1024),
        max_sequences: 8,
        ..EmbeddedConfig::default()
    };
    let model = ModelConfig {
        family: Family::Llama,
        vocab_size: shape.vocab_size,
        hidden: shape.hidden,
        intermediate: shape.intermediate,
        layers: shape.layers,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        head_dim: shape.head_dim,
        rms_eps: 1e-5,
        rope: Rope {
            theta: 10000.0,
            scaling: RopeScaling::None,
        },
        tied: false,
        max_positions: 2048,
        eos_token_ids: Vec::new(),
        sampling: SamplingDefaults::default(),
    };
    let compute = EmbeddedEngine::compute(&config)?;
    let weights = RandomWeights { seed: 1, bf16 };
    let decoder = compute.run(|| Decoder::load(model, &weights))?;
    Ok(EmbeddedEngine::start(decoder, compute, config)?)
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
