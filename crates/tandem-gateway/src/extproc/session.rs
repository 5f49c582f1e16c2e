//! One HTTP request as Envoy shows it: its headers, its body, and the same of its answer.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use smallvec::{SmallVec, smallvec};
use tandem_protocol::ErrorKind;
use tandem_protocol::header::REQUEST_ID;
use tandem_semantic_router::{
    AnswerScan, AnswerScanner, Client, Endpoint, Forward, RouteRequest, Router, Routing,
};

use super::answer::{self, Contents};
use super::convert;
use super::messages::processing_mode::BodySendMode;
use super::messages::processing_request::Request;
use super::messages::{
    HeaderMutation, HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
    ProtocolConfiguration,
};
use crate::headers::{RESPONSE_PATH, SCHEMA, client, is_event_stream, request_id};
use crate::metrics::GatewayMetrics;
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
    client: Client,
    spans: Spans,
    body: BytesMut,
    /// In full duplex the answer to the headers waits for the body, so that it can say where the
    /// request goes.
    held: Option<HeaderMutation>,
}

/// A request that was sent on.
struct Sent {
    watch: Watch,
    scan: Scan,
    response_headers: Vec<(&'static str, String)>,
}

/// Whether the answer is looked at.
enum Scan {
    /// It is not.
    None,
    /// It will be, if it is one that a model gave.
    Awaited(AnswerScan),
    /// It is.
    Passing(AnswerScanner),
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
    modes: Modes,
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
            modes: Modes {
                request: BodySendMode::Buffered,
                response: BodySendMode::Buffered,
            },
            phase: Phase::Start,
        }
    }

    /// The answers to a message. Dropping the future drops the work on it.
    pub(super) async fn answer(&mut self, message: ProcessingRequest) -> Answers {
        if let Some(config) = message.protocol_config {
            self.modes = Modes::of(config);
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

    fn request_headers(&mut self, message: HttpHeaders) -> Answers {
        let method = convert::pseudo(message.headers.as_ref(), ":method").unwrap_or_default();
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let path = convert::pseudo(message.headers.as_ref(), ":path").unwrap_or_default();
        let path = path.to_owned();
        let headers = convert::headers(message.headers);
        self.phase = Phase::Passing;
        let endpoint = match resolve_api(&method, &path) {
            None => {
                let mutation = answer::pass_on(&headers, &[]);
                return smallvec![convert::request_headers(mutation)];
            }
            Some(Ok(Target::Routed(endpoint))) => endpoint,
            Some(Ok(Target::Model(name))) => return smallvec![answer::model(&self.router, name)],
            Some(Ok(_)) => return smallvec![answer::models(&self.router)],
            Some(Err(Miss::Path)) => {
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
        let mutation = answer::pass_on(&headers, &set);
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
        self.phase = Phase::Body(Incoming {
            endpoint,
            request_id,
            client: client(&self.router, &headers),
            spans: Spans::new(received, trace.as_ref()),
            body: BytesMut::new(),
            held,
        });
        answers
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
            Routing::Reject(rejection) => (smallvec![answer::rejected(&rejection)], Phase::Passing),
            Routing::Forward(forward) => {
                let contents = Contents {
                    mode: self.modes.request,
                    held,
                    trailers,
                };
                let (model, id) = (&forward.model, &incoming.request_id);
                let spans = incoming.spans.clone();
                let sent = Sent {
                    watch: Watch::new(in_flight, &self.router, model, id, spans),
                    scan: Scan::None,
                    response_headers: Vec::new(),
                };
                sent_on(forward, contents, sent)
            }
        };
        self.phase = phase;
        answers
    }

    fn response_headers(&mut self, message: HttpHeaders) -> ProcessingResponse {
        let status = convert::pseudo(message.headers.as_ref(), ":status");
        let status = status.and_then(|status| status.parse().ok());
        let headers = convert::headers(message.headers);
        let events = is_event_stream(&headers);
        // A stream must not wait in Envoy until it is complete.
        let held = matches!(
            self.modes.response,
            BodySendMode::Buffered | BodySendMode::BufferedPartial
        );
        let stream = events && held;
        let Phase::Sent(sent) = &mut self.phase else {
            return convert::response_headers(convert::mutation([], []), stream);
        };
        let status = status.unwrap_or(StatusCode::OK);
        sent.watch.begin(status, events);
        let scanned = sent.scan.begin(status.is_success(), events);
        let added = sent.response_headers.iter();
        let added = added.filter(|_| status.is_success());
        let set = added.map(|(name, value)| (*name, value.as_str()));
        let mut set: Vec<(&str, &str)> = set.collect();
        set.push(SCHEMA);
        set.push((RESPONSE_PATH, "upstream"));
        set.push((REQUEST_ID, sent.watch.request_id()));
        let mut remove = answer::router_headers(&headers);
        if scanned {
            // How long it will be is not known yet, and later is too late to say so.
            remove.push(CONTENT_LENGTH.as_str().to_owned());
        }
        let mutation = convert::mutation(remove, set);
        if message.end_of_stream || self.modes.response == BodySendMode::None {
            sent.complete();
        }
        convert::response_headers(mutation, stream)
    }

    async fn response_body(&mut self, message: HttpBody) -> Answers {
        let mode = self.modes.response;
        let Phase::Sent(sent) = &mut self.phase else {
            return smallvec![convert::response_body(answer::unchanged(message, mode))];
        };
        sent.watch.piece(&message.body);
        let answers = match &mut sent.scan {
            Scan::Passing(scanner) => {
                let mut out = scanner.piece(message.body.clone()).await;
                if message.end_of_stream {
                    let rest = scanner.finish().await;
                    out = if out.is_empty() {
                        rest
                    } else {
                        [out, rest].concat().into()
                    };
                }
                answer::scanned(&message, out, scanner, mode)
            }
            _ => smallvec![convert::response_body(answer::unchanged(
                message.clone(),
                mode
            ))],
        };
        if message.end_of_stream {
            sent.complete();
        }
        answers
    }

    /// In full duplex the body may end with trailers; what was kept back goes before them.
    async fn response_trailers(&mut self) -> Answers {
        let mut answers = Answers::new();
        if let Phase::Sent(sent) = &mut self.phase {
            if let Scan::Passing(scanner) = &mut sent.scan
                && self.modes.response == BodySendMode::FullDuplexStreamed
            {
                let out = scanner.finish().await;
                let rest = HttpBody::default();
                answers = answer::scanned(&rest, out, scanner, self.modes.response);
            }
            sent.complete();
        }
        answers.push(convert::response_trailers());
        answers
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

impl Sent {
    fn complete(&mut self) {
        if let Scan::Passing(scanner) = &self.scan {
            self.watch.scanned(scanner);
        }
        self.watch.complete();
    }
}

impl Scan {
    /// The answer begins; whether it is looked at.
    fn begin(&mut self, success: bool, events: bool) -> bool {
        *self = match std::mem::replace(self, Self::None) {
            Self::Awaited(scan) if success => Self::Passing(scan.begin(events)),
            _ => Self::None,
        };
        matches!(self, Self::Passing(_))
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

impl Modes {
    fn of(config: ProtocolConfiguration) -> Self {
        Self {
            request: config.request_body_mode(),
            response: config.response_body_mode(),
        }
    }
}

fn sent_on(forward: Forward, contents: Contents, mut sent: Sent) -> (Answers, Phase) {
    let answers = answer::send_on(&forward, contents);
    sent.response_headers = forward.response_headers;
    sent.scan = forward.scan.map_or(Scan::None, Scan::Awaited);
    (answers, Phase::Sent(sent))
}
