//! What is sent to an instance.

use bytes::Bytes;

/// A request, on either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Names the request in the logs of both sides.
    pub id: String,
    /// What is asked.
    pub body: Bytes,
    /// How the answers may be encoded.
    pub encoding: Encoding,
    /// The span of the caller that this belongs to, as W3C Trace Context has it.
    pub traceparent: Option<String>,
}

/// How answers are encoded. The request plane carries them as they are: it only tells the serving
/// side what the calling side reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As JSON, which everybody reads.
    Json,
    /// In the compact form of whatever is called, or as JSON.
    Compact,
}

impl Request {
    /// A request that is answered in JSON, outside of any trace.
    pub fn new(id: &str, body: impl Into<Bytes>) -> Self {
        Self {
            id: id.to_owned(),
            body: body.into(),
            encoding: Encoding::Json,
            traceparent: None,
        }
    }
}
