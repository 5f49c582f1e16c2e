//! Why an engine does not take or finish a request.

use tandem_protocol::ErrorKind;

/// Why an engine does not take or finish a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The request makes no sense.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// The request asks for something that this engine does not do.
    #[error("{0} is not supported by this engine")]
    Unsupported(&'static str),
    /// The prompt leaves no room for an answer, now or ever.
    #[error("prompt of {tokens} tokens does not fit the context of {limit}")]
    PromptTooLong {
        /// Tokens in the prompt.
        tokens: usize,
        /// Tokens that a sequence may have, prompt and answer together.
        limit: usize,
    },
    /// Too many requests wait already.
    #[error("engine queue is full: {waiting} requests wait")]
    QueueFull {
        /// How many.
        waiting: usize,
    },
    /// The engine says that it cannot take the request now.
    #[error("engine is busy: {0}")]
    Busy(String),
    /// The engine does not finish the request.
    #[error("engine failed: {0}")]
    Failed(String),
    /// The engine is shutting down or has failed.
    #[error("engine has stopped")]
    Stopped,
}

impl EngineError {
    /// What a caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::Unsupported(_) | Self::PromptTooLong { .. } => {
                ErrorKind::InvalidRequest
            }
            Self::QueueFull { .. } | Self::Busy(_) => ErrorKind::Overloaded,
            Self::Failed(_) => ErrorKind::Upstream { retryable: false },
            Self::Stopped => ErrorKind::Upstream { retryable: true },
        }
    }
}
