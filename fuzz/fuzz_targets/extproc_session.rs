//! Whatever Envoy sends, it gets answers that it can use.

#![no_main]

use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tandem_gateway::GatewayMetrics;
use tandem_gateway::fuzzing::Session;
use tandem_gateway::fuzzing::messages::processing_mode::BodySendMode;
use tandem_gateway::fuzzing::messages::processing_request::Request;
use tandem_gateway::fuzzing::messages::processing_response::Response;
use tandem_gateway::fuzzing::messages::{
    HeaderMap, HeaderMutation, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest,
    ProcessingResponse, ProtocolConfiguration,
};
use tandem_semantic_router::testing::FixedClassifier;
use tandem_semantic_router::{Router, RouterConfig};
use tokio::runtime::{Builder, Runtime};

const CONFIG: &str = "
default_model: m
model_config: {m: {}}
tandem:
  security:
    pii: {scan_response: true, action: redact}
    response_jailbreak: {action: block}
";

#[derive(Debug, Arbitrary)]
struct Exchange<'a> {
    request: Mode,
    response: Mode,
    messages: Vec<Message<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
enum Mode {
    None,
    Streamed,
    Buffered,
    BufferedPartial,
    FullDuplex,
}

#[derive(Debug, Arbitrary)]
enum Message<'a> {
    Chat {
        end: bool,
    },
    RequestHeaders {
        headers: Vec<(&'a str, &'a [u8])>,
        end: bool,
    },
    RequestBody {
        body: Body<'a>,
        end: bool,
    },
    RequestTrailers,
    ResponseHeaders {
        headers: Vec<(&'a str, &'a [u8])>,
        events: bool,
        end: bool,
    },
    ResponseBody {
        body: &'a [u8],
        end: bool,
    },
    ResponseTrailers,
    Nothing,
}

#[derive(Debug, Arbitrary)]
enum Body<'a> {
    Chat(&'a str),
    Raw(&'a [u8]),
}

struct Stage {
    runtime: Runtime,
    router: Arc<Router>,
    metrics: Arc<GatewayMetrics>,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let config = RouterConfig::parse(CONFIG, &|_| None).expect("the configuration is right");
    let config = config.config.with_default_security();
    let classifier = FixedClassifier::default()
        .jailbreak("ignore", 0.99)
        .pii("123", "US_SSN", 0.99);
    let runtime = Builder::new_current_thread().enable_time().build();
    Stage {
        runtime: runtime.expect("a thread can have a runtime"),
        router: Arc::new(Router::new(config, Arc::new(classifier))),
        metrics: Arc::new(GatewayMetrics::register(&mut Default::default())),
    }
});

fuzz_target!(|exchange: Exchange<'_>| {
    let stage = &*STAGE;
    let mut session = Session::new(
        Arc::clone(&stage.router),
        Arc::clone(&stage.metrics),
        1 << 16,
    );
    let mut config = Some(ProtocolConfiguration {
        request_body_mode: exchange.request.on_the_wire().into(),
        response_body_mode: exchange.response.on_the_wire().into(),
    });
    for message in &exchange.messages {
        let request = message.on_the_wire();
        let answers = stage.runtime.block_on(session.answer(ProcessingRequest {
            request: request.clone(),
            protocol_config: config.take(),
            metadata_context: None,
        }));
        let shown = match message {
            Message::ResponseHeaders { .. } => None,
            Message::ResponseBody { .. } | Message::ResponseTrailers => Some(exchange.response),
            _ => Some(exchange.request),
        };
        // Then what is sent and what is answered are not in step.
        let held = shown == Some(Mode::FullDuplex);
        match &request {
            None => assert!(answers.is_empty()),
            Some(_) if held => {}
            Some(_) => assert_eq!(answers.len(), 1, "{message:?}"),
        }
        for answer in &answers {
            check(answer, request.as_ref(), held);
        }
    }
});

fn check(answer: &ProcessingResponse, request: Option<&Request>, held: bool) {
    let response = answer
        .response
        .as_ref()
        .expect("an answer says what it answers");
    let fits = matches!(
        (request, response),
        (_, Response::ImmediateResponse(_))
            | (
                Some(Request::RequestHeaders(_)),
                Response::RequestHeaders(_)
            )
            | (Some(Request::RequestBody(_)), Response::RequestBody(_))
            | (
                Some(Request::RequestTrailers(_)),
                Response::RequestTrailers(_)
            )
            | (
                Some(Request::ResponseHeaders(_)),
                Response::ResponseHeaders(_)
            )
            | (Some(Request::ResponseBody(_)), Response::ResponseBody(_))
            | (
                Some(Request::ResponseTrailers(_)),
                Response::ResponseTrailers(_)
            )
    );
    assert!(fits || held, "{request:?} answered by {response:?}");
    let mutation = match response {
        Response::RequestHeaders(answer) | Response::ResponseHeaders(answer) => answer
            .response
            .as_ref()
            .and_then(|common| common.header_mutation.as_ref()),
        Response::RequestBody(answer) | Response::ResponseBody(answer) => answer
            .response
            .as_ref()
            .and_then(|common| common.header_mutation.as_ref()),
        Response::RequestTrailers(answer) | Response::ResponseTrailers(answer) => {
            answer.header_mutation.as_ref()
        }
        Response::ImmediateResponse(answer) => answer.headers.as_ref(),
    };
    if let Some(mutation) = mutation {
        check_headers(mutation);
    }
}

/// Envoy takes either form of a value, and refuses headers that have both.
fn check_headers(mutation: &HeaderMutation) {
    for option in &mutation.set_headers {
        let header = option.header.as_ref().expect("a header to set");
        assert!(
            header.value.is_empty() || header.raw_value.is_empty(),
            "{header:?}"
        );
        assert!(!header.key.is_empty());
    }
}

impl Mode {
    fn on_the_wire(self) -> BodySendMode {
        match self {
            Self::None => BodySendMode::None,
            Self::Streamed => BodySendMode::Streamed,
            Self::Buffered => BodySendMode::Buffered,
            Self::BufferedPartial => BodySendMode::BufferedPartial,
            Self::FullDuplex => BodySendMode::FullDuplexStreamed,
        }
    }
}

impl Message<'_> {
    fn on_the_wire(&self) -> Option<Request> {
        Some(match self {
            Self::Chat { end } => {
                let headers = [
                    (":method", &b"POST"[..]),
                    (":path", b"/v1/chat/completions"),
                ];
                Request::RequestHeaders(http_headers(&headers, *end))
            }
            Self::RequestHeaders { headers, end } => {
                Request::RequestHeaders(http_headers(headers, *end))
            }
            Self::RequestBody { body, end } => Request::RequestBody(http_body(body.bytes(), *end)),
            Self::RequestTrailers => Request::RequestTrailers(HttpTrailers::default()),
            Self::ResponseHeaders {
                headers,
                events,
                end,
            } => {
                let mut headers = headers.clone();
                if *events {
                    headers.push(("content-type", b"text/event-stream"));
                }
                Request::ResponseHeaders(http_headers(&headers, *end))
            }
            Self::ResponseBody { body, end } => {
                Request::ResponseBody(http_body(body.to_vec(), *end))
            }
            Self::ResponseTrailers => Request::ResponseTrailers(HttpTrailers::default()),
            Self::Nothing => return None,
        })
    }
}

impl Body<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Chat(text) => {
                let messages = serde_json::json!([{"role": "user", "content": text}]);
                serde_json::json!({"model": "auto", "messages": messages})
                    .to_string()
                    .into()
            }
            Self::Raw(bytes) => bytes.to_vec(),
        }
    }
}

fn http_headers(headers: &[(&str, &[u8])], end_of_stream: bool) -> HttpHeaders {
    let headers = headers.iter().map(|(name, value)| HeaderValue {
        key: (*name).to_owned(),
        value: String::new(),
        raw_value: Bytes::copy_from_slice(value),
    });
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: headers.collect(),
        }),
        end_of_stream,
    }
}

fn http_body(body: Vec<u8>, end_of_stream: bool) -> HttpBody {
    HttpBody {
        body: body.into(),
        end_of_stream,
    }
}
