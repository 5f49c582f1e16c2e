//! The two tasks of a connection: one reads, one writes.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::frame::{Chunk, Frame, FrameError, Open};
use super::silence::{Silence, TICK, Verdict};
use super::stream::MuxStream;
use super::streams::{self, Incoming, Violation};
use super::{FRAME_COST, Shared, Side, VERSION};

/// First bytes of either side, before the version.
const MAGIC: &[u8; 6] = b"tandem";
/// Bytes of magic and version.
const PREFACE: usize = MAGIC.len() + 2;
/// Bytes that are read at once.
const READ_BUFFER: usize = 64 * 1024;
/// Frames that are written at once.
const BATCH: usize = 256;
/// Looks at a connection without streams after which its caller closes it: a minute.
const IDLE_LOOKS: u32 = 24;

/// A frame that waits to be written.
pub(super) struct Outgoing {
    pub(super) frame: Frame,
    /// Told when the frame was written.
    pub(super) written: Option<oneshot::Sender<()>>,
}

impl From<Frame> for Outgoing {
    fn from(frame: Frame) -> Self {
        Self {
            frame,
            written: None,
        }
    }
}

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the other side closed it")]
    Closed,
    #[error("this side closed it")]
    Here,
    #[error("the other side is silent")]
    Silent,
    #[error("the other side does not speak this protocol")]
    Stranger,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What a chunk costs of a window.
pub(super) fn cost(chunk: &Chunk) -> u32 {
    let length = u32::try_from(chunk.bytes.len()).expect("chunks are short");
    length + FRAME_COST
}

/// Closes a connection when its task ends, in whichever way.
struct ClosesAtEnd(Arc<Shared>);

impl Drop for ClosesAtEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Writes what is queued, as much as there is at once.
pub(super) async fn write<W: AsyncWrite + Unpin>(
    writer: W,
    queue: mpsc::UnboundedReceiver<Outgoing>,
    shared: Arc<Shared>,
) {
    let shared = ClosesAtEnd(shared);
    let closed = shared.0.closed.clone();
    let written = closed.run_until_cancelled(write_all(writer, queue, &shared.0));
    if let Some(Err(error)) = written.await {
        debug!(%error, "failed to write to a connection");
    }
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut bytes = BytesMut::new();
    let mut batch = Vec::with_capacity(BATCH);
    let mut waiting = Vec::new();
    bytes.put_slice(MAGIC);
    bytes.put_u16(VERSION);
    loop {
        writer.write_all(&bytes).await?;
        bytes.clear();
        for written in waiting.drain(..) {
            // Who waited may have been dropped.
            let _told = oneshot::Sender::send(written, ());
        }
        queue.recv_many(&mut batch, BATCH).await;
        // An engine's step makes many streams ready at the same time: they share a write.
        tokio::task::yield_now().await;
        while batch.len() < BATCH
            && let Ok(outgoing) = queue.try_recv()
        {
            batch.push(outgoing);
        }
        let mut charged = 0;
        for Outgoing { frame, written } in batch.drain(..) {
            if let Frame::Data { chunk, .. } = &frame {
                charged += cost(chunk) as usize;
            }
            frame.encode(&mut bytes);
            waiting.extend(written);
        }
        shared.room.add_permits(charged);
    }
}

/// Reads frames until the connection ends, and watches that the other side is there.
pub(super) async fn read<R: AsyncRead + Unpin>(
    reader: R,
    accepted: mpsc::UnboundedSender<(Open, MuxStream)>,
    shared: Arc<Shared>,
    peer: String,
) {
    let shared = ClosesAtEnd(shared);
    let closed = shared.0.closed.clone();
    let mut session = Session {
        shared: &shared.0,
        accepted,
        silence: Silence::default(),
        idle_looks: 0,
    };
    let ended = closed.run_until_cancelled(session.run(reader));
    let reason = ended.await.unwrap_or(Ended::Here);
    let streams = shared.0.streams.lock().len();
    debug!(peer, streams, %reason, "a connection has ended");
}

/// What the reading task knows.
struct Session<'a> {
    shared: &'a Arc<Shared>,
    accepted: mpsc::UnboundedSender<(Open, MuxStream)>,
    silence: Silence,
    idle_looks: u32,
}

impl Session<'_> {
    async fn run<R: AsyncRead + Unpin>(&mut self, mut reader: R) -> Ended {
        let mut buffer = BytesMut::with_capacity(READ_BUFFER);
        let mut looks = tokio::time::interval(TICK);
        let mut greeted = false;
        loop {
            tokio::select! {
                biased;
                read = reader.read_buf(&mut buffer) => match read {
                    Ok(0) => return Ended::Closed,
                    Ok(_) => self.silence.heard(),
                    Err(error) => return error.into(),
                },
                _ = looks.tick() => match self.look() {
                    Ok(()) => {}
                    Err(ended) => return ended,
                },
            }
            if !greeted {
                match greeting(&mut buffer) {
                    Some(true) => greeted = true,
                    Some(false) => return Ended::Stranger,
                    None => continue,
                }
            }
            if let Err(ended) = self.receive_all(&mut buffer) {
                return ended;
            }
            buffer.reserve(READ_BUFFER);
        }
    }

    fn look(&mut self) -> Result<(), Ended> {
        match self.silence.look() {
            Verdict::Alive => {}
            Verdict::Ask => self.shared.put(Frame::Ping),
            Verdict::Gone => return Err(Ended::Silent),
        }
        let mut streams = self.shared.streams.lock();
        let idle = self.shared.side == Side::Caller && streams.len() == 0;
        self.idle_looks = if idle { self.idle_looks + 1 } else { 0 };
        if self.idle_looks > IDLE_LOOKS {
            // Under the same lock, so that nobody opens a stream in between.
            streams.close();
            return Err(Ended::Here);
        }
        Ok(())
    }

    fn receive_all(&self, buffer: &mut BytesMut) -> Result<(), Ended> {
        while let Some(frame) = Frame::decode(buffer)? {
            self.receive(frame)?;
        }
        Ok(())
    }

    fn receive(&self, frame: Frame) -> Result<(), Violation> {
        let streams = || self.shared.streams.lock();
        match frame {
            Frame::Open { stream, open } => self.accept(stream, open)?,
            Frame::Accept { stream } => streams().deliver(stream, Incoming::Accept),
            Frame::Data { stream, chunk } => {
                let mut streams = streams();
                streams.charge(stream, cost(&chunk))?;
                streams.deliver(stream, Incoming::Chunk(chunk));
            }
            Frame::End { stream } => {
                streams().deliver(stream, Incoming::End);
                self.shared.forget(stream);
            }
            Frame::Refuse { stream, refusal } => {
                streams().deliver(stream, Incoming::Refuse(refusal));
                self.shared.forget(stream);
            }
            Frame::Reset { stream } => drop(self.shared.forget(stream)),
            Frame::Credit { stream, bytes } => streams().credit(stream, bytes)?,
            Frame::Ping => self.shared.put(Frame::Pong),
            Frame::Pong => {}
            Frame::GoAway => {
                let mut streams = streams();
                streams.leave();
                let done = streams.is_done();
                drop(streams);
                if done {
                    self.shared.close();
                }
            }
        }
        Ok(())
    }

    fn accept(&self, id: u32, open: Open) -> Result<(), Violation> {
        let (entry, inbox) = streams::entry();
        if !self.shared.streams.lock().accept(id, entry)? {
            self.shared.put(Frame::Reset { stream: id });
            return Ok(());
        }
        let stream = MuxStream::new(id, inbox, Arc::clone(self.shared));
        let accepted = self.accepted.send((open, stream));
        accepted.map_err(|_| Violation::OpenedToCaller)
    }
}

/// Takes the preface off `buffer`: whether it is that of this protocol; `None` if it is not
/// complete yet.
fn greeting(buffer: &mut BytesMut) -> Option<bool> {
    if buffer.len() < PREFACE {
        return None;
    }
    let preface = buffer.split_to(PREFACE);
    let (magic, version) = preface.split_at(MAGIC.len());
    Some(magic == MAGIC && version == VERSION.to_be_bytes())
}
