//! Asking over plain HTTP, within a time and a size.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::ObserveError;

/// Longest wait for a whole answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer: a metrics page of a busy frontend has some hundred KiB.
const MAX_ANSWER: usize = 8 << 20;

/// A client with its connections.
#[derive(Debug, Clone)]
pub(super) struct Http(Client<HttpConnector, Empty<Bytes>>);

impl Http {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// The body at `url`; `None` if there is nothing.
    pub(super) async fn get(&self, url: &str) -> Result<Option<Bytes>, ObserveError> {
        let unreachable = |reason: String| ObserveError::Unreachable {
            url: url.to_owned(),
            reason,
        };
        let asked = tokio::time::timeout(PATIENCE, self.ask(url)).await;
        let (status, body) = asked
            .map_err(|_| unreachable("no answer in time".to_owned()))?
            .map_err(unreachable)?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(body)),
            status => Err(unreachable(format!("it answered {status}"))),
        }
    }

    async fn ask(&self, url: &str) -> Result<(StatusCode, Bytes), String> {
        let request = Request::get(url).body(Empty::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.0.request(request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }
}

/// An address without its last slash.
pub(super) fn base(url: &str) -> Result<String, ObserveError> {
    let parsed: Result<Uri, _> = url.parse();
    let usable = parsed.is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
    if !usable {
        return Err(ObserveError::Address {
            url: url.to_owned(),
        });
    }
    Ok(url.trim_end_matches('/').to_owned())
}
