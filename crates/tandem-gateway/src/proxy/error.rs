//! Requests that get no answer from the upstream.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tandem_protocol::ErrorKind;
use tandem_protocol::openai::ErrorBody;
use tandem_semantic_router::Rejection;

use super::access::Refusal;
use super::exchange::ResponseBody;
use crate::headers::{RESPONSE_PATH, SCHEMA, set};

/// What went wrong between a client and the upstream.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("there is no `{0}` here")]
    Path(String),
    #[error("method {method} is not allowed; use {allowed}")]
    Method {
        method: http::Method,
        allowed: &'static str,
    },
    #[error("{}", .0.body.error.message)]
    Rejected(Rejection),
    #[error("the request has no body")]
    NoBody,
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the request body did not arrive within {0:?}")]
    SlowBody(Duration),
    #[error("the request body was cut off")]
    CutOff,
    #[error("the upstream cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    #[error("the upstream did not begin its answer within {0:?}")]
    Silent(Duration),
    #[error("no server is configured for this model")]
    NoServer,
    #[error(transparent)]
    Refused(Refusal),
    #[error("internal error")]
    Panicked,
}

impl ProxyError {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(_) => ErrorKind::NotFound,
            Self::Method { .. } => ErrorKind::MethodNotAllowed,
            Self::Rejected(rejection) => rejection.kind,
            Self::TooLarge(_) => ErrorKind::PayloadTooLarge,
            Self::NoBody | Self::SlowBody(_) | Self::CutOff => ErrorKind::InvalidRequest,
            Self::Unreachable(_) => ErrorKind::Upstream { retryable: true },
            Self::Silent(_) => ErrorKind::Timeout,
            Self::NoServer => ErrorKind::Upstream { retryable: false },
            Self::Refused(Refusal::Limited { .. }) => ErrorKind::RateLimited,
            Self::Refused(_) => ErrorKind::Unauthorized,
            Self::Panicked => ErrorKind::Internal,
        }
    }

    /// Label of the error counter; `None` when the router has counted already, or no model is
    /// concerned.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Path(_) | Self::Method { .. } | Self::Rejected(_) | Self::Refused(_) => None,
            Self::NoBody | Self::TooLarge(_) | Self::SlowBody(_) => Some("parse_error"),
            Self::CutOff => Some("cancellation"),
            Self::Unreachable(_) | Self::NoServer => Some("upstream_5xx"),
            Self::Silent(_) => Some("timeout"),
            Self::Panicked => Some("internal"),
        }
    }

    pub(super) fn into_response(self) -> Response<ResponseBody> {
        let kind = self.kind();
        let allowed = match &self {
            Self::Method { allowed, .. } => Some(*allowed),
            _ => None,
        };
        let refusal = match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        };
        let close = matches!(self, Self::TooLarge(_) | Self::SlowBody(_) | Self::CutOff);
        let body = match self {
            Self::Rejected(rejection) => rejection.body,
            other => ErrorBody::new(kind, other.to_string(), None),
        };
        let body = serde_json::to_vec(&body).expect("an error body always serialises");
        let mut response = json(body);
        *response.status_mut() =
            StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        for (name, value) in [SCHEMA, (RESPONSE_PATH, "error")] {
            set(headers, name, value);
        }
        if let Some(allowed) = allowed {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        if let Some(refusal) = refusal {
            let seconds = refusal.retry_after().map(|seconds| seconds.to_string());
            match seconds {
                Some(seconds) => set(headers, "retry-after", &seconds),
                None => set(headers, "www-authenticate", "Bearer"),
            }
        }
        // The rest of the body is not read, so the connection cannot be used again.
        if close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A JSON response.
pub(super) fn json(body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(full(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A body that is there at once.
pub(super) fn full(body: impl Into<Bytes>) -> ResponseBody {
    Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}
