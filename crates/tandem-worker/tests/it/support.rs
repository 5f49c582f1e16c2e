//! What the tests share: checkpoints, engines, requests.

use std::path::PathBuf;

use futures::StreamExt;
use futures::stream::BoxStream;
use tandem_protocol::engine::{EngineOutput, EngineRequest, FinishReason};
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine};

pub fn checkpoint(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name)
}

pub fn config() -> EmbeddedConfig {
    EmbeddedConfig {
        threads: Some(2),
        kv_blocks: Some(64),
        ..EmbeddedConfig::default()
    }
}

pub fn engine(config: EmbeddedConfig) -> EmbeddedEngine {
    EmbeddedEngine::load(&checkpoint("llama"), config).unwrap()
}

/// A greedy request for `max_tokens` tokens, whatever they are.
pub fn request(prompt: &[u32], max_tokens: u32) -> EngineRequest {
    let mut request = EngineRequest {
        token_ids: prompt.to_vec(),
        ..EngineRequest::default()
    };
    request.stop_conditions.max_tokens = Some(max_tokens);
    request.stop_conditions.ignore_eos = Some(true);
    request.sampling_options.temperature = Some(0.0);
    request
}

/// A prompt of `len` tokens that differs by `seed`.
pub fn prompt(len: u32, seed: u32) -> Vec<u32> {
    (0..len)
        .map(|i| (i * i * 7 + i * seed * 13 + seed) % 128)
        .collect()
}

/// All tokens, and how it ended.
pub async fn collect(mut outputs: BoxStream<'static, EngineOutput>) -> (Vec<u32>, FinishReason) {
    let mut tokens = Vec::new();
    while let Some(output) = outputs.next().await {
        tokens.extend(output.token_ids);
        if let Some(reason) = output.finish_reason {
            assert!(outputs.next().await.is_none(), "output after the last");
            return (tokens, reason);
        }
    }
    panic!("stream ended without a finish reason after {tokens:?}");
}

pub async fn generate(engine: &dyn Engine, request: EngineRequest) -> Vec<u32> {
    let (tokens, reason) = collect(engine.submit(request)).await;
    assert_eq!(reason, FinishReason::Length);
    tokens
}
