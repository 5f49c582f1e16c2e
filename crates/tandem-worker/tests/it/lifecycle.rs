//! Stopping, refusing, cancelling, and what the engine tells meanwhile.

use futures::{FutureExt, StreamExt};
use tandem_kv_cache::KvEventSubscription;
use tandem_protocol::engine::FinishReason;
use tandem_protocol::kv::{HashScope, KvEventData, hash_blocks, hash_sequence};
use tandem_worker::engine::embedded::EmbeddedConfig;
use tandem_worker::engine::{Engine, EngineError};

use crate::support::{
    answer, collect, config, engine, generate, handoff, prompt, refusal, request,
};

#[tokio::test]
async fn stop_conditions_are_kept() {
    let engine = engine(config());
    let tokens = generate(&engine, request(&prompt(20, 1), 30)).await;
    // The first token that did not come before, so that its place is where it stops.
    let (at, &stop) = (5..30)
        .map(|at| (at, &tokens[at]))
        .find(|(at, token)| !tokens[..*at].contains(token))
        .unwrap();
    let mut by_eos = request(&prompt(20, 1), 30);
    by_eos.stop_conditions.ignore_eos = None;
    let mut by_stop = by_eos.clone();
    by_eos.eos_token_ids = vec![stop];
    by_stop.stop_conditions.stop_token_ids_hidden = Some(vec![stop]);
    by_stop.eos_token_ids = (0..128).filter(|token| !tokens.contains(token)).collect();
    let until = tokens[..=at].to_vec();
    let ended = collect(engine.submit(by_eos.clone())).await;
    assert_eq!(ended, (until.clone(), FinishReason::Eos));
    let ended = collect(engine.submit(by_stop.clone())).await;
    assert_eq!(ended, (until, FinishReason::Stop));

    let mut ignoring = by_eos.clone();
    ignoring.stop_conditions.ignore_eos = Some(true);
    assert_eq!(generate(&engine, ignoring).await, tokens);

    let least = u32::try_from(at).unwrap() + 3;
    by_eos.stop_conditions.min_tokens = Some(least);
    let (later, _) = collect(engine.submit(by_eos)).await;
    assert!(later.len() >= least as usize);
    assert_eq!(later[..at], tokens[..at]);
    assert!(!later[..least as usize - 1].contains(&stop));
}

#[tokio::test]
async fn the_context_is_the_last_limit() {
    let engine = engine(config());
    assert_eq!(engine.info().context_length, 256);
    let mut unlimited = request(&prompt(250, 1), 0);
    unlimited.stop_conditions.max_tokens = None;
    let (tokens, reason) = collect(engine.submit(unlimited)).await;
    assert_eq!((tokens.len(), reason), (6, FinishReason::Length));
    let (tokens, reason) = collect(engine.submit(request(&prompt(10, 1), 0))).await;
    assert_eq!((tokens.len(), reason), (0, FinishReason::Length));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let engine = engine(EmbeddedConfig {
        kv_blocks: Some(4),
        ..config()
    });
    let check = async |request, expect: &str| {
        assert_eq!(engine.check(&request).unwrap_err().to_string(), expect);
        let refused = refusal(engine.submit(request)).await;
        assert_eq!(refused.to_string(), expect);
    };
    check(request(&[], 1), "invalid request: prompt is empty").await;
    // Four blocks of 16: the pool is the limit, not the model.
    let too_long = "prompt of 64 tokens does not fit the context of 64";
    check(request(&prompt(64, 1), 1), too_long).await;
    let unknown = "invalid request: token 128 is outside the vocabulary of 128";
    check(request(&[1, 128], 1), unknown).await;
    let mut beams = request(&[1], 1);
    beams.sampling_options.use_beam_search = Some(true);
    check(beams, "beam search is not supported by this engine").await;
    assert_eq!(
        generate(&engine, request(&prompt(40, 1), 24)).await.len(),
        24
    );
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_dropped_stream_frees_its_place() {
    let engine = engine(EmbeddedConfig {
        max_sequences: 1,
        queue: 2,
        ..config()
    });
    // Waits for blocks that its stream, never polled, does not fetch: it keeps its place.
    let stuck = engine.submit(handoff(&prompt(20, 1), 5).await);
    while engine.load().running == 0 {
        tokio::task::yield_now().await;
    }
    let first = engine.submit(request(&prompt(20, 2), 5));
    let dropped = engine.submit(request(&prompt(20, 3), 5));
    let refused = refusal(engine.submit(request(&prompt(20, 4), 5))).await;
    let full = EngineError::QueueFull { waiting: 2 };
    assert_eq!(engine.check(&request(&[1], 1)), Err(full.clone()));
    assert_eq!(refused, full);
    drop(dropped);
    drop(stuck);
    assert_eq!(collect(first).await.0.len(), 5);
    let load = engine.load();
    assert_eq!((load.active_blocks, load.waiting), (0, 0));
    assert_eq!(load.counters.requests, 2);
}

#[tokio::test]
async fn a_dropped_stream_stops_its_sequence() {
    let engine = engine(EmbeddedConfig {
        max_sequences: 1,
        ..config()
    });
    for _ in 0..20 {
        let mut long = engine.submit(request(&prompt(20, 1), 200));
        let first = long.next().await.unwrap().unwrap();
        assert!(first.finish_reason.is_none());
        drop(long);
    }
    generate(&engine, request(&prompt(20, 2), 2)).await;
    assert_eq!(engine.load().active_blocks, 0);
}

#[tokio::test]
async fn a_stopped_engine_ends_its_streams() {
    let engine = engine(config());
    let stuck = engine.submit(handoff(&prompt(20, 1), 5).await);
    let mut gone = engine.gone();
    assert!(gone.as_mut().now_or_never().is_none(), "it runs");
    drop(engine);
    gone.await;
    let outputs: Vec<_> = stuck.collect().await;
    let unfinished = outputs
        .iter()
        .all(|output| output.as_ref().unwrap().finish_reason.is_none());
    assert!(unfinished, "another worker may go on");
}

#[tokio::test]
async fn a_long_prompt_does_not_stall_a_running_stream() {
    let engine = engine(EmbeddedConfig {
        max_batched_tokens: 16,
        max_sequences: 4,
        ..config()
    });
    let mut running = engine.submit(request(&prompt(8, 1), 200));
    running.next().await.unwrap().unwrap();
    let before = engine.load().counters;
    let first = answer(engine.submit(request(&prompt(240, 2), 1)));
    let (_, tokens) = futures::join!(first, async {
        let mut tokens = 0;
        while running.next().await.is_some() {
            tokens += 1;
        }
        tokens
    });
    let after = engine.load().counters;
    // Each step moves the stream on by one token, also while the prompt takes 16 of them.
    assert_eq!(tokens, 199);
    assert!(after.steps - before.steps <= 200, "{before:?} {after:?}");
}

async fn stored(events: &mut KvEventSubscription, count: usize) -> Vec<(u64, u64)> {
    let mut blocks = Vec::new();
    while blocks.len() < count {
        if let KvEventData::Stored(run) = events.next().await.unwrap().unwrap().event.data {
            let pair = |b: &tandem_protocol::kv::StoredBlock| (b.block_hash.0, b.tokens_hash.0);
            blocks.extend(run.blocks.iter().map(pair));
        }
    }
    blocks
}

#[tokio::test]
async fn kv_events_name_the_blocks_as_the_router_hashes_them() {
    let engine = engine(config());
    let mut early = engine.subscribe_kv_events();
    let mut tokens = prompt(40, 1);
    tokens.extend(generate(&engine, request(&tokens, 10)).await);
    // The 50th token was never an input.
    let local = hash_blocks(&tokens[..49], 16, HashScope::default());
    let expect: Vec<_> = hash_sequence(&local)
        .iter()
        .zip(&local)
        .map(|(sequence, local)| (sequence.0, local.0))
        .collect();
    assert_eq!(expect.len(), 3);
    assert_eq!(stored(&mut early, 3).await, expect);
    assert_eq!(stored(&mut engine.subscribe_kv_events(), 3).await, expect);
}
