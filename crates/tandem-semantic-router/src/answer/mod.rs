//! Looking at an answer on its way to the client.
//!
//! A whole answer is looked at before any of it goes on. Of a stream, an event waits until the
//! sentence is complete that its text belongs to, or has become long; events without text wait
//! for those before them only. What needs no change goes on byte by byte.

mod choice;
mod events;
mod inspect;
mod refusal;
mod stream;
mod whole;
mod window;

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tandem_protocol::header;

use crate::config::{Decision, SecurityPolicy};
use crate::header::{PII_REDACTED, RESPONSE_WARNINGS};
use crate::routing::Block;
use crate::signal::SignalEngine;
use inspect::{AnswerPolicy, Inspector};
use stream::EventStream;

/// Most bytes of a whole answer that are kept to be looked at.
const LONGEST: usize = 8 << 20;

/// How the answer to a request must be looked at.
pub struct AnswerScan(Box<Inspector>);

/// An answer that is being looked at.
pub struct AnswerScanner {
    inspector: Box<Inspector>,
    form: Form,
}

/// What was found in an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnswerFindings {
    /// Highest probability of a jailbreak that was let pass.
    pub flagged: Option<f32>,
    /// Whether clients are told of that.
    pub(crate) told: bool,
    /// Types of personal data that were replaced, as on the wire.
    pub redacted: Vec<String>,
    /// Why the answer was withheld, or the rest of it.
    pub blocked: Option<Block>,
}

/// How the answer comes.
enum Form {
    Whole(BytesMut),
    Stream(Box<EventStream>),
    /// Nothing more is looked at.
    Open,
    /// Nothing more goes on.
    Closed,
}

impl AnswerScan {
    /// Names the policies: two scans of one name let the same pass.
    pub(crate) fn policy(&self) -> String {
        format!("{:?}", self.0.policy)
    }

    /// `None` if no policy is about answers.
    pub(crate) fn new(
        signals: &Arc<SignalEngine>,
        decision: Option<&Decision>,
        global: &SecurityPolicy,
        request_id: &str,
    ) -> Option<Self> {
        let plugins = decision.map(|decision| &decision.plugins);
        let policy = AnswerPolicy::new(plugins, global)?;
        Some(Self(Box::new(Inspector {
            signals: Arc::clone(signals),
            policy,
            request_id: request_id.to_owned(),
            decision: decision.map(|decision| decision.name.clone()),
            findings: AnswerFindings::default(),
        })))
    }

    /// The answer begins; `events` says that it is a stream of events.
    pub fn begin(self, events: bool) -> AnswerScanner {
        AnswerScanner {
            inspector: self.0,
            form: match events {
                true => Form::Stream(Box::default()),
                false => Form::Whole(BytesMut::new()),
            },
        }
    }
}

impl fmt::Debug for AnswerScan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("AnswerScan")
            .field(&self.0.policy)
            .finish()
    }
}

impl AnswerScanner {
    /// What may go on now that `piece` has come. Dropping the future drops the piece.
    pub async fn piece(&mut self, piece: Bytes) -> Bytes {
        let inspector = &mut self.inspector;
        match &mut self.form {
            Form::Open => piece,
            Form::Closed => Bytes::new(),
            Form::Whole(pending) => {
                pending.extend_from_slice(&piece);
                if pending.len() <= LONGEST {
                    return Bytes::new();
                }
                let body = pending.split().freeze();
                let out = whole::unreadable(inspector, body);
                self.form = match self.inspector.findings.blocked {
                    Some(_) => Form::Closed,
                    None => Form::Open,
                };
                out
            }
            Form::Stream(stream) => {
                let mut out = BytesMut::new();
                if stream.read(inspector, &piece, &mut out).await.is_err() {
                    out.extend_from_slice(&stream.refusal());
                    self.form = Form::Closed;
                }
                out.freeze()
            }
        }
    }

    /// What may go on now that the answer is complete. There is nothing more after that.
    pub async fn finish(&mut self) -> Bytes {
        let inspector = &mut self.inspector;
        match std::mem::replace(&mut self.form, Form::Closed) {
            Form::Open | Form::Closed => Bytes::new(),
            Form::Whole(body) if body.is_empty() => Bytes::new(),
            Form::Whole(body) => whole::scan(inspector, body.freeze()).await,
            Form::Stream(mut stream) => {
                let mut out = BytesMut::new();
                if stream.end(inspector, &mut out).await.is_err() {
                    out.extend_from_slice(&stream.refusal());
                }
                out.freeze()
            }
        }
    }

    /// Whether the answer comes as one object, of which nothing goes on before its end.
    pub fn is_whole(&self) -> bool {
        matches!(self.form, Form::Whole(_))
    }

    /// What has been found so far.
    pub fn findings(&self) -> &AnswerFindings {
        &self.inspector.findings
    }

    /// The decision that the request matched.
    pub fn decision(&self) -> Option<&str> {
        self.inspector.decision.as_deref()
    }
}

impl AnswerFindings {
    /// Whether there are none.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Response headers that tell of them, for answers whose headers have not gone on.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        match &self.blocked {
            Some(Block::Pii { types }) => {
                headers.push((header::PII_VIOLATION, "true".to_owned()));
                headers.push((header::PII_TYPES, types.join(",")));
            }
            Some(Block::Jailbreak { label, confidence }) => {
                headers.push((header::JAILBREAK_BLOCKED, "true".to_owned()));
                headers.push((header::JAILBREAK_TYPE, (*label).to_owned()));
                headers.push((header::JAILBREAK_CONFIDENCE, format!("{confidence:.3}")));
            }
            Some(Block::FastResponse) | None => {}
        }
        if self.blocked.is_none() && !self.redacted.is_empty() {
            headers.push((PII_REDACTED, self.redacted.join(",")));
        }
        if self.told {
            headers.push((RESPONSE_WARNINGS, "response_jailbreak".to_owned()));
        }
        headers
    }
}

#[cfg(test)]
mod tests;
