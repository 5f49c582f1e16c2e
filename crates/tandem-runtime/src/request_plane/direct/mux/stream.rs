//! One request and its answer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::frame::{Chunk, Frame, MAX_CHUNK, Refusal};
use super::io::{Outgoing, cost};
use super::streams::{Inbox, Incoming};
use super::{Shared, WINDOW};

/// Largest message that is accepted, in bytes.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;

/// One side of a stream. Dropping it before the stream has ended resets it.
pub(in super::super) struct MuxStream {
    id: u32,
    inbox: Inbox,
    shared: Arc<Shared>,
    /// The message whose end has not come yet.
    partial: BytesMut,
    /// Credit that was used up and not given back yet.
    taken: u32,
}

/// What the other side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Event {
    /// The request is being worked on.
    Accepted,
    /// The request, or a part of the answer.
    Message(Bytes),
    /// The answer is complete.
    Ended,
    /// There will be no answer.
    Refused(Refusal),
}

/// The stream has ended, or its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Gone;

impl MuxStream {
    pub(super) fn new(id: u32, inbox: Inbox, shared: Arc<Shared>) -> Self {
        Self {
            id,
            inbox,
            shared,
            partial: BytesMut::new(),
            taken: 0,
        }
    }

    /// What the other side says next; `None` if the stream broke off. Nothing is lost if the future
    /// is dropped.
    pub(in super::super) async fn next(&mut self) -> Option<Event> {
        loop {
            let chunk = match self.inbox.incoming.recv().await? {
                Incoming::Chunk(chunk) => chunk,
                Incoming::Accept => return Some(Event::Accepted),
                Incoming::End => return Some(Event::Ended),
                Incoming::Refuse(refusal) => return Some(Event::Refused(refusal)),
            };
            self.give_back(cost(&chunk));
            if let Some(message) = self.assemble(chunk)? {
                return Some(Event::Message(message));
            }
        }
    }

    /// The message that `chunk` completes, if it does; `None` if it is too long to be one.
    fn assemble(&mut self, chunk: Chunk) -> Option<Option<Bytes>> {
        if !chunk.more && self.partial.is_empty() {
            return Some(Some(chunk.bytes));
        }
        if self.partial.len() + chunk.bytes.len() > MAX_MESSAGE {
            return None;
        }
        self.partial.extend_from_slice(&chunk.bytes);
        let complete = !chunk.more;
        Some(complete.then(|| std::mem::take(&mut self.partial).freeze()))
    }

    fn give_back(&mut self, cost: u32) {
        self.taken += cost;
        if self.taken < WINDOW / 2 {
            return;
        }
        let bytes = std::mem::take(&mut self.taken);
        // What comes after an end needs no credit.
        if self.shared.streams.lock().widen(self.id, bytes) {
            let stream = self.id;
            self.shared.put(Frame::Credit { stream, bytes });
        }
    }

    /// Says that the request is being worked on.
    pub(in super::super) fn accept(&self) {
        self.shared.put(Frame::Accept { stream: self.id });
    }

    /// Sends `message`, once the other side has taken enough of those before.
    pub(in super::super) async fn send(&self, mut message: Bytes) -> Result<(), Gone> {
        loop {
            let bytes = message.split_to(message.len().min(MAX_CHUNK));
            let more = !message.is_empty();
            let chunk = Chunk { bytes, more };
            let cost = cost(&chunk);
            let credit = self.inbox.credit.acquire_many(cost).await;
            credit.map_err(|_| Gone)?.forget();
            let room = self.shared.room.acquire_many(cost).await;
            room.map_err(|_| Gone)?.forget();
            let stream = self.id;
            self.shared.put(Frame::Data { stream, chunk });
            if !more {
                return Ok(());
            }
        }
    }

    /// Says that the answer is complete, and waits until that is on its way: the process may end
    /// now.
    pub(in super::super) async fn end(self) {
        self.finish(Frame::End { stream: self.id }).await;
    }

    /// Says that there will be no answer.
    pub(in super::super) async fn refuse(self, reason: &str, unavailable: bool) {
        let refusal = Refusal {
            reason: reason.to_owned(),
            unavailable,
        };
        let stream = self.id;
        self.finish(Frame::Refuse { stream, refusal }).await;
    }

    async fn finish(&self, last: Frame) {
        if !self.shared.forget(self.id) {
            return;
        }
        let (written, on_its_way) = oneshot::channel();
        let outgoing = Outgoing {
            frame: last,
            written: Some(written),
        };
        if self.shared.outgoing.send(outgoing).is_ok() {
            // An error says that the connection has ended, which the caller sees as well.
            drop(on_its_way.await);
        }
    }
}

impl Drop for MuxStream {
    fn drop(&mut self) {
        if self.shared.forget(self.id) {
            self.shared.put(Frame::Reset { stream: self.id });
        }
    }
}
