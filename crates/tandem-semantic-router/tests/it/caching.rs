//! The cache with the shipped encoder, at the default threshold.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};
use tandem_semantic_router::{Endpoint, RouteRequest, Router, RouterConfig, Routing, Selector};

use crate::encoder;

const CONFIG: &str = "
default_model: m
model_config: {m: {}}
semantic_cache: {enabled: true}
tandem: {signal_deadline_ms: 60000}
";

const ANSWER: &str = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#;

fn body(messages: &Value) -> Bytes {
    json!({ "model": "MoM", "messages": messages })
        .to_string()
        .into()
}

fn question(text: &str) -> Bytes {
    body(&json!([{ "role": "user", "content": text }]))
}

async fn route(router: &Router, body: &Bytes) -> Routing {
    let request = RouteRequest {
        endpoint: Endpoint::Chat,
        body,
        request_id: "id",
    };
    router.route(request).await.routing
}

/// Whether the answer to `first` is given to `second`.
async fn shared(router: &Router, first: &Bytes, second: &Bytes) -> bool {
    router.cache().invalidate(&Selector::All).await.unwrap();
    let Routing::Forward(forward) = route(router, first).await else {
        panic!("the cache is empty")
    };
    let recording = forward.recording.unwrap();
    recording.piece(ANSWER.as_bytes()).unwrap().complete();
    matches!(route(router, second).await, Routing::Replay(_))
}

/// How many of the pairs in a file share an answer, and how many there are.
async fn count(router: &Router, file: &str) -> (usize, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cache_pairs")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let (mut hits, mut all) = (0, 0);
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let [a, b] = ["a", "b"].map(|name| row[name].as_str().unwrap());
        let hit = shared(router, &question(a), &question(b)).await;
        hits += usize::from(hit);
        all += 1;
    }
    println!("{file}: {hits} of {all} share an answer");
    (hits, all)
}

#[tokio::test]
async fn near_misses_never_share_an_answer_and_paraphrases_often_do() {
    let config = RouterConfig::parse(CONFIG, &|_| None).unwrap().config;
    let router = encoder::router(config).await;
    let (wrong, near) = count(&router, "near_misses.jsonl").await;
    assert!(near >= 300);
    assert_eq!(wrong, 0);
    let (hits, all) = count(&router, "paraphrases.jsonl").await;
    assert!(all >= 300);
    assert!(hits * 100 >= all * 22, "{hits} of {all}");
}

/// Rows `{"text_a", "text_b", "label"}`; label 1 if one answer serves both.
#[tokio::test]
#[ignore = "reads the labelled pairs that CACHE_PAIRS names: make eval-cache"]
#[expect(clippy::disallowed_methods, reason = "a test has no flags")]
async fn labelled_pairs_share_an_answer_as_they_should() {
    let path = std::env::var("CACHE_PAIRS").unwrap();
    let config = RouterConfig::parse(CONFIG, &|_| None).unwrap().config;
    let router = encoder::router(config).await;
    let mut counts = [[0_usize; 2]; 2];
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let [a, b] = ["text_a", "text_b"].map(|name| row[name].as_str().unwrap());
        let hit = shared(&router, &question(a), &question(b)).await;
        counts[usize::from(row["label"] == 1)][usize::from(hit)] += 1;
    }
    let [[right, wrong], [missed, hits]] = counts;
    println!(
        "one answer serves both: {hits} of {} share it",
        hits + missed
    );
    println!("different answers: {wrong} of {} share one", wrong + right);
    assert_eq!(wrong, 0);
    assert!(hits * 2 >= hits + missed);
}

#[tokio::test]
async fn another_history_is_another_question() {
    let config = RouterConfig::parse(CONFIG, &|_| None).unwrap().config;
    let router = encoder::router(config).await;
    let asked = |system: &str, earlier: &str, text: &str| {
        body(&json!([
            { "role": "system", "content": system },
            { "role": "user", "content": earlier },
            { "role": "assistant", "content": "Sure." },
            { "role": "user", "content": text },
        ]))
    };
    let first = asked(
        "Be brief.",
        "Tell me about Peru.",
        "What is its capital city?",
    );
    let check = async |second: Bytes, want: bool| {
        assert_eq!(shared(&router, &first, &second).await, want, "{second:?}");
    };
    let other = "tell me what its capital city is please";
    check(asked("Be brief.", "Tell me about Peru.", other), true).await;
    check(asked("Be brief.", "Tell me about Chile.", other), false).await;
    check(
        asked("Answer in French.", "Tell me about Peru.", other),
        false,
    )
    .await;
}
