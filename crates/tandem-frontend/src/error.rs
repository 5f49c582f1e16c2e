//! Why a request was not served, and what the client sees of it.

use std::any::Any;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tandem_protocol::engine::WorkerFailure;
use tandem_protocol::openai::{ErrorBody, InvalidParameter};
use tandem_protocol::{ErrorKind, Fault};
use tandem_runtime::http::BodyError;
use tracing::error;

/// Seconds after which a client may try again when no worker can serve.
const RETRY_AFTER_SECONDS: u16 = 1;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// The body is not what the API asks for.
    #[error("{0}")]
    Invalid(#[from] InvalidParameter),
    /// The body could not be read.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// No such model.
    #[error("model `{model}` does not exist; available: {available}")]
    UnknownModel {
        /// What the client asked for.
        model: String,
        /// What there is.
        available: String,
    },
    /// No such path.
    #[error("there is no route {0}")]
    UnknownRoute(String),
    /// The path exists, the method does not.
    #[error("method {method} is not allowed on {path}")]
    MethodNotAllowed {
        /// What the client used.
        method: String,
        /// Where.
        path: String,
    },
    /// No worker can take the request now.
    #[error("no worker can serve model `{0}` right now")]
    NoWorkers(String),
    /// Every worker has more to do than the busy threshold allows.
    #[error("all workers of model `{0}` are busy, try again later")]
    AllBusy(String),
    /// No prefill worker has computed the prompt, and the decode worker must not.
    #[error("no prefill worker can serve model `{0}` right now")]
    NoPrefill(String),
    /// Workers were lost while they served this request, more often than it may move.
    #[error("the workers that served this request were lost")]
    WorkerLost,
    /// The worker reported a failure.
    #[error("{}", .0.message)]
    Worker(WorkerFailure),
    /// A defect of ours.
    #[error("{0}")]
    Internal(String),
}

impl FrontendError {
    /// The error that a panic while a request was served is.
    pub(crate) fn from_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown panic");
        Self::Internal(format!("request handler panicked: {text}"))
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidRequest,
            Self::Body(BodyError::TooLarge { .. }) => ErrorKind::PayloadTooLarge,
            Self::Body(BodyError::Timeout) => ErrorKind::Timeout,
            Self::Body(BodyError::Disconnected) => ErrorKind::Canceled,
            Self::UnknownModel { .. } | Self::UnknownRoute(_) => ErrorKind::NotFound,
            Self::MethodNotAllowed { .. } => ErrorKind::MethodNotAllowed,
            Self::NoWorkers(_) | Self::AllBusy(_) | Self::NoPrefill(_) => ErrorKind::Overloaded,
            Self::WorkerLost => ErrorKind::Upstream { retryable: true },
            Self::Worker(failure) => failure.kind,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// The OpenAI error body. What only an operator can act on is logged here, not sent.
    pub fn body(&self) -> ErrorBody {
        let kind = self.kind();
        let inside = match self {
            // What a worker says is meant for clients only where they are at fault.
            Self::Worker(_) => kind.fault() != Fault::Client,
            _ => matches!(kind, ErrorKind::Upstream { .. } | ErrorKind::Internal),
        };
        let message = if inside {
            error!(error = %self, "request failed");
            "the server failed to process the request".to_owned()
        } else {
            self.to_string()
        };
        let param = match self {
            Self::Invalid(invalid) => invalid.param.clone(),
            Self::UnknownModel { .. } => Some("model".to_owned()),
            _ => None,
        };
        ErrorBody::new(kind, message, param)
    }
}

impl IntoResponse for FrontendError {
    fn into_response(self) -> Response {
        let kind = self.kind();
        let status =
            StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.body())).into_response();
        if kind == ErrorKind::Overloaded {
            let value = HeaderValue::from(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}
