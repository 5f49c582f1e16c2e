//! Carries the router's own questions to language models.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tandem_semantic_router::{CallError, ChatCall, LanguageModels};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(90);
/// Largest answer: it is one short JSON object in a completion.
const MAX_ANSWER: usize = 256 * 1024;

/// Language models behind plain HTTP.
#[derive(Debug)]
pub struct HttpLanguageModels {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for HttpLanguageModels {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { client }
    }
}

impl HttpLanguageModels {
    async fn post(&self, call: ChatCall) -> Result<Bytes, CallError> {
        let unreachable = |reason: String| CallError::Unreachable(reason);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/v1/chat/completions", call.authority))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(credential) = &call.credential {
            let value = HeaderValue::from_str(&credential.value);
            let mut value = value.map_err(|error| unreachable(error.to_string()))?;
            value.set_sensitive(true);
            request = request.header(&credential.header, value);
        }
        let request = request.body(Full::new(call.body));
        let request = request.map_err(|error| unreachable(error.to_string()))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| unreachable(error.to_string()))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(CallError::Status(status.as_u16()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| unreachable(error.to_string()))?;
        Ok(body.to_bytes())
    }
}

impl LanguageModels for HttpLanguageModels {
    fn chat(&self, call: ChatCall) -> BoxFuture<'_, Result<Bytes, CallError>> {
        self.post(call).boxed()
    }
}
