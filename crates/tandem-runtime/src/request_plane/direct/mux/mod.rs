//! Many exchanges over one connection.
//!
//! Whoever connects is the caller. Both sides begin with a preface of eight bytes, `tandem` and the
//! version of the protocol (big-endian, as every number), and go on with frames:
//!
//! ```text
//! u8 type | u8 flags | u16 length | u32 stream | payload
//! ```
//!
//! | type | name | flags | payload | says |
//! |---|---|---|---|---|
//! | 1 | OPEN | 1: the caller reads compact answers | endpoint, request id, traceparent, each after its length as a `u16` | begins a stream; the request follows as one message |
//! | 2 | ACCEPT | | | the request is being worked on |
//! | 3 | DATA | 1: the message goes on | at most 16 KiB | a message, or a piece of one |
//! | 4 | END | | | the answer is complete |
//! | 5 | REFUSE | 1: another instance may be tried | reason | there will be no answer |
//! | 6 | RESET | | | the sender has let the stream go: the caller is not interested any more, or the worker was cut off |
//! | 7 | CREDIT | | `u32` | the other side may send as many bytes more |
//! | 8 | PING | 1: answers a ping | | the sender is there |
//! | 9 | GO AWAY | | | new streams should go elsewhere; those that are open go on |
//!
//! Only callers open streams, and number them from 1. END, REFUSE and RESET end a stream; frames of
//! a stream that one side has ended already are skipped by it.
//!
//! **Flow control.** Each direction of a stream starts with a credit of 256 KiB, and a DATA frame
//! costs its payload and 64 bytes, which bounds what a queue of small messages takes. Who takes
//! messages off the queue gives their credit back, in halves of the window. So an answer that
//! nobody reads waits in the worker and delays no other. What waits to be written is bounded for
//! each connection as well, and streams take turns in the order in which they ask.
//!
//! **Liveness.** A side that hears nothing asks (PING), and gives the connection up after ten
//! to twelve seconds of silence: every stream of it breaks off. Nothing that a stream does can keep its
//! connection from being read.

mod frame;
mod io;
mod silence;
mod stream;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::lifecycle::Lifecycle;
use frame::Frame;
use io::Outgoing;
use streams::Streams;

pub(super) use frame::{Open, Refusal};
pub(super) use stream::{Event, MuxStream};

/// The version of the protocol that is spoken here.
pub(super) const VERSION: u16 = 1;

/// Credit of a stream at its start.
const WINDOW: u32 = 256 * 1024;
/// What a DATA frame costs beside its payload.
const FRAME_COST: u32 = 64;
/// Most bytes of messages that wait to be written to a connection.
const WRITE_ROOM: usize = 1024 * 1024;

/// Streams that the other side has opened.
pub(super) type Opened = mpsc::UnboundedReceiver<(Open, MuxStream)>;

/// Which side of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Worker,
}

/// A connection. It lives until it fails, is given up by its caller, or its lifecycle ends.
#[derive(Clone)]
pub(super) struct Mux {
    shared: Arc<Shared>,
}

/// What the tasks of a connection and its streams share.
struct Shared {
    side: Side,
    streams: Mutex<Streams>,
    /// Unbounded, because credit, and room for messages, bound what is in it.
    outgoing: mpsc::UnboundedSender<Outgoing>,
    room: Semaphore,
    closed: CancellationToken,
}

impl Mux {
    /// Begins to speak. Streams that the other side opens arrive at the receiver; a caller drops
    /// it.
    pub(super) fn start<R, W>(
        (reader, writer): (R, W),
        side: Side,
        peer: &str,
        lifecycle: &Lifecycle,
    ) -> (Self, Opened)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let (outgoing, queue) = mpsc::unbounded_channel();
        let (accepted, opened) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            side,
            streams: Mutex::default(),
            outgoing,
            room: Semaphore::new(WRITE_ROOM),
            closed: CancellationToken::new(),
        });
        lifecycle.spawn(io::write(writer, queue, Arc::clone(&shared)));
        let peer = peer.to_owned();
        lifecycle.spawn(io::read(reader, accepted, Arc::clone(&shared), peer));
        (Self { shared }, opened)
    }

    /// A new stream; `None` if the connection takes no more.
    pub(super) fn open(&self, open: Open) -> Option<MuxStream> {
        let (entry, inbox) = streams::entry();
        let id = self.shared.streams.lock().open(entry)?;
        self.shared.put(Frame::Open { stream: id, open });
        Some(MuxStream::new(id, inbox, Arc::clone(&self.shared)))
    }

    /// Whether streams can be opened.
    pub(super) fn is_open(&self) -> bool {
        self.shared.streams.lock().is_open()
    }

    /// Tells the caller to go elsewhere with what is new.
    pub(super) fn go_away(&self) {
        self.shared.put(Frame::GoAway);
    }
}

impl Shared {
    fn put(&self, frame: Frame) {
        // Nobody takes it any more: the connection is closed, which the stream learns anyway.
        drop(self.outgoing.send(Outgoing::from(frame)));
    }

    /// Ends the connection and every stream of it.
    fn close(&self) {
        self.streams.lock().close();
        self.room.close();
        self.closed.cancel();
    }

    /// Forgets a stream; false if it has ended already.
    fn forget(&self, stream: u32) -> bool {
        let mut streams = self.streams.lock();
        let known = streams.remove(stream);
        let done = streams.is_done();
        drop(streams);
        if done {
            self.close();
        }
        known
    }
}
