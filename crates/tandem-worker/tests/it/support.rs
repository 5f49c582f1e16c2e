//! What the tests share: checkpoints, engines, requests.

use std::path::PathBuf;

use futures::StreamExt;
use tandem_protocol::engine::{EngineOutput, EngineRequest, FinishReason};
use tandem_worker::engine::embedded::{Device, EmbeddedConfig, EmbeddedEngine, TransferConfig};
use tandem_worker::engine::{Engine, EngineError, Outputs};

pub(crate) fn checkpoint(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name)
}

/// The device that a variable names, if it is there: where there is a GPU, the same tests must pass
/// on it.
#[allow(clippy::disallowed_methods, reason = "tests have no flags")]
pub(crate) fn device(variable: &str) -> Option<Device> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap())
}

pub(crate) fn config() -> EmbeddedConfig {
    EmbeddedConfig {
        device: device("TANDEM_TEST_DEVICE").unwrap_or_default(),
        threads: Some(2),
        kv_blocks: Some(64),
        ..EmbeddedConfig::default()
    }
}

pub(crate) fn engine(config: EmbeddedConfig) -> EmbeddedEngine {
    EmbeddedEngine::load(&checkpoint("llama"), config).unwrap()
}

/// A greedy request for `max_tokens` tokens, whatever they are.
pub(crate) fn request(prompt: &[u32], max_tokens: u32) -> EngineRequest {
    let mut request = EngineRequest {
        token_ids: prompt.to_vec(),
        ..EngineRequest::default()
    };
    request.stop_conditions.max_tokens = Some(max_tokens);
    request.stop_conditions.ignore_eos = Some(true);
    request.sampling_options.temperature = Some(0.0);
    request
}

/// Requests for eight tokens after each of `prompts`, some greedy and some sampled, with log
/// probabilities.
pub(crate) fn varied(prompts: impl Iterator<Item = Vec<u32>>) -> Vec<EngineRequest> {
    let vary = |(index, prompt): (usize, Vec<u32>)| {
        let mut request = request(&prompt, 8);
        request.output_options.logprobs = Some(1);
        if index % 3 == 2 {
            request.sampling_options.temperature = Some(0.8);
            request.sampling_options.seed = Some(7);
        }
        request
    };
    prompts.enumerate().map(vary).collect()
}

/// A prompt of `len` tokens that differs by `seed`.
pub(crate) fn prompt(len: u32, seed: u32) -> Vec<u32> {
    (0..len)
        .map(|i| (i * i * 7 + i * seed * 13 + seed) % 128)
        .collect()
}

/// All tokens, and how it ended.
pub(crate) async fn collect(mut outputs: Outputs) -> (Vec<u32>, FinishReason) {
    let mut tokens = Vec::new();
    while let Some(output) = outputs.next().await {
        let output = output.unwrap();
        tokens.extend(output.token_ids);
        if let Some(reason) = output.finish_reason {
            assert!(outputs.next().await.is_none(), "output after the last");
            return (tokens, reason);
        }
    }
    panic!("stream ended without a finish reason after {tokens:?}");
}

/// What a request is refused with.
pub(crate) async fn refusal(mut outputs: Outputs) -> EngineError {
    let refused = outputs.next().await.unwrap().unwrap_err();
    assert!(outputs.next().await.is_none(), "output after the last");
    refused
}

pub(crate) async fn generate(engine: &dyn Engine, request: EngineRequest) -> Vec<u32> {
    let (tokens, reason) = collect(engine.submit(request)).await;
    assert_eq!(reason, FinishReason::Length);
    tokens
}

/// What an answer consists of, to compare.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) tokens: Vec<u32>,
    pub(crate) log_probs: Vec<f64>,
    pub(crate) top: Vec<(u32, f64)>,
    pub(crate) total: Option<f64>,
    pub(crate) reason: FinishReason,
}

pub(crate) async fn answer(outputs: Outputs) -> Answer {
    let outputs: Vec<EngineOutput> = outputs.map(Result::unwrap).collect().await;
    let last = outputs.last().unwrap();
    let top = outputs
        .iter()
        .flat_map(|output| output.top_logprobs.iter().flatten().flatten());
    Answer {
        tokens: outputs
            .iter()
            .flat_map(|output| &output.token_ids)
            .copied()
            .collect(),
        log_probs: outputs
            .iter()
            .flat_map(|output| output.log_probs.iter().flatten())
            .copied()
            .collect(),
        top: top.map(|top| (top.token_id, top.logprob)).collect(),
        total: last.cum_log_probs,
        reason: last.finish_reason.clone().unwrap(),
    }
}

pub(crate) async fn answer_all(engine: &dyn Engine, requests: &[EngineRequest]) -> Vec<Answer> {
    let answers = requests
        .iter()
        .map(|request| answer(engine.submit(request.clone())));
    futures::future::join_all(answers).await
}

/// The second leg of a request whose prefill worker is not there any more.
pub(crate) async fn handoff(prompt: &[u32], max_tokens: u32) -> EngineRequest {
    let transfer = TransferConfig {
        address: "127.0.0.1:1".to_owned(),
        lease: std::time::Duration::from_secs(60),
    };
    let prefill = engine(EmbeddedConfig {
        transfer: Some(transfer),
        ..config()
    });
    let request = request(prompt, max_tokens);
    let output = prefill
        .submit_prefill(request.clone())
        .next()
        .await
        .unwrap()
        .unwrap();
    EngineRequest {
        disaggregated_params: output.disaggregated_params,
        ..request
    }
}
