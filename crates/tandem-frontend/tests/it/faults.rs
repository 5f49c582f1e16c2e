use std::time::Duration;

use serde_json::{Value, json};
use tandem_protocol::kv::HashScope;

use crate::stage::{Actor, MODEL, Script, Stage, json_of, token};

/// Longer than what decode workers compute themselves.
pub(crate) const LONG: &str = "The gardener carried a basket of apples by the river and sold it in the \
    market near the hill. Our teacher counted two horses on the road behind the house. The old \
    baker repaired the wooden door and watched the blue boat.";

pub(crate) async fn asked(actor: &Actor) {
    while actor.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn text(body: &Value) -> &str {
    body["choices"][0]["text"].as_str().unwrap()
}

pub(crate) fn has(metrics: &str, line: &str) {
    assert!(metrics.contains(line), "{line} not in\n{metrics}");
}

#[tokio::test]
async fn a_prefill_worker_hands_its_parameters_to_the_decode_worker() {
    let stage = Stage::new(&[]).await;
    let (decode, _decode) = stage.join(Script::Finish(vec![300, 301])).await;
    let params = json!({"blocks": [1, 2]});
    let (prefill, _prefill) = stage.join(Script::Prefill(params.clone())).await;
    stage.ready(2).await;
    let (status, _) = stage.complete(LONG, 2).await;
    assert_eq!(status, 200);
    assert_eq!(prefill.requests().len(), 1);
    assert_eq!(decode.requests()[0].disaggregated_params, Some(params));
    let metrics = stage.metrics().await;
    has(
        &metrics,
        "dynamo_frontend_remote_prefills_total{model=\"tandem-nano-chat\"} 1",
    );
}

#[tokio::test]
async fn without_its_prefill_worker_the_decode_worker_computes_the_prompt() {
    let stage = Stage::new(&[]).await;
    let (decode, _decode) = stage.join(Script::Finish(vec![300, 301])).await;
    let (prefill, killed) = stage.join(Script::Prefill(json!({}))).await;
    stage.ready(2).await;
    drop(killed);
    let (status, body) = stage.complete(LONG, 2).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["usage"]["completion_tokens"], 2);
    assert!(prefill.requests().is_empty());
    assert_eq!(decode.requests().len(), 1);
    assert_eq!(decode.requests()[0].disaggregated_params, None);
    let metrics = stage.metrics().await;
    has(
        &metrics,
        "dynamo_frontend_prefill_fallbacks_total{reason=\"call_failed\"} 1",
    );
}

#[tokio::test]
async fn a_lost_decode_worker_is_replaced_in_mid_stream() {
    let stage = Stage::new(&[]).await;
    let tokens = vec![300, 301, 302, 303, 304];
    let (first, killed) = stage.join(Script::Hang(tokens[..3].to_vec())).await;
    stage.ready(1).await;
    let asking = stage.complete("Tell me a story", 5);
    let losing = async {
        asked(&first).await;
        // The tokens need no time to arrive once the request has.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let second = stage.join(Script::Finish(tokens[3..].to_vec())).await;
        stage.ready(2).await;
        drop(killed);
        second
    };
    let ((status, body), (second, _served)) = tokio::join!(asking, losing);
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["usage"]["completion_tokens"], 5);
    let (asked_first, asked_second) = (&first.requests()[0], &second.requests()[0]);
    let gone_on: Vec<u32> = [&*asked_first.token_ids, &tokens[..3]].concat();
    assert_eq!(asked_second.token_ids, gone_on);
    assert_eq!(asked_second.stop_conditions.max_tokens, Some(2));
    let metrics = stage.metrics().await;
    has(
        &metrics,
        "dynamo_frontend_migrations_total{model=\"tandem-nano-chat\"} 1",
    );

    // The client saw what one healthy worker would have said.
    let calm = Stage::new(&[]).await;
    let (_, _served) = calm.join(Script::Finish(tokens)).await;
    calm.ready(1).await;
    let (_, whole) = calm.complete("Tell me a story", 5).await;
    assert_eq!(text(&body), text(&whole));
}

#[tokio::test]
async fn an_answer_that_ends_too_early_goes_on_elsewhere() {
    let stage = Stage::new(&["--router-mode", "round-robin"]).await;
    let begins = Script::Say(vec![json_of(token(300))]);
    let (broken, _broken) = stage.join(begins).await;
    let (whole, _whole) = stage.join(Script::Finish(vec![301])).await;
    stage.ready(2).await;
    for _ in 0..2 {
        let (status, body) = stage.complete("Tell me a story", 2).await;
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!((broken.requests().len(), whole.requests().len()), (1, 2));
    let metrics = stage.metrics().await;
    has(
        &metrics,
        "dynamo_frontend_migrations_total{model=\"tandem-nano-chat\"} 1",
    );
}

#[tokio::test]
async fn a_request_moves_only_so_often() {
    let stage = Stage::new(&["--migration-limit", "0"]).await;
    let (first, killed) = stage.join(Script::Hang(vec![300])).await;
    let (_, _second) = {
        stage.ready(1).await;
        let asking = stage.complete("Tell me a story", 5);
        let losing = async {
            asked(&first).await;
            let second = stage.join(Script::Finish(vec![301])).await;
            stage.ready(2).await;
            drop(killed);
            second
        };
        let ((status, body), second) = tokio::join!(asking, losing);
        assert_eq!(status, 502, "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(!message.contains("stream"), "no internals: {message}");
        second
    };
}

#[tokio::test]
async fn a_worker_that_does_not_respond_is_no_move() {
    let stage = Stage::new(&["--migration-limit", "0", "--router-mode", "round-robin"]).await;
    let (dead, killed) = stage.join(Script::Finish(vec![300])).await;
    let (alive, _served) = stage.join(Script::Finish(vec![300])).await;
    stage.ready(2).await;
    drop(killed);
    for _ in 0..4 {
        let (status, body) = stage.complete("Hi", 1).await;
        assert_eq!(status, 200, "{body}");
    }
    assert!(dead.requests().is_empty());
    assert_eq!(alive.requests().len(), 4);
}

#[tokio::test]
async fn disaggregation_can_be_enforced() {
    let stage = Stage::new(&["--enforce-disagg"]).await;
    let (decode, _decode) = stage.join(Script::Finish(vec![300, 301])).await;
    stage.ready(1).await;
    let (status, body) = stage.complete(LONG, 2).await;
    assert_eq!(status, 503, "{body}");
    let (_, killed) = stage.join(Script::Prefill(json!({}))).await;
    stage.ready(2).await;
    let (status, body) = stage.complete(LONG, 2).await;
    assert_eq!(status, 200, "{body}");
    let (status, _) = stage.complete("Hi", 2).await;
    assert_eq!(status, 200, "short prompts stay with the decode worker");
    drop(killed);
    let (status, body) = stage.complete(LONG, 2).await;
    assert_eq!(status, 503, "{body}");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("prefill"), "{message}");
    assert_eq!(decode.requests().len(), 2);
}

#[tokio::test]
async fn only_what_known_workers_have_cached_saves_the_prefill() {
    let stage = Stage::new(&[]).await;
    let script = Script::Finish(vec![300]);
    let (_, _decode, worker) = stage.join_at(script, None).await;
    let (prefill, _prefill) = stage.join(Script::Prefill(json!({}))).await;
    stage.ready(2).await;
    let prompt: Vec<u32> = (300..380).collect();
    // Somebody who is gone, or whom discovery does not show here.
    stage.cached(worker + 1000, &prompt).await;
    for asked in 1..10 {
        let (status, body) = stage.complete(prompt.clone(), 1).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(prefill.requests().len(), asked);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.cached(worker, &prompt).await;
    for _ in 0..500 {
        let before = prefill.requests().len();
        stage.complete(prompt.clone(), 1).await;
        if prefill.requests().len() == before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("a cached prompt is computed again");
}

/// Asks for `prompts` as long ones, one after the other.
async fn teach(stage: &Stage, prompts: usize) {
    for number in 0..prompts {
        let words = "river boat garden ".repeat(20 + 10 * number);
        let (status, body) = stage.complete(format!("{number} {words}"), 1).await;
        assert_eq!(status, 200, "{body}");
    }
}

const QUEUE: &str = "dynamo_frontend_prefill_fallbacks_total{reason=\"queue\"} 1";

#[tokio::test]
async fn a_prompt_does_not_wait_for_a_prefill_worker_when_the_decode_worker_is_done_sooner() {
    let stage = Stage::new(&[]).await;
    let (decode, _decode) = stage.join(Script::Finish(vec![300])).await;
    let (prefill, _prefill) = stage
        .join(Script::SlowPrefill(Duration::from_micros(500)))
        .await;
    stage.ready(2).await;
    teach(&stage, 5).await;
    assert_eq!(prefill.requests().len(), 5, "nobody was ahead");
    prefill.hold();
    let huge = "teacher market basket ".repeat(300);
    let first = stage.complete(huge, 1);
    let second = async {
        while prefill.requests().len() < 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (status, body) = stage.complete(LONG, 1).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(prefill.requests().len(), 6, "it did not wait");
        assert_eq!(decode.requests().len(), 6);
        has(&stage.metrics().await, QUEUE);
        prefill.go_on();
    };
    let ((status, body), ()) = tokio::join!(first, second);
    assert_eq!(status, 200, "{body}");
    teach(&stage, 1).await;
    assert_eq!(prefill.requests().len(), 7, "the queue is gone");
}

#[tokio::test]
async fn the_queue_of_a_prefill_worker_may_have_a_limit() {
    let limit = ["--max-prefill-queue-size", "1"];
    for (enforce, fallbacks) in [(None, 1), (Some("--enforce-disagg"), 0)] {
        let flags: Vec<&str> = limit.into_iter().chain(enforce).collect();
        let stage = Stage::new(&flags).await;
        let (decode, _decode) = stage.join(Script::Finish(vec![300])).await;
        let (prefill, _prefill) = stage.join(Script::Prefill(json!({}))).await;
        stage.ready(2).await;
        prefill.hold();
        let first = stage.complete(LONG, 1);
        let second = async {
            asked(&prefill).await;
            let answer = stage.complete(LONG, 1);
            let others = async {
                while prefill.requests().len() + decode.requests().len() < 2 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                prefill.go_on();
            };
            tokio::join!(answer, others).0
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.0, second.0), (200, 200));
        assert_eq!(prefill.requests().len(), 2 - fallbacks);
        assert_eq!(stage.metrics().await.contains(QUEUE), fallbacks == 1);
    }
}

#[tokio::test]
async fn prompts_that_miss_the_last_prefill_worker_are_counted() {
    let stage = Stage::new(&[]).await;
    let (_, _decode) = stage.join(Script::Finish(vec![300])).await;
    let (_, _prefill, id) = stage.join_at(Script::Prefill(json!({})), None).await;
    stage.ready(2).await;
    teach(&stage, 1).await;
    stage.leave("prefill", id).await;
    stage.ready(1).await;
    teach(&stage, 1).await;
    let metrics = stage.metrics().await;
    has(
        &metrics,
        "dynamo_frontend_prefill_fallbacks_total{reason=\"no_worker\"} 1",
    );
    // Another one takes over.
    let (prefill, _prefill) = stage.join(Script::Prefill(json!({}))).await;
    stage.ready(2).await;
    teach(&stage, 1).await;
    assert_eq!(prefill.requests().len(), 1);
}

#[tokio::test]
async fn a_salted_request_counts_on_nothing_but_blocks_of_its_salt() {
    let stage = Stage::new(&[]).await;
    let (decode, _decode, worker) = stage.join_at(Script::Finish(vec![300]), None).await;
    stage.ready(1).await;
    let prompt: Vec<u32> = (300..380).collect();
    let expected_blocks = async |salt: Value| {
        let mut body = json!({"model": MODEL, "prompt": prompt, "max_tokens": 1});
        body.as_object_mut()
            .unwrap()
            .extend(salt.as_object().unwrap().clone());
        let (status, answer) = stage.post(body).await;
        assert_eq!(status, 200, "{answer}");
        let request = decode.requests().pop().unwrap();
        (
            request.cache_salt,
            request.estimated_prefix_hit_num_blocks.unwrap(),
        )
    };
    let tenant = |name: &str| Some(name.to_owned());
    // Events take their time, but come in order: with the last, all have come.
    stage.cached(worker, &prompt).await;
    let scope = HashScope {
        lora: None,
        cache_salt: Some("tenant-a"),
    };
    stage.cached_for(worker, &prompt[..32], scope).await;
    for _ in 0..500 {
        if expected_blocks(json!({"cache_salt": "tenant-a"})).await.1 > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let check = async |salt: Value, expected: (Option<String>, u32)| {
        assert_eq!(expected_blocks(salt.clone()).await, expected, "{salt}");
    };
    check(json!({"cache_salt": "tenant-a"}), (tenant("tenant-a"), 2)).await;
    check(
        json!({"nvext": {"cache_salt": "tenant-a"}}),
        (tenant("tenant-a"), 2),
    )
    .await;
    check(json!({"cache_salt": "tenant-b"}), (tenant("tenant-b"), 0)).await;
    check(json!({"cache_salt": ""}), (None, 5)).await;
    check(json!({}), (None, 5)).await;
}
