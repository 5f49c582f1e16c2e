use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use tandem_gateway::GatewayOptions;

use crate::harness::{Harness, SOON, chat};

const WHOLE: &str = r#"{"id":"x","choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

const EVENTS: [&str; 5] = [
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a  \\n b\"}}]}\n\n",
    ": a comment\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"total_tokens\":5}}\n\n",
    "data: [DONE]\n\n",
];

fn json(status: u16, body: &'static str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap()
}

/// An upstream that sends `events` one by one.
fn events(events: &'static [&'static str]) -> Response<Body> {
    let pieces = stream::iter(events).map(|event| Ok::<_, std::io::Error>(Bytes::from(*event)));
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Body::from_stream(pieces))
        .unwrap()
}

fn streamed(text: &str) -> String {
    chat("MoM", text).replacen('{', r#"{"stream":true,"#, 1)
}

#[tokio::test]
async fn an_answer_is_given_again_to_the_byte() {
    let mut harness = Harness::start(|| json(200, WHOLE)).await;
    let first = harness.chat("MoM", "a contract").await;
    assert_eq!(first.header("x-vsr-cache-hit"), None);
    let second = harness.chat("MoM", "a contract").await;
    assert_eq!(second.status, 200);
    assert_eq!(second.body, first.body);
    for (name, value) in [
        ("x-vsr-cache-hit", "true"),
        ("x-vsr-response-path", "cache"),
        ("x-vsr-selected-decision", "cached_decision"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(second.header(name), Some(value), "{name}");
    }
    harness.seen.recv().await.unwrap();
    assert!(
        harness.seen.try_recv().is_err(),
        "one request reached the upstream"
    );
}

#[tokio::test]
async fn a_stream_is_given_again_event_by_event() {
    let harness = Harness::start(|| events(&EVENTS)).await;
    let open = async || {
        let request = harness.request("POST", "/v1/chat/completions");
        harness.open(request, &streamed("a contract")).await
    };
    let first = open().await.collect().await.unwrap().to_bytes();
    assert_eq!(first, EVENTS.concat());
    let second = open().await;
    assert_eq!(second.headers()["x-vsr-cache-hit"], "true");
    assert_eq!(second.headers()["content-type"], "text/event-stream");
    let again = second.collect().await.unwrap().to_bytes();
    assert_eq!(again, first);
}

#[tokio::test]
async fn failures_and_broken_streams_are_not_given_again() {
    let check = async |respond: fn() -> Response<Body>, body: &str| {
        let mut harness = Harness::start(respond).await;
        for _ in 0..2 {
            let request = harness.request("POST", "/v1/chat/completions");
            let answer = harness.send(request, body).await;
            assert_eq!(answer.header("x-vsr-cache-hit"), None, "{body}");
            harness.seen.recv().await.unwrap();
        }
    };
    let body = chat("MoM", "a contract");
    check(|| json(500, WHOLE), &body).await;
    check(|| json(429, WHOLE), &body).await;
    check(|| json(200, r#"{"error":{"message":"busy"}}"#), &body).await;
    check(|| events(&EVENTS[..3]), &streamed("a contract")).await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_answer_along() {
    let harness = Harness::start(|| {
        let first = stream::once(async { Ok::<_, std::io::Error>(Bytes::from(EVENTS[0])) });
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(first.chain(stream::pending())))
            .unwrap()
    })
    .await;
    for _ in 0..2 {
        let request = harness.request("POST", "/v1/chat/completions");
        let mut answer = harness.open(request, &streamed("a contract")).await;
        assert!(!answer.headers().contains_key("x-vsr-cache-hit"));
        answer.frame().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_same_request_at_the_same_time_goes_out_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let harness = Harness::with_options(GatewayOptions::default(), move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            json(200, WHOLE)
        }
    })
    .await;
    let calls = (0..20).map(|_| harness.chat("MoM", "a contract"));
    let answers = tokio::time::timeout(SOON, futures::future::join_all(calls)).await;
    for answer in answers.unwrap() {
        assert_eq!((answer.status, answer.body.as_str()), (200, WHOLE));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn clients_with_other_credentials_have_their_own_answers() {
    let mut harness = Harness::start(|| json(200, WHOLE)).await;
    for key in ["Bearer a", "Bearer b"] {
        let request = harness.request("POST", "/v1/chat/completions");
        let request = request.header("authorization", key);
        let answer = harness.send(request, &chat("MoM", "a contract")).await;
        assert_eq!(answer.header("x-vsr-cache-hit"), None, "{key}");
        harness.seen.recv().await.unwrap();
    }
}
