use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use tandem_gateway::GatewayOptions;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio_stream::Stream;

use crate::harness::{Harness, SOON, chat, ok};

/// A stream of what is sent to it, which tells when it is dropped.
struct Pieces {
    pieces: mpsc::UnboundedReceiver<Bytes>,
    dropped: Arc<Notify>,
}

impl Stream for Pieces {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.dropped.notify_one();
    }
}

/// A gateway whose upstream streams what is sent, and a notice when the stream is dropped.
async fn streaming() -> (Harness, mpsc::UnboundedSender<Bytes>, Arc<Notify>) {
    let (sender, pieces) = mpsc::unbounded_channel();
    let dropped = Arc::new(Notify::new());
    let body = Pieces {
        pieces,
        dropped: Arc::clone(&dropped),
    };
    let body = Arc::new(Mutex::new(Some(body)));
    let harness = Harness::start(move || {
        let body = body.try_lock().unwrap().take();
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(body.unwrap()))
            .unwrap()
    })
    .await;
    (harness, sender, dropped)
}

fn event(text: &str) -> Bytes {
    format!("data: {text}\n\n").into()
}

#[tokio::test]
async fn every_event_arrives_before_the_next_is_made() {
    let (harness, sender, _) = streaming().await;
    let request = harness.request("POST", "/v1/chat/completions");
    let body = r#"{"model":"MoM","stream":true,"messages":[{"role":"user","content":"2+2"}]}"#;
    sender.send(event("first")).unwrap();
    let mut answer = harness.open(request, body).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["x-vsr-selected-model"], "big");
    for next in ["second", "third", "[DONE]"] {
        let frame = tokio::time::timeout(SOON, answer.frame()).await.unwrap();
        let piece = frame.unwrap().unwrap().into_data().unwrap();
        assert!(piece.starts_with(b"data: "), "{piece:?}");
        sender.send(event(next)).unwrap();
    }
    drop(sender);
    let rest = answer.collect().await.unwrap().to_bytes();
    assert_eq!(rest, event("[DONE]"));
}

#[tokio::test]
async fn a_client_that_leaves_in_the_stream_stops_the_upstream() {
    let (harness, sender, dropped) = streaming().await;
    let request = harness.request("POST", "/v1/chat/completions");
    sender.send(event("first")).unwrap();
    let mut answer = harness.open(request, &chat("MoM", "2+2")).await;
    answer.frame().await.unwrap().unwrap();
    drop(answer);
    tokio::time::timeout(SOON, dropped.notified())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_stops_the_upstream() {
    struct OnDrop(Arc<Notify>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let dropped = Arc::new(Notify::new());
    let on_drop = Arc::clone(&dropped);
    let mut harness = Harness::with_options(GatewayOptions::default(), move |_| {
        let guard = OnDrop(Arc::clone(&on_drop));
        async move {
            let response = std::future::pending().await;
            drop(guard);
            response
        }
    })
    .await;
    let request = harness.request("POST", "/v1/chat/completions");
    let body = chat("small", "hello");
    {
        let mut call = std::pin::pin!(harness.open(request, &body));
        tokio::select! {
            _ = &mut call => panic!("the upstream never answers"),
            () = tokio::time::sleep(std::time::Duration::from_millis(300)) => {}
        }
    }
    harness.seen.recv().await.unwrap();
    tokio::time::timeout(SOON, dropped.notified())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_shutdown_lets_streams_end() {
    let (harness, sender, _) = streaming().await;
    let request = harness.request("POST", "/v1/chat/completions");
    sender.send(event("first")).unwrap();
    let mut answer = harness.open(request, &chat("MoM", "2+2")).await;
    answer.frame().await.unwrap().unwrap();
    harness.lifecycle.stopping().cancel();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(
        tokio::net::TcpStream::connect(harness.address)
            .await
            .is_err()
    );
    sender.send(event("last")).unwrap();
    drop(sender);
    assert_eq!(answer.collect().await.unwrap().to_bytes(), event("last"));
}

#[tokio::test]
async fn two_hundred_requests_at_once() {
    let harness = Harness::start(ok).await;
    let calls = (0..200).map(|_| harness.chat("MoM", "What is 2+2?"));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn a_two_megabyte_prompt_passes() {
    let mut harness = Harness::start(ok).await;
    let text = "word ".repeat(420_000);
    assert_eq!(harness.chat("small", &text).await.status, 200);
    assert_eq!(
        harness.seen.recv().await.unwrap().body,
        chat("small", &text)
    );
}
