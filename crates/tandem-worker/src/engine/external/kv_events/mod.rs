//! Follows the KV events of an engine, so that its mirror here is never wrong for long.
//!
//! There is no snapshot of an engine's cache: it repeats its last messages on request, and that is
//! all. So the subscription stands first, then everything is repeated from the beginning, then what
//! comes is applied; what was missed is asked for, and if it is not there any more, nothing that was
//! known holds.

mod cursor;
mod mirror;
mod msgpack;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::{debug, warn};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use self::cursor::{Cursor, Verdict};
pub(super) use self::mirror::BlockMirror;
use self::wire::Message;

/// Pause before a publisher is connected to again.
const PAUSE: Duration = Duration::from_millis(500);
/// Most time between two repeated messages.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of the message that ends a repetition.
const REPLAY_END: u64 = u64::MAX;

/// Where the events of a data-parallel rank come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventSource {
    pub(super) rank: u32,
    pub(super) publisher: Publisher,
    /// Where messages are repeated, if they are.
    pub(super) replay: Option<String>,
}

/// Which side listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Publisher {
    /// The engine does, at this ZMQ address.
    Listens(String),
    /// We have to, and the engine connects.
    Connects(String),
}

impl EventSource {
    /// What an engine on `host` means by the addresses of its configuration: it listens on
    /// addresses with a wildcard and on sockets in the file system, and connects to all others.
    pub(super) fn resolve(rank: u32, endpoint: &str, replay: Option<&str>, host: &str) -> Self {
        let listens = endpoint.contains(['*']) || endpoint.contains("::");
        let publisher = if listens || endpoint.starts_with("ipc:") {
            Publisher::Listens(reachable(endpoint, host))
        } else {
            Publisher::Connects(endpoint.to_owned())
        };
        Self {
            rank,
            publisher,
            replay: replay.map(|replay| reachable(replay, host)),
        }
    }
}

/// An address that somebody listens on, as one to connect to.
fn reachable(endpoint: &str, host: &str) -> String {
    let Some((listening, port)) = endpoint
        .strip_prefix("tcp://")
        .and_then(|rest| rest.rsplit_once(':'))
    else {
        return endpoint.to_owned();
    };
    match listening {
        "*" | "0.0.0.0" | "[::]" | "::" if host.contains(':') => format!("tcp://[{host}]:{port}"),
        "*" | "0.0.0.0" | "[::]" | "::" => format!("tcp://{host}:{port}"),
        _ => endpoint.to_owned(),
    }
}

/// Applies what `source` tells to `mirror` for as long as it is polled; `caught_up` hears when
/// everything that was told before is known.
pub(super) async fn follow(
    source: EventSource,
    mirror: Arc<BlockMirror>,
    caught_up: oneshot::Sender<()>,
) {
    let mut caught_up = Some(caught_up);
    let mut reader = Reader {
        cursor: Cursor::new(source.replay.is_some()),
        source,
        mirror,
    };
    reader.mirror.forget(reader.source.rank);
    loop {
        let error = match subscribe(&reader.source.publisher).await {
            Ok(mut socket) => {
                reader.catch_up().await;
                if let Some(caught_up) = caught_up.take() {
                    // Whoever waited may have given up.
                    caught_up.send(()).ok();
                }
                loop {
                    match socket.recv().await {
                        Ok(message) => reader.receive(&message.into_vec()).await,
                        Err(error) => break error,
                    }
                }
            }
            Err(error) => error,
        };
        debug!(rank = reader.source.rank, %error, "the engine's KV events are away");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn subscribe(publisher: &Publisher) -> zeromq::ZmqResult<SubSocket> {
    let mut socket = SubSocket::new();
    match publisher {
        Publisher::Listens(endpoint) => socket.connect(endpoint).await?,
        Publisher::Connects(endpoint) => {
            socket.bind(endpoint).await?;
        }
    }
    socket.subscribe("").await?;
    Ok(socket)
}

/// Applies messages in order.
struct Reader {
    source: EventSource,
    mirror: Arc<BlockMirror>,
    cursor: Cursor,
}

impl Reader {
    async fn receive(&mut self, frames: &[Bytes]) {
        let message = match wire::message(frames) {
            Ok(message) => message,
            Err(error) => {
                warn!(rank = self.source.rank, %error, "skipped a message of the engine");
                return;
            }
        };
        match self.cursor.judge(message.sequence, message.batch.time) {
            Verdict::Next => self.apply(message),
            Verdict::Known => {}
            Verdict::Restarted => {
                debug!(rank = self.source.rank, "the engine has begun anew");
                self.start_over().await;
                self.apply_if_new(message);
            }
            Verdict::Missed => {
                debug!(
                    rank = self.source.rank,
                    sequence = message.sequence,
                    "KV events were missed"
                );
                self.catch_up().await;
                if self.cursor.judge(message.sequence, message.batch.time) == Verdict::Missed {
                    self.mirror.forget(self.source.rank);
                    self.apply(message);
                } else {
                    self.apply_if_new(message);
                }
            }
        }
    }

    /// Forgets everything and has all repeated that can be.
    async fn start_over(&mut self) {
        self.mirror.forget(self.source.rank);
        self.cursor = Cursor::new(self.source.replay.is_some());
        self.catch_up().await;
    }

    /// Has repeated what comes next and everything after it.
    async fn catch_up(&mut self) {
        let Some(endpoint) = &self.source.replay else {
            return;
        };
        let rank = self.source.rank;
        let from = self.cursor.next();
        let messages = match replay(endpoint, from).await {
            Ok(messages) => messages,
            Err(error) => {
                warn!(
                    rank,
                    from, error, "the engine does not repeat its KV events"
                );
                return;
            }
        };
        // What an engine repeats begins with the oldest message that it still has.
        if messages.first().is_some_and(|first| first.sequence > from) {
            warn!(
                rank,
                from, "the engine has forgotten KV events: its cache is learnt anew"
            );
            self.mirror.forget(rank);
        }
        for message in messages {
            if self.cursor.judge(message.sequence, message.batch.time) != Verdict::Known {
                self.apply(message);
            }
        }
    }

    fn apply_if_new(&mut self, message: Message) {
        if self.cursor.judge(message.sequence, message.batch.time) == Verdict::Next {
            self.apply(message);
        }
    }

    fn apply(&mut self, message: Message) {
        self.cursor.passed(message.sequence, message.batch.time);
        let rank = self.source.rank;
        if message.batch.skipped > 0 {
            debug!(
                rank,
                skipped = message.batch.skipped,
                "skipped unknown KV events"
            );
        }
        let said = message.batch.rank.unwrap_or(rank);
        if said != rank {
            debug!(rank, said, "skipped KV events of another rank");
            return;
        }
        self.mirror.apply(rank, message.batch.changes);
    }
}

/// All messages from the number `from` on that the engine still has.
async fn replay(endpoint: &str, from: u64) -> Result<Vec<Message>, String> {
    let repeated = async {
        let mut socket = DealerSocket::new();
        socket.connect(endpoint).await?;
        let frames = [Bytes::new(), Bytes::copy_from_slice(&from.to_be_bytes())];
        let ask = ZmqMessage::try_from(frames.to_vec()).expect("two frames are not none");
        socket.send(ask).await?;
        Ok::<_, zeromq::ZmqError>(socket)
    };
    let late = |_| "no answer in time".to_owned();
    let mut socket = tokio::time::timeout(REPLAY_TIMEOUT, repeated)
        .await
        .map_err(late)?
        .map_err(|error| error.to_string())?;
    let mut messages = Vec::new();
    loop {
        let answer = tokio::time::timeout(REPLAY_TIMEOUT, socket.recv())
            .await
            .map_err(late)?
            .map_err(|error| error.to_string())?;
        let frames = answer.into_vec();
        if let [.., sequence, _] = &*frames
            && wire::sequence_number(sequence) == Ok(REPLAY_END)
        {
            return Ok(messages);
        }
        messages.push(wire::message(&frames).map_err(|error| error.to_string())?);
    }
}

#[cfg(test)]
mod tests;
