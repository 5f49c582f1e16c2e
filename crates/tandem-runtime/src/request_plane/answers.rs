//! The caller's side of an answer that a worker brings: prologue, data, end, and letting go.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use tracing::warn;

use super::connection::Connection;
use super::two_part::{Frame, FrameError};
use super::wire::{KILL, Part, Prologue, SENTINEL, unwrap};
use super::{CallError, Responses};

/// Most time between a request and the news that it is being worked on.
const PROLOGUE_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer that is being received. Dropping it before its end tells the worker to stop.
pub(super) struct Answers {
    /// There until the answer has ended.
    connection: Option<Connection>,
    /// Whether the last data has come and only the sentinel is missing.
    complete: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The connection ended before the worker said anything.
    Silent,
    /// What the worker said.
    Refused(CallError),
}

impl Answers {
    /// Waits for the worker's prologue.
    pub(super) async fn open(connection: Connection, instance_id: u64) -> Result<Self, OpenError> {
        let mut answers = Self {
            connection: Some(connection),
            complete: false,
        };
        let connection = answers.connection.as_mut().ok_or(OpenError::Silent)?;
        let first = tokio::time::timeout(PROLOGUE_TIMEOUT, connection.reader.next()).await;
        let Ok(Ok(Some(frame))) = first else {
            return Err(OpenError::Silent);
        };
        // What a worker of Dynamo says that is not up yet: no prologue, only an end.
        if frame.header == SENTINEL {
            return Err(OpenError::Silent);
        }
        let refused = |message: String| OpenError::Refused(CallError::Refused(message));
        let prologue: Prologue = serde_json::from_slice(&frame.header)
            .map_err(|error| refused(format!("undecodable prologue: {error}")))?;
        match prologue {
            Prologue { error: None, .. } => Ok(answers),
            Prologue {
                unavailable: true, ..
            } => {
                answers.finish();
                Err(OpenError::Refused(CallError::Unreachable { instance_id }))
            }
            Prologue {
                error: Some(error), ..
            } => {
                answers.finish();
                Err(refused(error))
            }
        }
    }

    pub(super) fn into_stream(self) -> Responses {
        stream::unfold(Some(self), |answers| async {
            let mut answers = answers?;
            let next = answers.next().await?;
            let rest = next.is_ok().then_some(answers);
            Some((next, rest))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Bytes, CallError>> {
        loop {
            let frame = self.connection.as_mut()?.reader.next().await;
            if let Some(result) = self.take(frame) {
                return result;
            }
        }
    }

    /// What a frame means; `None` if nothing yet.
    fn take(
        &mut self,
        frame: Result<Option<Frame>, FrameError>,
    ) -> Option<Option<Result<Bytes, CallError>>> {
        match frame {
            Ok(Some(frame)) if !frame.header.is_empty() => {
                let ended = frame.header == SENTINEL && self.complete;
                ended.then(|| {
                    self.finish();
                    None
                })
            }
            Ok(Some(frame)) => match unwrap(&frame.body) {
                Ok(Part::Data(data)) if !self.complete => Some(Some(Ok(data))),
                Ok(Part::Data(_)) => Some(Some(self.lose("data after the end"))),
                Ok(Part::Final) => {
                    self.complete = true;
                    None
                }
                Ok(Part::Nothing) => None,
                Err(error) => Some(Some(self.lose(&error.to_string()))),
            },
            // The sentinel of a worker that was in a hurry.
            Ok(None) if self.complete => {
                self.connection = None;
                Some(None)
            }
            Ok(None) => {
                self.connection = None;
                Some(Some(Err(CallError::StreamEnded)))
            }
            Err(error) => Some(Some(self.lose(&error.to_string()))),
        }
    }

    fn lose(&mut self, reason: &str) -> Result<Bytes, CallError> {
        warn!(reason, "an answer broke off");
        self.connection = None;
        Err(CallError::StreamEnded)
    }

    /// The exchange is over on both sides.
    fn finish(&mut self) {
        self.connection = None;
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // Often the end has arrived already but nobody has looked at it.
        while let Some(connection) = &mut self.connection {
            match connection.reader.buffered() {
                Ok(Some(frame)) => drop(self.take(Ok(Some(frame)))),
                _ => break,
            }
        }
        if let Some(connection) = &self.connection {
            let kill = Frame::header(KILL).to_bytes();
            // If it does not fit, the end of the connection says the same.
            drop(connection.writer.try_write(&kill));
        }
    }
}
