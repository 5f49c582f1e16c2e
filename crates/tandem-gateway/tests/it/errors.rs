use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use tandem_gateway::GatewayOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Answer, Harness, SOON, chat, ok};

fn check(answer: &Answer, status: u16, kind: &str, param: Option<&str>) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(answer.header("x-vsr-selected-model"), None);
    let error = &answer.json()["error"];
    assert_eq!(error["type"], kind);
    assert_eq!(error["code"], status);
    assert_eq!(error["param"].as_str(), param);
}

#[tokio::test]
async fn paths_methods_and_bodies() {
    const INVALID: &str = "invalid_request_error";
    let harness = Harness::start(ok).await;
    check(&harness.get("/v1/embeddings").await, 404, INVALID, None);
    check(&harness.get("/nothing").await, 404, INVALID, None);
    check(
        &harness.get("/v1/models/nobody").await,
        404,
        INVALID,
        Some("model"),
    );
    let answer = harness.get("/v1/chat/completions").await;
    check(&answer, 405, INVALID, None);
    assert_eq!(answer.header("allow"), Some("POST"));
    let post = |body: &'static str| {
        let request = harness.request("POST", "/v1/chat/completions");
        harness.send(request, body)
    };
    check(&post("{").await, 400, INVALID, None);
    let answer = post("").await;
    check(&answer, 400, INVALID, None);
    assert!(answer.body.contains("has no body"), "{}", answer.body);
    check(
        &post(r#"{"model":"MoM"}"#).await,
        400,
        INVALID,
        Some("messages"),
    );
    check(
        &post(r#"{"model":"MoM","messages":[{"role":"user","content":5}]}"#).await,
        400,
        INVALID,
        Some("messages[0].content"),
    );
    let answer = harness.chat("nobody", "hello").await;
    check(&answer, 404, INVALID, Some("model"));
    assert!(answer.body.contains("MoM, small, big"), "{}", answer.body);
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let options = GatewayOptions {
        max_body_bytes: 100,
        ..GatewayOptions::default()
    };
    let harness = Harness::with_options(options, |_| async { ok() }).await;
    let answer = harness.chat("small", &"x".repeat(100)).await;
    check(&answer, 413, "invalid_request_error", None);
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = format!("{head}c8\r\n{}\r\n0\r\n\r\n", "x".repeat(200));
    let answer = raw(&harness, &body).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn an_upstream_that_is_down() {
    let harness = Harness::without_upstream().await;
    let answer = harness.chat("small", "hello").await;
    check(&answer, 502, "internal_server_error", None);
    let page = harness.get("/metrics").await.body;
    let line = r#"llm_request_errors_total{model="small",reason="upstream_5xx"} 1"#;
    assert!(page.contains(line), "{page}");
}

#[tokio::test]
async fn an_upstream_that_says_no() {
    let harness = Harness::start(|| {
        Response::builder()
            .status(503)
            .header("retry-after", "7")
            .body(Body::from("busy"))
            .unwrap()
    })
    .await;
    let answer = harness.chat("MoM", "2+2").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "busy"));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(
        answer.header("x-vsr-selected-model"),
        None,
        "only on success"
    );
}

#[tokio::test]
async fn an_upstream_that_never_answers() {
    let options = GatewayOptions {
        response_timeout: Duration::from_millis(100),
        ..GatewayOptions::default()
    };
    let harness = Harness::with_options(options, |_| std::future::pending()).await;
    let answer = harness.chat("small", "hello").await;
    check(&answer, 504, "timeout_error", None);
}

#[tokio::test]
async fn clients_that_send_slowly() {
    let options = GatewayOptions {
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        ..GatewayOptions::default()
    };
    let harness = Harness::with_options(options, |_| async { ok() }).await;
    for head in ["", "P", "POST /v1/chat/completions HTTP/1.1\r\nhost:"] {
        let answer = raw(&harness, head).await;
        assert!(!answer.contains(" 200 "), "{head}: {answer}");
    }
    let body = chat("small", "hello");
    let length = body.len();
    let answer = raw(
        &harness,
        &format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{{"
        ),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("did not arrive"), "{answer}");
}

/// Sends bytes as they are and reads until the gateway closes the connection.
async fn raw(harness: &Harness, text: &str) -> String {
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
    read.expect("the gateway closes the connection")
        .unwrap_or_default();
    String::from_utf8(answer).unwrap()
}
