//! The open streams of a connection.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::WINDOW;
use super::frame::{Chunk, Refusal};

/// Most streams of a connection at a time.
const MAX_STREAMS: usize = 16 * 1024;

/// What came for a stream.
#[derive(Debug)]
pub(super) enum Incoming {
    Accept,
    Chunk(Chunk),
    End,
    Refuse(Refusal),
}

/// The connection's end of a stream.
#[derive(Debug)]
pub(super) struct Entry {
    /// Unbounded, because the window bounds what is in it.
    incoming: mpsc::UnboundedSender<Incoming>,
    /// What may be sent.
    credit: Arc<Semaphore>,
    /// What may be received.
    window: u32,
}

/// The other end of an entry.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) incoming: mpsc::UnboundedReceiver<Incoming>,
    pub(super) credit: Arc<Semaphore>,
}

/// Open streams by their numbers.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: HashMap<u32, Entry>,
    /// The last number that this side gave.
    last: u32,
    /// Whether new streams should go elsewhere.
    leaving: bool,
    closed: bool,
}

/// What the other side must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("stream {0} was opened twice")]
    OpenedTwice(u32),
    #[error("stream {0} was sent more than its window")]
    Window(u32),
    #[error("stream {0} was given too much credit")]
    Credit(u32),
    #[error("a stream was opened to a caller")]
    OpenedToCaller,
}

/// Both ends of a new stream.
pub(super) fn entry() -> (Entry, Inbox) {
    let (sender, incoming) = mpsc::unbounded_channel();
    let credit = Arc::new(Semaphore::new(WINDOW as usize));
    let entry = Entry {
        incoming: sender,
        credit: Arc::clone(&credit),
        window: WINDOW,
    };
    (entry, Inbox { incoming, credit })
}

impl Streams {
    /// Gives a stream a number; `None` if the connection takes no more.
    pub(super) fn open(&mut self, entry: Entry) -> Option<u32> {
        if !self.is_open() {
            return None;
        }
        self.last += 1;
        self.open.insert(self.last, entry);
        Some(self.last)
    }

    /// Takes a stream that the other side has opened; false if there is no place for it.
    pub(super) fn accept(&mut self, stream: u32, entry: Entry) -> Result<bool, Violation> {
        if self.closed || self.open.len() >= MAX_STREAMS {
            return Ok(false);
        }
        match self.open.entry(stream) {
            hash_map::Entry::Occupied(_) => Err(Violation::OpenedTwice(stream)),
            hash_map::Entry::Vacant(place) => {
                place.insert(entry);
                Ok(true)
            }
        }
    }

    /// Hands `incoming` to its stream. A stream that has ended here does not care.
    pub(super) fn deliver(&mut self, stream: u32, incoming: Incoming) {
        if let Some(entry) = self.open.get(&stream) {
            // Who listens no more is about to forget the stream.
            drop(entry.incoming.send(incoming));
        }
    }

    /// Takes `cost` off what the other side may send.
    pub(super) fn charge(&mut self, stream: u32, cost: u32) -> Result<(), Violation> {
        if let Some(entry) = self.open.get_mut(&stream) {
            let left = entry.window.checked_sub(cost);
            entry.window = left.ok_or(Violation::Window(stream))?;
        }
        Ok(())
    }

    /// Lets the other side send `bytes` more; false if the stream has ended.
    pub(super) fn widen(&mut self, stream: u32, bytes: u32) -> bool {
        let entry = self.open.get_mut(&stream);
        entry.is_some_and(|entry| {
            entry.window += bytes;
            debug_assert!(entry.window <= WINDOW, "only what was taken is given back");
            true
        })
    }

    /// What the other side lets us send.
    pub(super) fn credit(&self, stream: u32, bytes: u32) -> Result<(), Violation> {
        let Some(entry) = self.open.get(&stream) else {
            return Ok(());
        };
        if entry.credit.available_permits() + bytes as usize > WINDOW as usize {
            return Err(Violation::Credit(stream));
        }
        entry.credit.add_permits(bytes as usize);
        Ok(())
    }

    /// Forgets a stream: nothing comes or goes any more. False if it was forgotten already.
    pub(super) fn remove(&mut self, stream: u32) -> bool {
        let removed = self.open.remove(&stream);
        removed.is_some_and(|entry| {
            entry.credit.close();
            true
        })
    }

    /// Opens no more streams.
    pub(super) const fn leave(&mut self) {
        self.leaving = true;
    }

    /// Ends every stream.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for (_, entry) in self.open.drain() {
            entry.credit.close();
        }
    }

    /// Whether streams can be opened.
    pub(super) fn is_open(&self) -> bool {
        let room = self.last < u32::MAX && self.open.len() < MAX_STREAMS;
        room && !self.leaving && !self.closed
    }

    /// Whether nothing more will happen.
    pub(super) fn is_done(&self) -> bool {
        self.leaving && self.open.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}
