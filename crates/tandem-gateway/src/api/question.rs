//! Reading requests of the API.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequest, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tandem_classifier::{Analysis, Heads};
use tandem_protocol::openai::error::from_json;
use tandem_runtime::http::read_body;

use super::Api;
use super::error::ApiError;

/// A JSON body within the limits.
pub(super) struct Question<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Question<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let options = &api.options;
        let body = read_body(
            request.into_body(),
            options.max_body_bytes,
            options.deadline,
        );
        Ok(Self(from_json(&body.await?)?))
    }
}

/// A text that is not empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Text(Arc<str>);

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.trim().is_empty() {
            true => Err("the text is empty"),
            false => Ok(Self(text.into())),
        }
    }
}

impl Text {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Api {
    /// One pass over a text.
    pub(super) async fn analyze(&self, text: &Text, heads: Heads) -> Result<Analysis, ApiError> {
        Ok(self.classifier.analyze(Arc::clone(&text.0), heads).await?)
    }

    /// Fails if there are no texts, or more than one request may have.
    pub(super) fn check_count(&self, member: &str, texts: usize) -> Result<(), ApiError> {
        let most = self.options.max_texts;
        match texts {
            0 => Err(ApiError::invalid(format!("`{member}` is empty"))),
            _ if texts > most => Err(ApiError::invalid(format!(
                "`{member}` has {texts} texts; at most {most} are allowed"
            ))),
            _ => Ok(()),
        }
    }
}

/// Milliseconds since `started`.
pub(super) fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}
