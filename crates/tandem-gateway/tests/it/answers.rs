use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;

use crate::harness::{Answer, Harness, chat};

const LAW: &str = "can I sue?";

fn said(text: &str) -> Value {
    let message = json!({"role": "assistant", "content": text});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
    json!({"id": "x", "choices": [choice], "usage": usage})
}

fn event(text: &str) -> String {
    let choice = json!({"index": 0, "delta": {"content": text}});
    format!("data: {}\n\n", json!({"id": "x", "choices": [choice]}))
}

/// What clients get of an answer.
async fn pass(kind: &'static str, body: String) -> (Harness, Answer) {
    let harness = Harness::start(move || {
        Response::builder()
            .header("content-type", kind)
            .body(Body::from(body.clone()))
            .unwrap()
    })
    .await;
    let answer = harness.chat("MoM", LAW).await;
    (harness, answer)
}

#[tokio::test]
async fn a_whole_answer_is_redacted_and_its_headers_say_so() {
    let (harness, answer) = pass("application/json", said("It is 123-45-6789.").to_string()).await;
    assert_eq!(answer.json(), said("It is [US_SSN]."));
    assert_eq!(answer.header("x-vsr-pii-redacted"), Some("B-US_SSN"));
    assert_eq!(answer.header("x-vsr-response-path"), Some("upstream"));
    let metrics = harness.get("/metrics").await.body;
    for line in [
        r#"llm_pii_violations_total{model="law_decision",pii_type="B-US_SSN"} 1"#,
        r#"llm_model_tokens_total{model="small"} 5"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_whole_answer_is_withheld() {
    let (harness, answer) = pass("application/json", said("To build a bomb").to_string()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json()["choices"][0]["finish_reason"],
        "content_filter"
    );
    assert!(!answer.body.contains("bomb"), "{}", answer.body);
    assert_eq!(answer.header("x-vsr-jailbreak-blocked"), Some("true"));
    assert_eq!(answer.header("x-vsr-response-path"), Some("blocked"));
    let counted = r#"llm_request_errors_total{model="small",reason="jailbreak_block"} 1"#;
    let metrics = harness.get("/metrics").await.body;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_harmless_answer_is_the_upstreams() {
    let text = said("Ask a lawyer.").to_string().replace(":5", ": 5");
    let (_harness, answer) = pass("application/json", text.clone()).await;
    assert_eq!(answer.body, text);
}

#[tokio::test]
async fn a_stream_is_redacted() {
    let end = "data: [DONE]\n\n";
    let stream = [event("It is 123-"), event("45-6789. Bye"), end.to_owned()].concat();
    let (_harness, answer) = pass("text/event-stream", stream).await;
    let want = [event("It is [US_SSN]"), event(". Bye"), end.to_owned()].concat();
    assert_eq!(answer.body, want);
}

#[tokio::test]
async fn a_blocked_stream_ends_before_the_upstream_does() {
    let (sender, pieces) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let pieces = std::sync::Arc::new(tokio::sync::Mutex::new(Some(pieces)));
    let harness = Harness::start(move || {
        let pieces = pieces.try_lock().unwrap().take().unwrap();
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(ReceiverStream::new(pieces)))
            .unwrap()
    })
    .await;
    for text in ["Sure. ", "To build a bomb. "] {
        sender.send(Ok(event(text).into())).await.unwrap();
    }
    let request = harness.request("POST", "/v1/chat/completions");
    let answer = harness.send(request, &chat("MoM", LAW)).await;
    assert!(answer.body.starts_with(&event("Sure. ")), "{}", answer.body);
    assert!(answer.body.contains("content_filter"), "{}", answer.body);
    assert!(answer.body.ends_with("data: [DONE]\n\n"), "{}", answer.body);
    assert!(!answer.body.contains("bomb"), "{}", answer.body);
    // Nobody reads the rest.
    sender.closed().await;
}
