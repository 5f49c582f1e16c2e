//! The one table that says what an error means on every transport.

use serde::{Deserialize, Serialize};

/// What a caller can do about an error, and who is at fault.
///
/// Every error on a request path maps to one kind; HTTP status, OpenAI error type and metric
/// label follow from it, so that the transports cannot disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request is malformed; sending it again cannot help.
    InvalidRequest,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// The route or the model does not exist.
    NotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The body is larger than the server accepts.
    PayloadTooLarge,
    /// A policy refused the request.
    Rejected,
    /// The client sent too much; it may retry later.
    RateLimited,
    /// No worker can take the request now; it may be retried later.
    Overloaded,
    /// A server behind this one failed.
    Upstream {
        /// Whether another instance may be tried.
        retryable: bool,
    },
    /// A deadline passed.
    Timeout,
    /// The client went away.
    Canceled,
    /// A defect on our side.
    Internal,
}

/// Who has to act for the error to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The sender of the request.
    Client,
    /// This process.
    Server,
    /// A process behind this one.
    Upstream,
}

impl ErrorKind {
    /// HTTP status code.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthorized => 401,
            Self::Rejected => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::PayloadTooLarge => 413,
            Self::RateLimited => 429,
            Self::Canceled => 499,
            Self::Internal => 500,
            Self::Upstream { .. } => 502,
            Self::Overloaded => 503,
            Self::Timeout => 504,
        }
    }

    /// The `type` member of an OpenAI error body.
    pub const fn openai_type(self) -> &'static str {
        match self {
            Self::InvalidRequest
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::PayloadTooLarge => "invalid_request_error",
            Self::Unauthorized => "authentication_error",
            Self::Rejected => "permission_error",
            Self::RateLimited => "rate_limit_error",
            Self::Overloaded => "service_unavailable",
            Self::Timeout => "timeout_error",
            Self::Canceled => "request_cancelled",
            Self::Upstream { .. } | Self::Internal => "internal_server_error",
        }
    }

    /// Metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::Rejected => "rejected",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Upstream { .. } => "upstream",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
        }
    }

    /// Who has to act.
    pub const fn fault(self) -> Fault {
        match self {
            Self::InvalidRequest
            | Self::Unauthorized
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::PayloadTooLarge
            | Self::Rejected
            | Self::RateLimited
            | Self::Canceled => Fault::Client,
            Self::Upstream { .. } => Fault::Upstream,
            Self::Overloaded | Self::Timeout | Self::Internal => Fault::Server,
        }
    }

    /// Whether the same request may succeed elsewhere or later.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Overloaded
                | Self::Timeout
                | Self::Upstream { retryable: true }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_faults_are_4xx_and_server_faults_5xx() {
        let kinds = [
            ErrorKind::InvalidRequest,
            ErrorKind::Unauthorized,
            ErrorKind::NotFound,
            ErrorKind::MethodNotAllowed,
            ErrorKind::PayloadTooLarge,
            ErrorKind::Rejected,
            ErrorKind::RateLimited,
            ErrorKind::Overloaded,
            ErrorKind::Upstream { retryable: true },
            ErrorKind::Timeout,
            ErrorKind::Canceled,
            ErrorKind::Internal,
        ];
        for kind in kinds {
            let client = (400..500).contains(&kind.status());
            assert_eq!(client, kind.fault() == Fault::Client, "{kind:?}");
        }
    }
}
