//! One HTTP request as Envoy shows it: its headers, its body, and the same of its answer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use tandem_protocol::ErrorKind;
use tandem_protocol::header::REQUEST_ID;
use tandem_protocol::openai::ErrorBody;
use tandem_semantic_router::{
    Endpoint, Forward, ImmediateResponse, Rejection, RouteRequest, Router, Routing,
};
use tracing::{debug, error};

use super::convert;
use super::messages::body_mutation::Mutation;
use super::messages::processing_mode::BodySendMode;
use super::messages::processing_request::Request;
use super::messages::{
    CommonResponse, HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
    StreamedBodyResponse,
};
use crate::headers::{is_router_header, request_id};
use crate::metrics::{GatewayMetrics, model_label};
use crate::route::{Miss, Target, resolve_api};
use crate::watch::Watch;

/// What has happened to the request so far.
enum Phase {
    /// Nothing is known yet.
    Start,
    /// Its body is being received.
    Body(Incoming),
    /// It was sent on; the answer is awaited or passing.
    Sent(Sent),
    /// It is none of our business, or already answered.
    Passing,
}

/// A request whose body is being received.
struct Incoming {
    endpoint: Endpoint,
    request_id: String,
    body: BytesMut,
    mode: BodySendMode,
}

/// A request that was sent on.
struct Sent {
    watch: Watch,
    response_headers: Vec<(&'static str, String)>,
}

/// The answers to one stream of messages.
pub(super) struct Session {
    router: Arc<Router>,
    metrics: Arc<GatewayMetrics>,
    max_body_bytes: usize,
    phase: Phase,
}

impl Session {
    pub(super) fn new(
        router: Arc<Router>,
        metrics: Arc<GatewayMetrics>,
        max_body_bytes: usize,
    ) -> Self {
        Self {
            router,
            metrics,
            max_body_bytes,
            phase: Phase::Start,
        }
    }

    /// The answer to a message; `None` where Envoy expects none.
    pub(super) async fn answer(
        &mut self,
        message: ProcessingRequest,
    ) -> Option<ProcessingResponse> {
        let mode = message
            .protocol_config
            .map_or(BodySendMode::Buffered, |config| config.request_body_mode());
        match message.request? {
            Request::RequestHeaders(headers) => Some(self.request_headers(headers, mode)),
            Request::RequestBody(body) => self.request_body(body).await,
            Request::RequestTrailers(_) => Some(self.request_trailers()),
            Request::ResponseHeaders(headers) => Some(self.response_headers(headers)),
            Request::ResponseBody(body) => Some(self.response_body(&body)),
            Request::ResponseTrailers(_) => {
                self.complete();
                Some(convert::response_trailers())
            }
        }
    }

    fn request_headers(&mut self, message: HttpHeaders, mode: BodySendMode) -> ProcessingResponse {
        let method = convert::pseudo(message.headers.as_ref(), ":method").unwrap_or_default();
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let path = convert::pseudo(message.headers.as_ref(), ":path").unwrap_or_default();
        let path = path.to_owned();
        let headers = convert::headers(message.headers);
        self.phase = Phase::Passing;
        let endpoint = match resolve_api(&method, &path) {
            None => return pass_on(&headers, &[]),
            Some(Ok(Target::Routed(endpoint))) => endpoint,
            Some(Ok(Target::Model(name))) => return self.model(name),
            Some(Ok(_)) => return self.models(),
            Some(Err(Miss::Path)) => {
                return reject(
                    ErrorKind::NotFound,
                    format!("there is no `{path}` here"),
                    None,
                );
            }
            Some(Err(Miss::Method(allowed))) => {
                let message = format!("method {method} is not allowed; use {allowed}");
                return reject(ErrorKind::MethodNotAllowed, message, Some(allowed));
            }
        };
        if message.end_of_stream {
            let message = "the request has no body".to_owned();
            return reject(ErrorKind::InvalidRequest, message, None);
        }
        let id = request_id(&headers);
        let answer = pass_on(
            &headers,
            &[("accept-encoding", "identity"), (REQUEST_ID, &id)],
        );
        self.phase = Phase::Body(Incoming {
            endpoint,
            request_id: id,
            body: BytesMut::new(),
            mode,
        });
        answer
    }

    async fn request_body(&mut self, message: HttpBody) -> Option<ProcessingResponse> {
        let Phase::Body(incoming) = &mut self.phase else {
            return Some(convert::request_body(CommonResponse::default()));
        };
        if incoming.body.len() + message.body.len() > self.max_body_bytes {
            self.phase = Phase::Passing;
            let message = format!(
                "the request body is larger than {} bytes",
                self.max_body_bytes
            );
            return Some(reject(ErrorKind::PayloadTooLarge, message, None));
        }
        let streamed = matches!(
            incoming.mode,
            BodySendMode::Streamed | BodySendMode::FullDuplexStreamed
        );
        if !streamed {
            return Some(self.route(message.body).await);
        }
        incoming.body.extend_from_slice(&message.body);
        if message.end_of_stream {
            let body = incoming.body.split().freeze();
            return Some(self.route(body).await);
        }
        // A piece that is kept back: Envoy sends nothing in its place. In full duplex it expects
        // no answer until there is something to send.
        (incoming.mode == BodySendMode::Streamed).then(|| {
            convert::request_body(CommonResponse {
                body_mutation: Some(super::messages::BodyMutation {
                    mutation: Some(Mutation::ClearBody(true)),
                }),
                ..CommonResponse::default()
            })
        })
    }

    /// Trailers after a body that was streamed come too late: Envoy takes no more of the body.
    fn request_trailers(&mut self) -> ProcessingResponse {
        if !matches!(self.phase, Phase::Body(_)) {
            return convert::request_trailers();
        }
        self.phase = Phase::Passing;
        let message = "a streamed request body must not have trailers".to_owned();
        reject(ErrorKind::InvalidRequest, message, None)
    }

    /// The body is complete.
    async fn route(&mut self, body: Bytes) -> ProcessingResponse {
        let Phase::Body(incoming) = std::mem::replace(&mut self.phase, Phase::Passing) else {
            return convert::request_body(CommonResponse::default());
        };
        let in_flight = self.metrics.enter();
        let routed = self
            .router
            .route(RouteRequest {
                endpoint: incoming.endpoint,
                body: &body,
                request_id: &incoming.request_id,
            })
            .await;
        self.metrics.routed(&self.router, &routed);
        match routed.routing {
            Routing::Respond(response) => respond(response),
            Routing::Reject(rejection) => rejected(&rejection),
            Routing::Forward(forward) => {
                let model = model_label(&self.router, &forward.model);
                let answer = send_on(&forward, incoming.mode);
                self.phase = Phase::Sent(Sent {
                    watch: Watch::new(in_flight, model, &incoming.request_id),
                    response_headers: forward.response_headers,
                });
                answer
            }
        }
    }

    fn response_headers(&mut self, message: HttpHeaders) -> ProcessingResponse {
        let status = convert::pseudo(message.headers.as_ref(), ":status");
        let status = status.and_then(|status| status.parse().ok());
        let headers = convert::headers(message.headers);
        let stream = headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let Phase::Sent(sent) = &mut self.phase else {
            return convert::response_headers(convert::mutation([], []), stream);
        };
        let status = status.unwrap_or(StatusCode::OK);
        sent.watch.begin(status, stream);
        let added = sent.response_headers.iter();
        let added = added.filter(|_| status.is_success());
        let set = added.map(|(name, value)| (*name, value.as_str()));
        let mut set: Vec<(&str, &str)> = set.collect();
        set.push((REQUEST_ID, sent.watch.request_id()));
        let mutation = convert::mutation(router_headers(&headers), set);
        if message.end_of_stream {
            sent.watch.complete();
        }
        convert::response_headers(mutation, stream)
    }

    fn response_body(&mut self, message: &HttpBody) -> ProcessingResponse {
        if let Phase::Sent(sent) = &mut self.phase {
            sent.watch.piece(&message.body);
        }
        if message.end_of_stream {
            self.complete();
        }
        convert::response_body()
    }

    fn complete(&mut self) {
        if let Phase::Sent(sent) = &mut self.phase {
            sent.watch.complete();
        }
    }

    fn models(&self) -> ProcessingResponse {
        let body = serde_json::to_vec(&self.router.models());
        json(200, body.expect("a model list always serialises"), None)
    }

    fn model(&self, name: &str) -> ProcessingResponse {
        let models = self.router.models().data;
        match models.iter().find(|model| model.id == name) {
            Some(model) => {
                let body = serde_json::to_vec(model);
                json(200, body.expect("a model always serialises"), None)
            }
            None => rejected(&Rejection::new(
                ErrorKind::NotFound,
                format!("the model `{name}` does not exist"),
                Some("model".to_owned()),
            )),
        }
    }
}

/// The request as the router wants it.
fn send_on(forward: &Forward, mode: BodySendMode) -> ProcessingResponse {
    let length = forward.body.len().to_string();
    let edits = &forward.request_headers;
    let set = edits
        .set
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let mut set: Vec<(&str, &str)> = set.collect();
    let endpoint = forward.endpoint.as_deref();
    set.extend(endpoint.map(|endpoint| ("x-vsr-destination-endpoint", endpoint)));
    let body = match mode {
        BodySendMode::FullDuplexStreamed => {
            Some(Mutation::StreamedResponse(StreamedBodyResponse {
                body: forward.body.clone(),
                end_of_stream: true,
            }))
        }
        // What was kept back must be sent, changed or not.
        BodySendMode::Streamed => Some(Mutation::Body(forward.body.clone())),
        _ if forward.body_changed => {
            set.push(("content-length", &length));
            Some(Mutation::Body(forward.body.clone()))
        }
        _ => None,
    };
    let mut response = convert::changed(convert::mutation(edits.remove.clone(), set), body);
    response.clear_route_cache = forward.clear_route_cache;
    convert::request_body(response)
}

/// The request headers go on without those that only the router may write.
fn pass_on(headers: &HeaderMap, set: &[(&str, &str)]) -> ProcessingResponse {
    let mutation = convert::mutation(router_headers(headers), set.iter().copied());
    convert::request_headers(mutation)
}

fn router_headers(headers: &HeaderMap) -> Vec<String> {
    let names = headers.keys().map(|name| name.as_str());
    let own = names.filter(|name| is_router_header(name));
    own.map(str::to_owned).collect()
}

fn respond(response: ImmediateResponse) -> ProcessingResponse {
    let headers = response.headers.iter();
    let headers = headers.map(|(name, value)| (*name, value.as_str()));
    convert::immediate(200, convert::mutation([], headers), response.body, "router")
}

fn rejected(rejection: &Rejection) -> ProcessingResponse {
    let kind = rejection.kind;
    let message = &rejection.body.error.message;
    match kind {
        ErrorKind::Internal => error!(kind = kind.label(), message, "request failed"),
        _ => debug!(kind = kind.label(), message, "request refused"),
    }
    let body = serde_json::to_vec(&rejection.body);
    json(
        kind.status(),
        body.expect("an error body always serialises"),
        None,
    )
}

fn reject(kind: ErrorKind, message: String, allowed: Option<&str>) -> ProcessingResponse {
    debug!(kind = kind.label(), message, "request refused");
    let body = serde_json::to_vec(&ErrorBody::new(kind, message, None));
    json(
        kind.status(),
        body.expect("an error body always serialises"),
        allowed,
    )
}

fn json(status: u16, body: Vec<u8>, allowed: Option<&str>) -> ProcessingResponse {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(allowed.map(|allowed| ("allow", allowed)));
    convert::immediate(
        status,
        convert::mutation([], headers),
        body.into(),
        "router",
    )
}
