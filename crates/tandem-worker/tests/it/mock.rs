//! The mock engine: time passes, tokens come, blocks are used as by the real one.

use std::time::{Duration, Instant};

use tandem_protocol::engine::EngineRequest;
use tandem_protocol::kv::{HashScope, KvEventData, hash_blocks, hash_sequence};
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine, Speculation};
use tandem_worker::engine::mock::{MockConfig, StepTime};

use crate::disaggregation::{LONG, PrefillWorker};
use crate::support::{checkpoint, config, generate, request};

fn prompt(len: u32) -> Vec<u32> {
    (0..len).map(|i| i * 31 % 128).collect()
}

fn mock(speedup: f64, config: EmbeddedConfig) -> EmbeddedEngine {
    let mock = MockConfig {
        speedup,
        step_time: StepTime::default(),
    };
    EmbeddedEngine::mock(&checkpoint("llama"), mock, config).unwrap()
}

#[tokio::test]
async fn tokens_do_not_depend_on_what_else_runs_or_where_a_sequence_began() {
    let engine = mock(1000.0, config());
    let whole = generate(&engine, request(&prompt(40), 30)).await;
    assert_eq!(whole.len(), 30);
    let together = (0..8).map(|_| generate(&engine, request(&prompt(40), 30)));
    for tokens in futures::future::join_all(together).await {
        assert_eq!(tokens, whole);
    }
    let other = mock(1000.0, config());
    let moved = [&*prompt(40), &whole[..10]].concat();
    assert_eq!(generate(&other, request(&moved, 20)).await, whole[10..]);
}

#[tokio::test]
async fn guesses_are_imitated_too() {
    let request = request(&[prompt(40), prompt(40)].concat(), 30);
    let whole = generate(&mock(1000.0, config()), request.clone()).await;
    let engine = mock(
        1000.0,
        EmbeddedConfig {
            speculation: Some(Speculation {
                num_speculative_tokens: 3,
                prompt_lookup_max: 2,
                prompt_lookup_min: 1,
            }),
            ..config()
        },
    );
    assert_eq!(generate(&engine, request).await, whole);
    assert!(engine.load().counters.draft_tokens > 0);
}

#[tokio::test]
async fn a_prompt_is_handed_over_like_a_real_one() {
    let prefill = PrefillWorker::with(|config| mock(1000.0, config), LONG).await;
    let decode = mock(1000.0, config());
    // One that ends with a block, and one that does not.
    for len in [40, 64] {
        let request = request(&prompt(len), 30);
        let whole = generate(&mock(1000.0, config()), request.clone()).await;
        let handed_over = prefill.prefill(&request).await;
        assert_eq!(generate(&decode, handed_over).await, whole);
    }
    let counters = decode.load().counters;
    assert_eq!(counters.remote_prefills, 2);
    assert_eq!(counters.prefill_tokens_computed, 0);
}

#[tokio::test]
async fn steps_take_time_and_speedup_divides_it() {
    let took = |speedup| async move {
        let engine = mock(speedup, config());
        let started = Instant::now();
        generate(&engine, request(&prompt(16), 20)).await;
        started.elapsed()
    };
    // Twenty steps of five milliseconds and a little more.
    let slow = took(1.0).await;
    assert!(slow >= Duration::from_millis(100), "{slow:?}");
    // The machine may be busy with something else.
    let mut fast = took(100.0).await;
    for _ in 0..4 {
        fast = fast.min(took(100.0).await);
    }
    assert!(fast < slow / 2, "{fast:?} {slow:?}");
}

#[tokio::test]
async fn blocks_are_cached_reported_and_evicted() {
    let small = EmbeddedConfig {
        kv_blocks: Some(8),
        ..config()
    };
    let engine = mock(1000.0, small);
    let mut events = engine.subscribe_kv_events();
    drop(events.take_snapshot());
    generate(&engine, request(&prompt(64), 1)).await;
    let expected = hash_sequence(&hash_blocks(&prompt(64), 16, HashScope::default()));
    let mut stored = Vec::new();
    while stored.len() < 4 {
        let event = events.next().await.unwrap().unwrap().event;
        if let KvEventData::Stored(run) = event.data {
            stored.extend(run.blocks.iter().map(|block| block.block_hash));
        }
    }
    assert_eq!(stored, expected);
    generate(&engine, request(&prompt(64), 1)).await;
    assert_eq!(engine.load().counters.cached_prompt_tokens, 48);
    // Another prompt needs the room.
    let other: Vec<u32> = (0..100).map(|i| 127 - i % 128).collect();
    generate(&engine, request(&other, 1)).await;
    loop {
        let event = events.next().await.unwrap().unwrap().event;
        if let KvEventData::Removed { block_hashes } = event.data {
            assert!(block_hashes.iter().any(|hash| expected.contains(hash)));
            break;
        }
    }
}

#[tokio::test]
async fn prompts_of_different_salts_share_no_blocks() {
    let engine = mock(1000.0, config());
    let mut events = engine.subscribe_kv_events();
    drop(events.take_snapshot());
    let salted = |salt: Option<&str>| EngineRequest {
        cache_salt: salt.map(str::to_owned),
        ..request(&prompt(64), 1)
    };
    let cached = || engine.load().counters.cached_prompt_tokens;
    for salt in [None, Some("tenant-a"), Some("tenant-b")] {
        generate(&engine, salted(salt)).await;
        assert_eq!(cached(), 0, "{salt:?}");
        // What frontends look for.
        let scope = HashScope {
            lora: None,
            cache_salt: salt,
        };
        let expected = hash_blocks(&prompt(64), 16, scope);
        let mut stored = Vec::new();
        while stored.len() < expected.len() {
            let event = events.next().await.unwrap().unwrap().event;
            if let KvEventData::Stored(run) = event.data {
                stored.extend(run.blocks.iter().map(|block| block.tokens_hash));
            }
        }
        assert_eq!(stored, expected, "{salt:?}");
    }
    generate(&engine, salted(Some("tenant-a"))).await;
    assert_eq!(cached(), 48);
}
