//! The worker's side of an answer to a process of Dynamo.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connection;
use super::two_part::Frame;
use super::wire::{FINAL, KILL, Prologue, SENTINEL, STOP, json, wrap};
use super::{Handler, Request};

/// Most bytes that are gathered before they are written.
const GATHER: usize = 64 * 1024;

/// What an endpoint of this process needs to answer.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) handler: Arc<dyn Handler>,
    /// Cancelled when no new requests are taken.
    pub(super) closing: CancellationToken,
    /// Cancelled when the running ones are cut off.
    pub(super) cut: CancellationToken,
    pub(super) in_flight: TaskTracker,
}

/// What the caller did in the meantime.
enum Heard {
    Stop,
    Gone,
}

impl Served {
    pub(super) fn new(handler: Arc<dyn Handler>) -> Self {
        Self {
            handler,
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            in_flight: TaskTracker::new(),
        }
    }

    /// Answers a request on `connection`. True if the exchange came to a regular end.
    pub(super) async fn answer(&self, connection: &mut Connection, request: Request) -> bool {
        let _running = self.in_flight.token();
        if self.closing.is_cancelled() || self.cut.is_cancelled() {
            return refuse(connection, "the worker is leaving").await;
        }
        let answers = self.handler.handle(request);
        let prologue = Frame::header(json(&Prologue::default()));
        if connection.send(&prologue).await.is_err() {
            return false;
        }
        let cut = self.cut.clone();
        cut.run_until_cancelled_owned(send(connection, answers))
            .await
            .unwrap_or(false)
    }
}

/// Says that another worker may have an answer.
async fn refuse(connection: &mut Connection, reason: &str) -> bool {
    let prologue = Prologue {
        error: Some(reason.to_owned()),
        unavailable: true,
    };
    let frame = Frame::header(json(&prologue));
    connection.send(&frame).await.is_ok()
}

async fn send(connection: &mut Connection, mut answers: BoxStream<'static, Bytes>) -> bool {
    let mut bytes = BytesMut::new();
    loop {
        let next = tokio::select! {
            heard = listen(connection) => match heard {
                Heard::Stop => None,
                Heard::Gone => return false,
            },
            next = answers.next() => next,
        };
        // What is ready already goes out in one piece.
        let mut ready = next;
        let ended = loop {
            let Some(answer) = ready else { break true };
            let frame = Frame {
                header: Bytes::new(),
                body: wrap(&answer),
            };
            frame.encode(&mut bytes);
            if bytes.len() >= GATHER {
                break false;
            }
            match answers.next().now_or_never() {
                Some(more) => ready = more,
                None => break false,
            }
        };
        if ended {
            drop(answers);
            let last = Frame {
                header: Bytes::new(),
                body: Bytes::from_static(FINAL.as_bytes()),
            };
            last.encode(&mut bytes);
            Frame::header(SENTINEL).encode(&mut bytes);
            return connection.writer.write_all(&bytes).await.is_ok();
        }
        if connection.writer.write_all(&bytes).await.is_err() {
            return false;
        }
        bytes.clear();
    }
}

/// Waits until the caller says something that matters, or leaves.
async fn listen(connection: &mut Connection) -> Heard {
    loop {
        match connection.reader.next().await {
            Ok(Some(frame)) if frame.header == STOP => return Heard::Stop,
            Ok(Some(frame)) if frame.header == KILL => return Heard::Gone,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Heard::Gone,
        }
    }
}
