//! Whatever the engine does to be fast, the answers are the same, token for token and bit for bit.

use tandem_protocol::engine::EngineRequest;
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::EmbeddedConfig;

use crate::support::{Answer, answer, answer_all, config, engine, prompt, request};

/// Greedy, and sampled in a way that uses every kind of state.
pub(crate) fn variants(prompt: &[u32], max_tokens: u32) -> [EngineRequest; 2] {
    let mut greedy = request(prompt, max_tokens);
    greedy.output_options.logprobs = Some(2);
    let mut seeded = greedy.clone();
    seeded.sampling_options.temperature = Some(0.9);
    seeded.sampling_options.top_p = Some(0.95);
    seeded.sampling_options.seed = Some(42);
    seeded.sampling_options.repetition_penalty = Some(1.1);
    seeded.sampling_options.frequency_penalty = Some(0.2);
    [greedy, seeded]
}

pub(crate) fn requests() -> Vec<EngineRequest> {
    (0..8_u32)
        .flat_map(|i| variants(&prompt(5 + i * 9, i / 2), 40 - i))
        .collect()
}

/// Each request on its own, without anything that could go wrong.
pub(crate) async fn reference(requests: &[EngineRequest]) -> Vec<Answer> {
    let plain = engine(EmbeddedConfig {
        prefix_reuse: false,
        threads: Some(1),
        ..config()
    });
    let mut answers = Vec::new();
    for request in requests {
        answers.push(answer(plain.submit(request.clone())).await);
    }
    answers
}

#[tokio::test]
async fn prefix_reuse_changes_nothing() {
    let engine = engine(config());
    let mut requests = Vec::new();
    let long = prompt(100, 3);
    for len in [100, 100, 64, 65, 48, 90] {
        requests.extend(variants(&long[..len], 20));
    }
    let expect = reference(&requests).await;
    for (request, expect) in requests.iter().zip(&expect) {
        assert_eq!(&answer(engine.submit(request.clone())).await, expect);
    }
    let counters = engine.load().counters;
    // All but the first find what they can: full blocks, and one token at least is computed.
    let reused: u64 = [96, 96, 96, 48, 48, 64, 64, 32, 32, 80, 80].iter().sum();
    assert_eq!(counters.cached_prompt_tokens, reused);
    assert_eq!(
        counters.prefill_tokens_computed,
        counters.prompt_tokens - reused
    );
}

#[tokio::test]
async fn generated_blocks_are_reused_too() {
    let engine = engine(config());
    let first = variants(&prompt(30, 1), 40)[0].clone();
    let first_answer = answer(engine.submit(first.clone())).await;
    let mut second_prompt = first.token_ids.clone();
    second_prompt.extend(&first_answer.tokens);
    second_prompt.extend([7, 8, 9]);
    let second = variants(&second_prompt, 10);
    let expect = reference(&second).await;
    assert_eq!(answer(engine.submit(second[0].clone())).await, expect[0]);
    // The last generated token was never an input: 69 tokens have keys and values.
    assert_eq!(engine.load().counters.cached_prompt_tokens, 64);
}

#[tokio::test]
async fn chunks_change_nothing() {
    let requests: Vec<_> = [150, 33, 200, 7]
        .into_iter()
        .flat_map(|len| variants(&prompt(len, len), 20))
        .collect();
    let expect = reference(&requests).await;
    for max_batched_tokens in [1, 7, 48, 512] {
        let engine = engine(EmbeddedConfig {
            max_batched_tokens,
            max_sequences: max_batched_tokens.min(4),
            ..config()
        });
        assert_eq!(
            answer_all(&engine, &requests).await,
            expect,
            "{max_batched_tokens}"
        );
    }
}

#[tokio::test]
async fn company_changes_nothing() {
    let requests = requests();
    let expect = reference(&requests).await;
    for threads in [1, 3] {
        let engine = engine(EmbeddedConfig {
            threads: Some(threads),
            max_sequences: 8,
            ..config()
        });
        assert_eq!(answer_all(&engine, &requests).await, expect);
        assert_eq!(engine.load().active_blocks, 0);
    }
}

#[tokio::test]
async fn preemption_changes_nothing() {
    let requests = requests();
    let expect = reference(&requests).await;
    for prefix_reuse in [false, true] {
        let engine = engine(EmbeddedConfig {
            kv_blocks: Some(9),
            prefix_reuse,
            ..config()
        });
        assert_eq!(answer_all(&engine, &requests).await, expect);
        let load = engine.load();
        assert!(load.counters.preemptions > 0);
        assert_eq!(load.active_blocks, 0);
    }
}

#[tokio::test]
async fn larger_blocks_change_nothing() {
    let requests = requests();
    let expect = reference(&requests).await;
    let engine = engine(EmbeddedConfig {
        block_size: 48,
        ..config()
    });
    assert_eq!(answer_all(&engine, &requests).await, expect);
}
