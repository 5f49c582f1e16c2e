//! Connections over a pipe, on a paused clock.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::frame::{Chunk, Frame};
use super::*;
use crate::request_plane::Encoding;

const PREFACE: &[u8] = b"tandem\x00\x01";

fn open() -> Open {
    Open {
        endpoint: "ns/c/e/1".to_owned(),
        request_id: "r".to_owned(),
        encoding: Encoding::Json,
        traceparent: String::new(),
    }
}

fn start(pipe: DuplexStream, side: Side) -> (Mux, Opened) {
    Mux::start(tokio::io::split(pipe), side, "peer", &Lifecycle::new())
}

/// A caller, and the worker at the other end.
fn pair() -> (Mux, (Mux, Opened)) {
    let (near, far) = tokio::io::duplex(4096);
    (start(near, Side::Caller).0, start(far, Side::Worker))
}

/// A caller whose peer is played by the test.
async fn caller() -> (Mux, DuplexStream) {
    let (near, mut far) = tokio::io::duplex(1024 * 1024);
    far.write_all(PREFACE).await.unwrap();
    (start(near, Side::Caller).0, far)
}

async fn say(peer: &mut DuplexStream, frame: Frame) {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    peer.write_all(&bytes).await.unwrap();
}

fn data(stream: u32, length: usize) -> Frame {
    let bytes = vec![0; length].into();
    let chunk = Chunk { bytes, more: false };
    Frame::Data { stream, chunk }
}

async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), future)
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn messages_of_every_size_arrive_whole() {
    let (caller, (_worker, mut opened)) = pair();
    let mut stream = caller.open(open()).unwrap();
    let sizes = [
        0,
        1,
        16 * 1024 - 1,
        16 * 1024,
        16 * 1024 + 1,
        3 * WINDOW as usize,
    ];
    let (got, mut there) = within(5, opened.recv()).await.unwrap();
    assert_eq!(got, open());
    let echo = async {
        for _ in sizes {
            let Some(Event::Message(message)) = there.next().await else {
                panic!("the stream broke off");
            };
            there.send(message).await.unwrap();
        }
        there.end().await;
    };
    let ask = async {
        for size in sizes {
            let message: Bytes = (0..=250).cycle().take(size).collect();
            stream.send(message.clone()).await.unwrap();
            assert_eq!(stream.next().await, Some(Event::Message(message)), "{size}");
        }
        assert_eq!(stream.next().await, Some(Event::Ended));
    };
    within(5, async { tokio::join!(echo, ask) }).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_waits_in_the_worker_and_delays_no_other() {
    let (caller, (_worker, mut opened)) = pair();
    let unread = caller.open(open()).unwrap();
    let (_, there) = within(5, opened.recv()).await.unwrap();
    let sent = async {
        let mut sent = 0_u32;
        while tokio::time::timeout(Duration::from_secs(1), there.send("token".into()))
            .await
            .is_ok()
        {
            sent += 1;
        }
        sent
    };
    let sent = within(600, sent).await;
    assert_eq!(sent, WINDOW / (5 + FRAME_COST));

    let mut stream = caller.open(open()).unwrap();
    let (_, other) = within(5, opened.recv()).await.unwrap();
    let mut got = 0;
    let read = async {
        while let Some(Event::Message(_)) = stream.next().await {
            got += 1;
        }
    };
    let write = async {
        for _ in 0..20_000 {
            other.send("token".into()).await.unwrap();
        }
        other.end().await;
    };
    within(5, async { tokio::join!(read, write) }).await;
    assert_eq!(got, 20_000);

    // Whoever waits for credit is told that the caller has left.
    let waiting = there.send("token".into());
    drop(unread);
    assert_eq!(within(5, waiting).await, Err(stream::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up() {
    let (caller, _silent) = caller().await;
    let mut stream = caller.open(open()).unwrap();
    let started = Instant::now();
    assert_eq!(stream.next().await, None);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(10), "{waited:?}");
    assert!(waited <= Duration::from_secs(13), "{waited:?}");
    assert!(caller.open(open()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_peer_that_is_there_is_kept() {
    let (caller, (_worker, mut opened)) = pair();
    let mut stream = caller.open(open()).unwrap();
    let (_, there) = within(5, opened.recv()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    there.send("late".into()).await.unwrap();
    let late = within(5, stream.next()).await;
    assert_eq!(late, Some(Event::Message("late".into())));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_is_closed() {
    let (caller, (_worker, mut opened)) = pair();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(caller.is_open());
    assert!(within(60, opened.recv()).await.is_none());
    assert!(!caller.is_open());
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_to_go_away_ends_what_has_begun_first() {
    let (caller, (worker, mut opened)) = pair();
    let mut stream = caller.open(open()).unwrap();
    let (_, there) = within(5, opened.recv()).await.unwrap();
    worker.go_away();
    there.send("before".into()).await.unwrap();
    let before = within(5, stream.next()).await;
    assert_eq!(before, Some(Event::Message("before".into())));
    assert!(caller.open(open()).is_none());
    there.end().await;
    assert_eq!(within(5, stream.next()).await, Some(Event::Ended));
    assert!(
        within(5, opened.recv()).await.is_none(),
        "nothing more comes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_the_rules_loses_the_connection() {
    let check = async |frames: Vec<Frame>, broken: bool| {
        let (caller, mut peer) = caller().await;
        let mut stream = caller.open(open()).unwrap();
        for frame in frames {
            say(&mut peer, frame).await;
        }
        say(&mut peer, Frame::Accept { stream: 1 }).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(caller.is_open(), !broken);
        let mut accepted = false;
        while let Ok(Some(event)) =
            tokio::time::timeout(Duration::from_secs(1), stream.next()).await
        {
            accepted |= event == Event::Accepted;
        }
        assert_eq!(accepted, !broken);
    };
    let full = (WINDOW / (1024 + FRAME_COST)) as usize;
    let credit = |bytes| Frame::Credit { stream: 1, bytes };
    check(vec![], false).await;
    check(vec![data(1, 1024); full], false).await;
    check(vec![data(1, 1024); full + 1], true).await;
    check(vec![credit(1)], true).await;
    check(
        vec![Frame::Open {
            stream: 7,
            open: open(),
        }],
        true,
    )
    .await;
    // Of streams that have ended here.
    check(vec![data(9, 1024); 2 * full], false).await;
    check(
        vec![Frame::Credit {
            stream: 9,
            bytes: u32::MAX,
        }],
        false,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn strangers_are_not_talked_to() {
    for preface in [b"HTTP/1.1".as_slice(), b"tandem\x00\x02"] {
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(preface).await.unwrap();
        let (mux, _) = start(near, Side::Caller);
        let mut stream = mux.open(open()).unwrap();
        assert_eq!(within(1, stream.next()).await, None);
        let mut said = Vec::new();
        far.read_to_end(&mut said).await.unwrap();
        assert!(said.starts_with(PREFACE));
    }
}
