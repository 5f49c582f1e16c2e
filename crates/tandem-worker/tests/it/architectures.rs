//! Every architecture gives the same answers however its requests are run.

use tandem_protocol::engine::EngineRequest;
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine};

use crate::disaggregation::{LONG, PrefillWorker};
use crate::support::{Answer, answer, answer_all, checkpoint, config, prompt, request};

/// One checkpoint of each, those with a window last.
pub(crate) const CHECKPOINTS: [&str; 8] = [
    "llama",
    "qwen2",
    "qwen3",
    "gemma",
    "phi3",
    "mistral-window",
    "gemma2",
    "gemma3",
];

pub(crate) fn load(name: &str, config: EmbeddedConfig) -> EmbeddedEngine {
    EmbeddedEngine::load(&checkpoint(name), config).unwrap()
}

/// Prompts shorter and longer than a block and than the windows, some with a common beginning.
pub(crate) fn requests() -> Vec<EngineRequest> {
    let long = prompt(120, 5);
    let mut requests: Vec<_> = [3, 40, 120, 104]
        .iter()
        .map(|&len| request(&long[..len], 12))
        .collect();
    requests.push(request(&prompt(57, 2), 20));
    for request in &mut requests {
        request.output_options.logprobs = Some(2);
    }
    requests
}

/// Each request by itself, without anything that could go wrong.
pub(crate) async fn reference(name: &str) -> Vec<Answer> {
    let plain = load(
        name,
        EmbeddedConfig {
            prefix_reuse: false,
            threads: Some(1),
            ..config()
        },
    );
    let mut answers = Vec::new();
    for request in requests() {
        answers.push(answer(plain.submit(request)).await);
    }
    answers
}

#[tokio::test]
async fn batches_and_chunks_and_reuse_change_nothing() {
    for name in CHECKPOINTS {
        let expect = reference(name).await;
        for max_batched_tokens in [7, 48, 512] {
            let engine = load(
                name,
                EmbeddedConfig {
                    max_batched_tokens,
                    max_sequences: 5,
                    ..config()
                },
            );
            let found = answer_all(&engine, &requests()).await;
            assert_eq!(found, expect, "{name} by {max_batched_tokens}");
            let again = answer_all(&engine, &requests()).await;
            assert_eq!(again, expect, "{name} by {max_batched_tokens}, again");
            assert!(engine.load().counters.cached_prompt_tokens >= 112, "{name}");
        }
    }
}

#[tokio::test]
async fn preemption_and_large_blocks_change_nothing() {
    for name in CHECKPOINTS {
        let expect = reference(name).await;
        let engine = load(
            name,
            EmbeddedConfig {
                kv_blocks: Some(10),
                ..config()
            },
        );
        assert_eq!(answer_all(&engine, &requests()).await, expect, "{name}");
        let engine = load(
            name,
            EmbeddedConfig {
                block_size: 48,
                ..config()
            },
        );
        assert_eq!(answer_all(&engine, &requests()).await, expect, "{name}");
    }
}

#[tokio::test]
async fn a_prefill_worker_changes_nothing() {
    for name in CHECKPOINTS {
        let expect = reference(name).await;
        let prefill = PrefillWorker::with(|config| load(name, config), LONG).await;
        let decode = load(name, config());
        for (request, expect) in requests().iter().zip(&expect) {
            let second_leg = prefill.prefill(request).await;
            assert_eq!(&answer(decode.submit(second_leg)).await, expect, "{name}");
        }
        let counters = decode.load().counters;
        assert_eq!(counters.prefill_tokens_computed, 0, "{name}");
        assert_eq!(counters.remote_prefills, 5, "{name}");
    }
}
