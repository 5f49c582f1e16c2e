//! OpenAI error bodies, and the error of a request that cannot be understood.

use serde::{Deserialize, Serialize};

use crate::ErrorKind;

/// `{"error": {...}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// The inner object of an OpenAI error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// What went wrong and how to fix it.
    pub message: String,
    /// Class of the error.
    #[serde(rename = "type")]
    pub kind: String,
    /// The request member at fault.
    pub param: Option<String>,
    /// HTTP status.
    pub code: u16,
}

impl ErrorBody {
    /// The body for an error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>, param: Option<String>) -> Self {
        Self {
            error: ErrorDetail {
                message: message.into(),
                kind: kind.openai_type().to_owned(),
                param,
                code: kind.status(),
            },
        }
    }
}

/// A request body that is not what the API asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidParameter {
    /// Path of the member at fault, such as `messages[0].role`; `None` when the body is not JSON.
    pub param: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl InvalidParameter {
    /// An error about the member `param`.
    pub fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            message: message.into(),
        }
    }
}

impl From<InvalidParameter> for ErrorBody {
    fn from(error: InvalidParameter) -> Self {
        Self::new(ErrorKind::InvalidRequest, error.message, error.param)
    }
}

/// Decodes `bytes` as JSON; the error names the member at fault.
///
/// # Errors
/// The body is not JSON, or a member has the wrong type.
pub fn from_json<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, InvalidParameter> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if !inner.is_data() {
            return InvalidParameter {
                param: None,
                message: format!("the request body is not valid JSON: {inner}"),
            };
        }
        InvalidParameter {
            message: format!("invalid value for `{path}`: {inner}"),
            param: Some(path).filter(|path| path != "."),
        }
    })?;
    json.end().map_err(|error| InvalidParameter {
        param: None,
        message: format!("the request body has text after its JSON value: {error}"),
    })?;
    Ok(value)
}
