//! One HTTP request as Envoy shows it: its headers, its body, and the same of its answer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use smallvec::{SmallVec, smallvec};
use tandem_protocol::ErrorKind;
use tandem_protocol::header::REQUEST_ID;
use tandem_semantic_router::{Client, Endpoint, RouteRequest, Router, Routing};

use super::answer::{self, Contents};
use super::convert;
use super::destination;
use super::messages::processing_mode::BodySendMode;
use super::messages::processing_request::Request;
use super::messages::{
    HeaderMutation, HttpBody, HttpHeaders, Metadata, ProcessingRequest, ProcessingResponse,
    ProtocolConfiguration,
};
use super::picker::{Pick, PickError};
use super::picking::Picking;
use super::sent::Sent;
use super::subset::EndpointSubset;
use crate::headers::{client, is_event_stream, request_id};
use crate::metrics::{GatewayMetrics, model_label};
use crate::route::{Miss, Target, resolve_api};
use crate::trace::{self, Spans, TRACEPARENT, TraceContext};
use crate::watch::Watch;

/// Answers to one message. Envoy expects none to a piece that is kept back in full duplex, and
/// several once the whole body is there.
pub(super) type Answers = SmallVec<[ProcessingResponse; 1]>;

/// What has happened to the request so far.
enum Phase {
    /// Nothing is known yet.
    Start,
    /// Its body is being received.
    Body(Box<Incoming>),
    /// It was sent on; the answer is awaited or passing.
    Sent(Box<Sent>),
    /// It holds no prompt, but an endpoint was picked for it.
    Directed(Pick),
    /// It is none of our business, or already answered.
    Passing,
}

/// A request whose body is being received.
struct Incoming {
    endpoint: Endpoint,
    request_id: String,
    client: Client,
    spans: Spans,
    body: BytesMut,
    /// In full duplex the answer to the headers waits for the body, so that it can say where the
    /// request goes.
    held: Option<HeaderMutation>,
}

/// How Envoy sends bodies.
#[derive(Clone, Copy)]
struct Modes {
    request: BodySendMode,
    response: BodySendMode,
}

/// The answers to one stream of messages.
pub(super) struct Session {
    router: Arc<Router>,
    metrics: Arc<GatewayMetrics>,
    max_body_bytes: usize,
    picking: Option<Arc<Picking>>,
    modes: Modes,
    /// Where the request may go; everywhere unless the proxy says otherwise.
    subset: Option<EndpointSubset>,
    phase: Phase,
}

impl Session {
    pub(super) fn new(
        router: Arc<Router>,
        metrics: Arc<GatewayMetrics>,
        max_body_bytes: usize,
        picking: Option<Arc<Picking>>,
    ) -> Self {
        Self {
            router,
            metrics,
            max_body_bytes,
            picking,
            modes: Modes {
                request: BodySendMode::Buffered,
                response: BodySendMode::Buffered,
            },
            subset: None,
            phase: Phase::Start,
        }
    }

    /// The answers to a message. Dropping the future drops the work on it.
    pub(super) async fn answer(&mut self, message: ProcessingRequest) -> Answers {
        if let Some(config) = message.protocol_config {
            self.modes = Modes::of(config);
        }
        if let Some(context) = message.metadata_context {
            self.learn(&context);
        }
        match message.request {
            Some(Request::RequestHeaders(headers)) => self.request_headers(headers),
            Some(Request::RequestBody(body)) => self.request_body(body).await,
            Some(Request::RequestTrailers(_)) => self.request_trailers().await,
            Some(Request::ResponseHeaders(headers)) => smallvec![self.response_headers(headers)],
            Some(Request::ResponseBody(body)) => self.response_body(body).await,
            Some(Request::ResponseTrailers(_)) => self.response_trailers().await,
            None => Answers::new(),
        }
    }

    /// Takes over what the proxy says about endpoints.
    fn learn(&mut self, context: &Metadata) {
        if let Some(subset) = destination::subset(context) {
            self.subset = Some(subset);
        }
        if let (Some(pick), Some(served)) = (self.phase.pick(), destination::served(context)) {
            pick.assignment.served_by(served);
        }
    }

    fn request_headers(&mut self, message: HttpHeaders) -> Answers {
        let method = convert::pseudo(message.headers.as_ref(), ":method").unwrap_or_default();
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let path = convert::pseudo(message.headers.as_ref(), ":path").unwrap_or_default();
        let path = path.to_owned();
        let headers = convert::headers(message.headers);
        self.phase = Phase::Passing;
        let endpoint = match resolve_api(&method, &path) {
            None => return smallvec![self.pass(&headers)],
            Some(Ok(Target::Routed(endpoint))) => endpoint,
            Some(Ok(Target::Model(name))) => return smallvec![answer::model(&self.router, name)],
            Some(Ok(_)) => return smallvec![answer::models(&self.router)],
            Some(Err(Miss::Path)) => {
                // A query may hold secrets.
                let path = path.split('?').next().unwrap_or_default();
                let message = format!("there is no `{path}` here");
                return smallvec![answer::reject(ErrorKind::NotFound, message, None)];
            }
            Some(Err(Miss::Method(allowed))) => {
                let message = format!("method {method} is not allowed; use {allowed}");
                let kind = ErrorKind::MethodNotAllowed;
                return smallvec![answer::reject(kind, message, Some(allowed))];
            }
        };
        if message.end_of_stream {
            let message = "the request has no body".to_owned();
            return smallvec![self.refuse(ErrorKind::InvalidRequest, message)];
        }
        let request_id = request_id(&headers);
        let received = trace::received(&method, &path, &request_id);
        let trace = TraceContext::of(&received, &headers);
        let parent = trace.as_ref().map(TraceContext::header);
        let mut set = vec![("accept-encoding", "identity"), (REQUEST_ID, &request_id)];
        set.extend(parent.as_deref().map(|parent| (TRACEPARENT, parent)));
        let mutation = self.pass_on(&headers, &set);
        let (held, answers) = match self.modes.request {
            BodySendMode::FullDuplexStreamed => (Some(mutation), Answers::new()),
            // Envoy sends the headers on before a slow body is complete, and then they could not
            // say where the request goes. Where Envoy does not let us choose, pieces come.
            BodySendMode::Streamed => {
                let answer = convert::request_headers(mutation);
                (
                    None,
                    smallvec![convert::buffered(answer, self.modes.response)],
                )
            }
            _ => (None, smallvec![convert::request_headers(mutation)]),
        };
        self.phase = Phase::Body(Box::new(Incoming {
            endpoint,
            request_id,
            client: client(&self.router, &headers),
            spans: Spans::new(received, trace.as_ref()),
            body: BytesMut::new(),
            held,
        }));
        answers
    }

    /// The request's headers without those that only we may write.
    fn pass_on(&self, headers: &HeaderMap, set: &[(&str, &str)]) -> HeaderMutation {
        let mut mutation = answer::pass_on(headers, set);
        if self.picking.is_some() {
            let steering = destination::steering_headers(headers);
            mutation.remove_headers.extend(steering);
        }
        mutation
    }

    /// A request that is none of the router's business; it needs an endpoint nevertheless.
    fn pass(&mut self, headers: &HeaderMap) -> ProcessingResponse {
        let mut answer = convert::request_headers(self.pass_on(headers, &[]));
        let Some(picking) = &self.picking else {
            return answer;
        };
        match picking.pick_any(self.subset.as_ref()) {
            Ok(pick) => {
                destination::direct(&mut answer, &pick);
                self.phase = Phase::Directed(pick);
                answer
            }
            Err(error) => answer::unpicked(&error),
        }
    }

    async fn request_body(&mut self, message: HttpBody) -> Answers {
        let Phase::Body(incoming) = &mut self.phase else {
            return smallvec![convert::request_body(answer::unchanged(
                message,
                self.modes.request
            ))];
        };
        let partial = self.modes.request == BodySendMode::BufferedPartial && !message.end_of_stream;
        if partial || incoming.body.len() + message.body.len() > self.max_body_bytes {
            let limit = self.max_body_bytes;
            let message = match partial {
                true => "the request body is larger than the proxy's buffer".to_owned(),
                false => format!("the request body is larger than {limit} bytes"),
            };
            return smallvec![self.refuse(ErrorKind::PayloadTooLarge, message)];
        }
        match self.modes.request {
            BodySendMode::Streamed | BodySendMode::FullDuplexStreamed => {
                incoming.body.extend_from_slice(&message.body);
                if message.end_of_stream {
                    let body = incoming.body.split().freeze();
                    return self.route(body, false).await;
                }
                // A piece that is kept back: Envoy sends nothing in its place. In full duplex it
                // expects no answer until there is something to send.
                match self.modes.request {
                    BodySendMode::Streamed => smallvec![convert::request_body(answer::kept_back())],
                    _ => Answers::new(),
                }
            }
            _ => self.route(message.body, false).await,
        }
    }

    /// In full duplex the body may end with trailers; in other modes they come after it was
    /// answered, and Envoy takes no more of a streamed one.
    async fn request_trailers(&mut self) -> Answers {
        match (&mut self.phase, self.modes.request) {
            (Phase::Body(incoming), BodySendMode::FullDuplexStreamed) => {
                let body = incoming.body.split().freeze();
                self.route(body, true).await
            }
            (Phase::Body(_), _) => {
                let message = "a streamed request body must not have trailers".to_owned();
                smallvec![self.refuse(ErrorKind::InvalidRequest, message)]
            }
            _ => smallvec![convert::request_trailers()],
        }
    }

    /// The body is complete; `trailers` say so where it did not itself.
    async fn route(&mut self, body: Bytes, trailers: bool) -> Answers {
        let Phase::Body(incoming) = &mut self.phase else {
            return Answers::new();
        };
        let in_flight = self.metrics.enter();
        let request = RouteRequest {
            endpoint: incoming.endpoint,
            body: &body,
            request_id: &incoming.request_id,
        };
        let routing = self.router.route_for(request, &incoming.client);
        let routed = incoming.spans.run(routing).await;
        self.metrics.routed(&self.router, &routed);
        let held = incoming.held.take();
        let (answers, phase) = match routed.routing {
            Routing::Respond(response) => (smallvec![answer::respond(response)], Phase::Passing),
            Routing::Replay(replay) => (smallvec![answer::replayed(replay)], Phase::Passing),
            Routing::Reject(rejection) => (smallvec![answer::rejected(&rejection)], Phase::Passing),
            Routing::Forward(mut forward) => {
                let request = RouteRequest {
                    body: &forward.body,
                    ..request
                };
                let pick = match pick(&self.picking, request, &self.subset).await {
                    Ok(pick) => pick,
                    Err(error) => {
                        let label = model_label(&self.router, &forward.model);
                        self.metrics.failed(label, error.kind().label());
                        self.phase = Phase::Passing;
                        return smallvec![answer::unpicked(&error)];
                    }
                };
                let contents = Contents {
                    mode: self.modes.request,
                    held,
                    trailers,
                };
                let recording = forward.recording.take();
                let (model, id) = (&forward.model, &incoming.request_id);
                let spans = incoming.spans.clone();
                let watch = Watch::new(in_flight, &self.router, model, id, spans).record(recording);
                let (answers, sent) = Sent::on(forward, contents, watch, pick);
                (answers, Phase::Sent(Box::new(sent)))
            }
        };
        self.phase = phase;
        answers
    }

    fn response_headers(&mut self, message: HttpHeaders) -> ProcessingResponse {
        let status = convert::pseudo(message.headers.as_ref(), ":status");
        let status: Option<StatusCode> = status.and_then(|status| status.parse().ok());
        let headers = convert::headers(message.headers);
        if let (Some(pick), Some(502..=504)) = (self.phase.pick(), status.map(|s| s.as_u16())) {
            pick.assignment.failed();
        }
        let events = is_event_stream(&headers);
        // A stream must not wait in Envoy until it is complete.
        let held = matches!(
            self.modes.response,
            BodySendMode::Buffered | BodySendMode::BufferedPartial
        );
        let stream = events && held;
        let ended = message.end_of_stream || self.modes.response == BodySendMode::None;
        let mutation = match &mut self.phase {
            Phase::Sent(sent) => sent.headers(&headers, status.unwrap_or(StatusCode::OK)),
            _ => convert::mutation([], []),
        };
        if stream {
            self.modes.response = BodySendMode::Streamed;
        }
        if ended {
            self.complete();
        }
        convert::response_headers(mutation, stream)
    }

    async fn response_body(&mut self, message: HttpBody) -> Answers {
        let (mode, ended) = (self.modes.response, message.end_of_stream);
        let answers = match &mut self.phase {
            Phase::Sent(sent) => sent.body(message, mode).await,
            _ => smallvec![convert::response_body(answer::unchanged(message, mode))],
        };
        if ended {
            self.complete();
        }
        answers
    }

    /// In full duplex the body may end with trailers; what was kept back goes before them.
    async fn response_trailers(&mut self) -> Answers {
        let mut answers = match &mut self.phase {
            Phase::Sent(sent) => sent.rest(self.modes.response).await,
            _ => Answers::new(),
        };
        self.complete();
        answers.push(convert::response_trailers());
        answers
    }

    /// The answer is complete.
    fn complete(&mut self) {
        match &mut self.phase {
            Phase::Sent(sent) => sent.complete(),
            Phase::Directed(_) => self.phase = Phase::Passing,
            Phase::Start | Phase::Body(_) | Phase::Passing => {}
        }
    }

    /// Refuses a request before the router has seen it.
    fn refuse(&mut self, kind: ErrorKind, message: String) -> ProcessingResponse {
        self.phase = Phase::Passing;
        self.metrics.failed("unknown".to_owned(), "parse_error");
        answer::reject(kind, message, None)
    }

    /// The work on a message panicked; the panic hook has logged why.
    pub(super) fn panicked(&mut self) -> ProcessingResponse {
        self.phase = Phase::Passing;
        self.metrics.failed("unknown".to_owned(), "internal");
        answer::reject(ErrorKind::Internal, "internal error".to_owned(), None)
    }
}

impl Drop for Session {
    /// Envoy ends the stream when the client leaves.
    fn drop(&mut self) {
        if matches!(self.phase, Phase::Body(_)) {
            self.metrics.failed("unknown".to_owned(), "cancellation");
        }
    }
}

impl Phase {
    /// The endpoint that the request was sent to, if that was ours to say.
    fn pick(&mut self) -> Option<&mut Pick> {
        match self {
            Self::Sent(sent) => sent.pick(),
            Self::Directed(pick) => Some(pick),
            Self::Start | Self::Body(_) | Self::Passing => None,
        }
    }
}

impl Modes {
    fn of(config: ProtocolConfiguration) -> Self {
        Self {
            request: config.request_body_mode(),
            response: config.response_body_mode(),
        }
    }
}

/// The endpoint for a prompt, if it is ours to pick.
async fn pick(
    picking: &Option<Arc<Picking>>,
    request: RouteRequest<'_>,
    subset: &Option<EndpointSubset>,
) -> Result<Option<Pick>, PickError> {
    match picking {
        Some(picking) => picking.pick(request, subset.as_ref()).await.map(Some),
        None => Ok(None),
    }
}
