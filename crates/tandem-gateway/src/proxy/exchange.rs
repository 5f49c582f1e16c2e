//! One request and its answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::{FutureExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tandem_protocol::header::REQUEST_ID;
use tandem_protocol::openai::ErrorBody;
use tandem_protocol::{ErrorKind, Fault};
use tandem_runtime::http::{self as server, BodyError};
use tandem_runtime::openmetrics;
use tandem_semantic_router::{
    Endpoint, Forward, ImmediateResponse, Rejection, Replay, RouteRequest, Router, Routing,
};
use tracing::{debug, error, warn};

use super::Gateway;
use super::access::{Grant, strip_identity};
use super::access_log::AccessRecord;
use super::error::{ProxyError, full, json as json_response};
use super::forward::Sender;
use crate::headers::{RESPONSE_PATH, SCHEMA, client, request_id, response_path, set};
use crate::route::{Miss, Target, resolve};
use crate::trace::{self, Spans, TRACEPARENT, TraceContext};
use crate::watch::Watch;

/// Body of every response.
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, hyper::Error>;

impl Gateway {
    /// Answers one request; errors are logged and counted here and nowhere else.
    pub(super) async fn handle(&self, request: Request<Body>) -> Response<ResponseBody> {
        let id = request_id(request.headers());
        let record = self.options.access_log;
        let record = record.then(|| AccessRecord::new(request.method(), request.uri(), &id));
        let answer = AssertUnwindSafe(self.dispatch(request, &id)).catch_unwind();
        let answer = answer.await.unwrap_or(Err(Failed {
            error: ProxyError::Panicked,
            model: None,
        }));
        let mut response = match answer {
            Ok(response) => response,
            Err(failed) => self.fail(failed, &id),
        };
        set(response.headers_mut(), REQUEST_ID, &id);
        match record {
            Some(record) => record.follow(response),
            None => response,
        }
    }

    async fn dispatch(
        &self,
        request: Request<Body>,
        id: &str,
    ) -> Result<Response<ResponseBody>, Failed> {
        let path = request.uri().path();
        let target = resolve(request.method(), path).map_err(|miss| match miss {
            Miss::Path => ProxyError::Path(path.to_owned()),
            Miss::Method(allowed) => ProxyError::Method {
                method: request.method().clone(),
                allowed,
            },
        })?;
        let router = self.router.load_full();
        match target {
            Target::Routed(endpoint) => self.route(&router, endpoint, request, id).await,
            Target::Models => Ok(models(&router)),
            Target::Model(name) => Ok(model(&router, name)?),
            Target::Health => Ok(json_response(
                json!({"status": "healthy", "service": "tandem-gateway"}).to_string(),
            )),
            Target::Live => Ok(json_response(json!({"status": "live"}).to_string())),
            Target::Metrics => Ok(self.metrics_page()),
        }
    }

    async fn route(
        &self,
        router: &Arc<Router>,
        endpoint: Endpoint,
        request: Request<Body>,
        id: &str,
    ) -> Result<Response<ResponseBody>, Failed> {
        let in_flight = self.metrics.enter();
        let (mut parts, body) = request.into_parts();
        let grant = self.admit(router, &mut parts.headers)?;
        let limits = grant.as_ref().map(Grant::headers).unwrap_or_default();
        let mut client = client(router, &parts.headers);
        if let Some(grant) = &grant {
            grant.identify(&mut client);
        }
        let received = trace::received(&parts.method, parts.uri.path(), id);
        let trace = TraceContext::of(&received, &parts.headers);
        if let Some(trace) = &trace {
            set(&mut parts.headers, TRACEPARENT, &trace.header());
        }
        let spans = Spans::new(received, trace.as_ref());
        let body = self.read_body(&parts, body).await?;
        if body.is_empty() {
            return Err(ProxyError::NoBody.into());
        }
        let request = RouteRequest {
            endpoint,
            body: &body,
            request_id: id,
        };
        let routed = spans.run(router.route_for(request, &client)).await;
        self.metrics.routed(router, &routed);
        match routed.routing {
            Routing::Respond(response) => Ok(immediate(response)),
            Routing::Replay(replay) => Ok(replayed(replay)),
            Routing::Reject(rejection) => Err(ProxyError::Rejected(rejection).into()),
            Routing::Forward(mut forward) => {
                let mut watch = Watch::new(in_flight, router, &forward.model, id, spans)
                    .record(forward.recording.take());
                watch.charge_to(grant, forward.body.len());
                let model = watch.label().to_owned();
                let answer = self.forward(router, parts, forward, watch).await;
                let answer = answer.map(|answer| with_headers(answer, &limits));
                answer.map_err(|error| Failed {
                    error,
                    model: Some(model),
                })
            }
        }
    }

    /// Finds out who sent the request, where clients must say so, and that it may be sent.
    fn admit(&self, router: &Router, headers: &mut HeaderMap) -> Result<Option<Grant>, ProxyError> {
        let access = &router.config().access;
        let admitted = self.accounts.admit(access, headers);
        let grant = admitted.map_err(|refusal| {
            self.proxy_metrics.refused(refusal.reason());
            ProxyError::Refused(refusal)
        })?;
        if grant.is_some() {
            strip_identity(headers, &router.config().identity);
        }
        Ok(grant)
    }

    async fn forward(
        &self,
        router: &Arc<Router>,
        parts: Parts,
        forward: Forward,
        watch: Watch,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let pool = self.upstreams.of(router, &forward.model);
        let pool = pool.ok_or(ProxyError::NoServer)?;
        let timeout = pool.reliability().timeout;
        let sender = Sender {
            client: self.upstreams.client(),
            pool: &pool,
            metrics: &self.proxy_metrics,
            timeout: timeout.unwrap_or(self.options.response_timeout),
        };
        sender.send(parts, forward, watch).await
    }

    /// The whole body, within the limits of size and time.
    async fn read_body(&self, parts: &Parts, body: Body) -> Result<Bytes, ProxyError> {
        let limit = self.options.max_body_bytes;
        let declared = parts.headers.get(CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared
            .is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit))
        {
            return Err(ProxyError::TooLarge(limit));
        }
        let wait = self.options.body_timeout;
        let read = server::read_body(body, limit, wait).await;
        read.map_err(|error| match error {
            BodyError::TooLarge { limit } => ProxyError::TooLarge(limit),
            BodyError::Timeout => ProxyError::SlowBody(wait),
            BodyError::Disconnected => ProxyError::CutOff,
        })
    }

    fn metrics_page(&self) -> Response<ResponseBody> {
        let mut response = Response::new(full(openmetrics::text(&self.registry)));
        let kind = HeaderValue::from_static(openmetrics::CONTENT_TYPE);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    fn fail(&self, failed: Failed, request_id: &str) -> Response<ResponseBody> {
        let Failed { error, model } = failed;
        let kind = error.kind();
        if let Some(reason) = error.reason() {
            let model = model.unwrap_or_else(|| "unknown".to_owned());
            self.metrics.failed(model, reason);
        }
        let cause = std::error::Error::source(&error).map(tracing::field::display);
        match kind.fault() {
            Fault::Client => debug!(request_id, kind = kind.label(), %error, "request refused"),
            Fault::Upstream => {
                warn!(request_id, kind = kind.label(), %error, cause, "upstream failed");
            }
            Fault::Server => error!(request_id, kind = kind.label(), %error, "request failed"),
        }
        error.into_response()
    }
}

/// An error, and the model that it concerns.
pub(super) struct Failed {
    error: ProxyError,
    model: Option<String>,
}

impl From<ProxyError> for Failed {
    fn from(error: ProxyError) -> Self {
        Self { error, model: None }
    }
}

fn with_headers(
    mut answer: Response<ResponseBody>,
    headers: &[(&'static str, String)],
) -> Response<ResponseBody> {
    for (name, value) in headers {
        set(answer.headers_mut(), name, value);
    }
    answer
}

fn immediate(response: ImmediateResponse) -> Response<ResponseBody> {
    let path = response_path(&response.block);
    let mut answer = Response::new(full(response.body));
    let headers = response.headers.iter();
    let headers = headers.map(|(name, value)| (*name, value.as_str()));
    for (name, value) in headers.chain([SCHEMA, (RESPONSE_PATH, path)]) {
        set(answer.headers_mut(), name, value);
    }
    answer
}

/// The events of a stream go out one by one, as they came.
fn replayed(replay: Replay) -> Response<ResponseBody> {
    let body = match replay.stream {
        false => full(replay.body),
        true => {
            let events = events(replay.body).map(|event| Ok(Frame::data(event)));
            StreamBody::new(stream::iter(events)).boxed_unsync()
        }
    };
    let mut answer = Response::new(body);
    let headers = replay.headers.iter();
    let headers = headers.map(|(name, value)| (*name, value.as_str()));
    for (name, value) in headers.chain([SCHEMA, (RESPONSE_PATH, "cache")]) {
        set(answer.headers_mut(), name, value);
    }
    answer
}

/// An event stream in its events, to the byte.
fn events(mut stream: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let end = stream.windows(2).position(|pair| pair == b"\n\n");
        let event = stream.split_to(end.map_or(stream.len(), |end| end + 2));
        (!event.is_empty()).then_some(event)
    })
}

fn models(router: &Router) -> Response<ResponseBody> {
    json_response(serde_json::to_vec(&router.models()).expect("a model list always serialises"))
}

fn model(router: &Router, name: &str) -> Result<Response<ResponseBody>, ProxyError> {
    let models = router.models().data;
    let Some(model) = models.iter().find(|model| model.id == name) else {
        let message = format!("the model `{name}` does not exist");
        return Err(ProxyError::Rejected(Rejection {
            kind: ErrorKind::NotFound,
            body: ErrorBody::new(ErrorKind::NotFound, message, Some("model".to_owned())),
        }));
    };
    Ok(json_response(
        serde_json::to_vec(model).expect("a model always serialises"),
    ))
}
