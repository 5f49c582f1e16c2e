//! What the router decided, for a transport to apply.

use std::fmt;

use bytes::Bytes;
use tandem_protocol::ErrorKind;
use tandem_protocol::openai::ErrorBody;

use crate::answer::AnswerScan;
use crate::cache::Recording;
use crate::config::Credential;
use crate::explain::Explanation;

/// A decision, and how it came about.
#[derive(Debug)]
pub struct Routed {
    /// What to do.
    pub routing: Routing,
    /// Why; for logs, metrics and `tandem route`.
    pub explanation: Explanation,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Routing {
    /// Send it on, changed.
    Forward(Forward),
    /// Answer it at once.
    Respond(ImmediateResponse),
    /// Give it an answer that a model gave before.
    Replay(Replay),
    /// Refuse it as wrong.
    Reject(Rejection),
}

/// A request to send on.
#[derive(Debug)]
pub struct Forward {
    /// The body; the client's own bytes when nothing changed.
    pub body: Bytes,
    /// Whether `body` differs from the client's.
    pub body_changed: bool,
    /// The model's credential, for whoever knows only one server of it. The edits come after it.
    pub credential: Option<Credential>,
    /// Changes of the request's headers.
    pub request_headers: HeaderEdits,
    /// Headers to add to the response if its status is 2xx.
    pub response_headers: Vec<(&'static str, String)>,
    /// Model that serves the request.
    pub model: String,
    /// `ip:port` for Envoy's original-destination cluster.
    pub endpoint: Option<String>,
    /// Whether Envoy must choose its route again.
    pub clear_route_cache: bool,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// How its answer must be looked at, if it must.
    pub scan: Option<AnswerScan>,
    /// Where the answer must be passed on to, if it may be given again.
    pub recording: Option<Box<Recording>>,
}

/// Changes of headers; names are in lower case. Removals come first.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Names to take out.
    pub remove: Vec<String>,
    /// Names to set, replacing what is there.
    pub set: Vec<(String, String)>,
}

impl fmt::Debug for HeaderEdits {
    /// Values may be credentials, so only names are shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.set.iter().map(|(name, _)| name.as_str()).collect();
        formatter
            .debug_struct("HeaderEdits")
            .field("remove", &self.remove)
            .field("set", &names)
            .finish()
    }
}

/// An answer that no model gave; its status is 200.
#[derive(Debug)]
pub struct ImmediateResponse {
    /// Headers, content type included.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, or a whole event stream.
    pub body: Bytes,
    /// Why it was given.
    pub block: Block,
}

/// An answer that a model gave before, to the byte; its status is 200.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Headers, content type included.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, or all events of a stream.
    pub body: Bytes,
    /// Whether it is a stream.
    pub stream: bool,
}

/// Why a request is answered without a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// Denied personal data.
    Pii {
        /// The types as on the wire, such as `B-US_SSN`.
        types: Vec<String>,
    },
    /// A jailbreak.
    Jailbreak {
        /// Label of the finding.
        label: &'static str,
        /// Probability.
        confidence: f32,
    },
    /// The decision has a fixed answer.
    FastResponse,
}

/// A request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Gives the status.
    pub kind: ErrorKind,
    /// OpenAI error body.
    pub body: ErrorBody,
}

impl Rejection {
    /// A rejection of `kind` about the request member `param`.
    pub fn new(kind: ErrorKind, message: impl Into<String>, param: Option<String>) -> Self {
        Self {
            kind,
            body: ErrorBody::new(kind, message, param),
        }
    }
}
