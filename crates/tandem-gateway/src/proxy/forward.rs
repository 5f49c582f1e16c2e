//! The upstream's side of an exchange.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tandem_semantic_router::Forward;

use super::error::ProxyError;
use super::exchange::ResponseBody;
use super::scanned;
use super::{GatewayError, GatewayOptions};
use crate::headers::{prepare_request, prepare_response};
use crate::watch::Watch;

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
        mut watch: Watch,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let mut headers = parts.headers;
        prepare_request(&mut headers, &forward.request_headers, watch.request_id());
        let mut request = Request::new(Full::new(forward.body));
        *request.method_mut() = parts.method;
        *request.uri_mut() = self.uri(&parts.uri);
        *request.headers_mut() = headers;
        let answer = self.client.request(request);
        let answer = tokio::time::timeout(self.response_timeout, answer).await;
        let answer = answer
            .map_err(|_| ProxyError::Silent(self.response_timeout))
            .and_then(|answer| answer.map_err(ProxyError::Unreachable));
        let mut answer = answer.inspect_err(|_| watch.broken())?;
        let status = answer.status();
        watch.begin(status, forward.stream);
        *answer.version_mut() = Version::HTTP_11;
        prepare_response(
            answer.headers_mut(),
            &forward.response_headers,
            status.is_success(),
        );
        match forward.scan.filter(|_| status.is_success()) {
            Some(scan) => Ok(scanned::pass_on(answer, scan, watch).await),
            None => Ok(answer.map(|body| Metered { body, watch }.boxed_unsync())),
        }
    }

    fn uri(&self, requested: &Uri) -> Uri {
        let path = requested.path_and_query().map_or("/", PathAndQuery::as_str);
        let path = format!("{}{path}", self.prefix);
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        Uri::from_parts(parts).unwrap_or_else(|_| self.base.clone())
    }
}

/// An answer that is watched while it passes; every piece goes on as it came.
struct Metered {
    body: Incoming,
    watch: Watch,
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
                    self.watch.piece(piece);
                }
            }
            Some(Err(_)) => self.watch.broken(),
            None => self.watch.complete(),
        }
        if self.body.is_end_stream() {
            self.watch.complete();
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
