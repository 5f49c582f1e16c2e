//! The upstream's side of an exchange.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tandem_semantic_router::Forward;
use tracing::info;

use super::error::ProxyError;
use super::exchange::ResponseBody;
use super::{GatewayError, GatewayOptions};
use crate::headers::{prepare_request, prepare_response};
use crate::metrics::InFlight;
use crate::usage::UsageReader;

/// How long an unused connection to the upstream is kept.
const IDLE: Duration = Duration::from_secs(90);

/// A pool of connections to one server.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client<HttpConnector, Full<Bytes>>,
    /// Scheme and authority, and the path before that of the request.
    base: Uri,
    prefix: String,
    response_timeout: Duration,
}

/// Who and what an exchange is counted for.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) model: String,
    pub(super) request_id: String,
    pub(super) in_flight: InFlight,
}

impl Upstream {
    pub(super) fn new(base: &Uri, options: &GatewayOptions) -> Result<Self, GatewayError> {
        if base.scheme() != Some(&Scheme::HTTP) || base.authority().is_none() {
            return Err(GatewayError::Upstream(base.clone()));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self {
            client,
            prefix: base.path().trim_end_matches('/').to_owned(),
            base: base.clone(),
            response_timeout: options.response_timeout,
        })
    }

    /// Sends a request on and returns the answer as soon as it begins. Dropping the answer's body
    /// drops the request.
    pub(super) async fn send(
        &self,
        parts: Parts,
        forward: Forward,
        exchange: Exchange,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let started = Instant::now();
        let mut headers = parts.headers;
        prepare_request(&mut headers, &forward.request_headers, &exchange.request_id);
        let mut request = Request::new(Full::new(forward.body));
        *request.method_mut() = parts.method;
        *request.uri_mut() = self.uri(&parts.uri);
        *request.headers_mut() = headers;
        let answer = self.client.request(request);
        let answer = tokio::time::timeout(self.response_timeout, answer).await;
        let answer = answer.map_err(|_| ProxyError::Silent(self.response_timeout))?;
        let mut answer = answer.map_err(ProxyError::Unreachable)?;
        let status = answer.status();
        count_status(&exchange, status);
        *answer.version_mut() = Version::HTTP_11;
        prepare_response(
            answer.headers_mut(),
            &forward.response_headers,
            status.is_success(),
        );
        Ok(answer.map(|body| {
            let usage = status
                .is_success()
                .then(|| UsageReader::new(forward.stream));
            Metered {
                body,
                exchange,
                started,
                first: false,
                usage,
            }
            .boxed_unsync()
        }))
    }

    fn uri(&self, requested: &Uri) -> Uri {
        let path = requested.path_and_query().map_or("/", PathAndQuery::as_str);
        let path = format!("{}{path}", self.prefix);
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        Uri::from_parts(parts).unwrap_or_else(|_| self.base.clone())
    }
}

fn count_status(exchange: &Exchange, status: StatusCode) {
    let reason = match status.as_u16() {
        400..=499 => "upstream_4xx",
        500.. => "upstream_5xx",
        _ => return,
    };
    let metrics = exchange.in_flight.metrics();
    metrics.failed(exchange.model.clone(), reason);
}

/// An answer that is watched while it passes; every piece goes on as it came.
struct Metered {
    body: Incoming,
    exchange: Exchange,
    started: Instant,
    first: bool,
    /// `None` for errors, and once the answer was counted.
    usage: Option<UsageReader>,
}

impl Metered {
    fn saw(&mut self, piece: &[u8]) {
        if !self.first {
            self.first = true;
            let after = self.started.elapsed();
            let metrics = self.exchange.in_flight.metrics();
            metrics.first_byte(&self.exchange.model, after);
        }
        if let Some(usage) = &mut self.usage {
            usage.read(piece);
        }
    }

    fn complete(&mut self) {
        let Some(usage) = self.usage.take().map(UsageReader::finish) else {
            return;
        };
        let Exchange {
            model,
            request_id,
            in_flight,
        } = &self.exchange;
        let after = self.started.elapsed();
        in_flight.metrics().completed(model, after, usage);
        if let Some(usage) = usage {
            info!(
                event = "llm_usage",
                request_id,
                model,
                prompt_tokens = usage.prompt_tokens,
                completion_tokens = usage.completion_tokens,
                total_tokens = usage.total_tokens,
                completion_latency_ms = after.as_secs_f64() * 1e3,
                "llm_usage"
            );
        }
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    self.saw(piece);
                }
            }
            Some(Err(_)) => self.usage = None,
            None => self.complete(),
        }
        if self.body.is_end_stream() {
            self.complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
