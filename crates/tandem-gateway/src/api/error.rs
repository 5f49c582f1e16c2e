//! Requests of the API that get no answer.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use tandem_classifier::ClassifierError;
use tandem_protocol::openai::InvalidParameter;
use tandem_runtime::http::BodyError;
use tandem_semantic_router::InvalidateError;
use tracing::{debug, error};

/// An error of the API; `code` is for programs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
    }

    pub(super) fn task(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_TASK_TYPE", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    pub(super) fn method(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            message,
        )
    }

    pub(super) fn deadline(limit: Duration) -> Self {
        let message = format!("there was no answer within {limit:?}");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED", message)
    }

    /// The classifier cannot answer such questions at all.
    pub(super) fn no_head(head: &str) -> Self {
        let message = format!("the classifier that is loaded does not do {head}");
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "CLASSIFIER_UNAVAILABLE", message)
    }

    /// Answers were dropped here, and the store that processes share does not know yet.
    pub(super) fn store(error: &InvalidateError) -> Self {
        let message = format!("{} answers were dropped here; {error}", error.dropped);
        Self::new(StatusCode::BAD_GATEWAY, "STORE_UNAVAILABLE", message)
    }

    /// Label of the error counter.
    pub(super) fn label(&self) -> &'static str {
        match self.status {
            StatusCode::GATEWAY_TIMEOUT => "timeout",
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => "unavailable",
            status if status.is_client_error() => "input_error",
            _ => "classification_error",
        }
    }
}

impl From<ClassifierError> for ApiError {
    fn from(error: ClassifierError) -> Self {
        let (status, code) = match error {
            ClassifierError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED"),
            ClassifierError::Timeout => (StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED"),
            ClassifierError::Failed(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "CLASSIFICATION_ERROR")
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<InvalidParameter> for ApiError {
    fn from(error: InvalidParameter) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let (status, code) = match error {
            BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
            BodyError::Timeout => (StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT"),
            BodyError::Disconnected => (StatusCode::BAD_REQUEST, "INVALID_INPUT"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self {
            status,
            code,
            message,
        } = self;
        if status.is_server_error() {
            error!(code, message, "classification request failed");
        } else {
            debug!(code, message, "classification request refused");
        }
        let timestamp = jiff::Timestamp::now().to_string();
        let body = json!({"error": {"code": code, "message": message, "timestamp": timestamp}});
        (status, Json(body)).into_response()
    }
}
