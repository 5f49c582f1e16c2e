//! Guessing tokens ahead changes no answer, and saves steps.

use tandem_protocol::engine::{EngineRequest, FinishReason};
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine, Quantization, Speculation};
use tandem_worker::engine::{Engine, EngineCounters};

use crate::architectures::{self, CHECKPOINTS, load};
use crate::disaggregation::{LONG, PrefillWorker};
use crate::equality::{self, variants};
use crate::support::{answer, answer_all, checkpoint, config, engine, prompt, request};

/// Guesses as often as it can, so that many guesses are wrong.
const RECKLESS: Speculation = Speculation {
    num_speculative_tokens: 6,
    prompt_lookup_max: 3,
    prompt_lookup_min: 1,
};

fn guessing(config: EmbeddedConfig) -> EmbeddedConfig {
    EmbeddedConfig {
        speculation: Some(RECKLESS),
        ..config
    }
}

fn counters(engine: &EmbeddedEngine) -> EngineCounters {
    engine.load().counters
}

#[tokio::test]
async fn every_architecture_answers_the_same() {
    for name in CHECKPOINTS {
        let expect = architectures::reference(name).await;
        for max_batched_tokens in [7, 512] {
            let engine = load(
                name,
                guessing(EmbeddedConfig {
                    max_batched_tokens,
                    max_sequences: 5,
                    ..config()
                }),
            );
            let found = answer_all(&engine, &architectures::requests()).await;
            assert_eq!(found, expect, "{name} by {max_batched_tokens}");
            // What was guessed wrong must not be in the blocks that are reused.
            let again = answer_all(&engine, &architectures::requests()).await;
            assert_eq!(again, expect, "{name} by {max_batched_tokens}, again");
            let counters = counters(&engine);
            assert!(
                counters.draft_tokens > counters.accepted_draft_tokens,
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn sampled_answers_are_the_same_in_company_and_after_preemption() {
    let requests = equality::requests();
    let expect = equality::reference(&requests).await;
    for kv_blocks in [9, 64] {
        let engine = engine(guessing(EmbeddedConfig {
            kv_blocks: Some(kv_blocks),
            ..config()
        }));
        assert_eq!(answer_all(&engine, &requests).await, expect, "{kv_blocks}");
        let load = engine.load();
        assert_eq!(load.counters.preemptions > 0, kv_blocks == 9);
        assert_eq!(load.active_blocks, 0);
        let generated: usize = expect.iter().map(|answer| answer.tokens.len()).sum();
        assert_eq!(load.counters.generated_tokens, generated as u64);
        assert!(load.counters.accepted_draft_tokens > 0);
    }
}

#[tokio::test]
async fn right_guesses_save_steps_and_their_blocks_are_reused() {
    // This model soon repeats itself.
    let first = variants(&prompt(30, 1), 100)[0].clone();
    let expect = equality::reference(std::slice::from_ref(&first)).await;
    let engine = engine(guessing(config()));
    let found = answer(engine.submit(first.clone())).await;
    assert_eq!(found, expect[0]);
    let after_first = counters(&engine);
    assert_eq!(after_first.steps + after_first.accepted_draft_tokens, 100);
    assert!(after_first.accepted_draft_tokens > 20, "{after_first:?}");

    let mut second_prompt = first.token_ids.clone();
    second_prompt.extend(&found.tokens);
    let second = variants(&second_prompt, 10);
    let expect = equality::reference(&second).await;
    assert_eq!(answer_all(&engine, &second).await, expect);
    // The last generated token was never an input: 129 tokens have keys and values.
    assert_eq!(counters(&engine).cached_prompt_tokens, 2 * 128);
}

#[tokio::test]
async fn answers_end_where_they_would_have() {
    let plain = engine(config());
    let guessing = engine(guessing(config()));
    let whole = answer(plain.submit(request(&prompt(30, 1), 60)))
        .await
        .tokens;
    for (place, &token) in whole.iter().enumerate() {
        let mut stopped = request(&prompt(30, 1), 60);
        stopped.stop_conditions.ignore_eos = None;
        stopped.stop_conditions.stop_token_ids_hidden = Some(vec![token]);
        stopped.stop_conditions.min_tokens = Some(u32::try_from(place).unwrap() / 2);
        let expect = answer(plain.submit(stopped.clone())).await;
        assert_eq!(answer(guessing.submit(stopped)).await, expect, "{place}");
        let short = request(&prompt(30, 1), u32::try_from(place).unwrap() + 1);
        let found = answer(guessing.submit(short)).await;
        assert_eq!(found.tokens, whole[..=place]);
        assert_eq!(found.reason, FinishReason::Length);
    }
    assert!(counters(&guessing).accepted_draft_tokens > 0);
}

#[tokio::test]
async fn a_decode_worker_guesses_too() {
    let requests: Vec<EngineRequest> = equality::requests();
    let expect = equality::reference(&requests).await;
    let load = |config| EmbeddedEngine::load(&checkpoint("llama"), config).unwrap();
    let prefill = PrefillWorker::with(|config| load(guessing(config)), LONG).await;
    let decode = load(guessing(config()));
    for (request, expect) in requests.iter().zip(&expect) {
        let second_leg = prefill.prefill(request).await;
        assert_eq!(&answer(decode.submit(second_leg)).await, expect);
    }
    let counters = counters(&decode);
    assert_eq!(counters.prefill_tokens_computed, 0);
    assert!(counters.accepted_draft_tokens > 0);
}

#[tokio::test]
async fn rounded_weights_answer_the_same() {
    if config().device != tandem_worker::engine::embedded::Device::Cpu {
        return;
    }
    let rounded = |config| EmbeddedConfig {
        quantization: Quantization::Q8_0,
        ..config
    };
    let plain = load("llama", rounded(config()));
    let guessing = load("llama", rounded(guessing(config())));
    let requests = equality::requests();
    let expect = answer_all(&plain, &requests).await;
    assert_eq!(answer_all(&guessing, &requests).await, expect);
    assert!(counters(&guessing).accepted_draft_tokens > 0);
}
