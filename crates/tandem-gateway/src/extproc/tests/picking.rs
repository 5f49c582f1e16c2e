use std::collections::HashMap;

use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tandem_protocol::openai::InvalidParameter;
use tandem_semantic_router::RouteRequest;

use super::super::messages::value::Kind;
use super::super::messages::{ListValue, Metadata, Struct, Value};
use super::*;

const DESTINATION: &str = "x-gateway-destination-endpoint";
const SERVED: &str = "x-gateway-destination-endpoint-served";
const MODES: [BodySendMode; 3] = [
    BodySendMode::Buffered,
    BodySendMode::Streamed,
    BodySendMode::FullDuplexStreamed,
];

/// Picks the first allowed of its endpoints, or fails as told; remembers everything.
#[derive(Default)]
struct Fake {
    endpoints: Vec<&'static str>,
    error: Option<PickError>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    /// Bodies that an endpoint was picked for.
    bodies: Vec<String>,
    /// What happened to the requests.
    events: Vec<String>,
}

struct Running(Arc<Mutex<Seen>>);

impl Running {
    fn note(&self, event: &str) {
        self.0.lock().events.push(event.to_owned());
    }
}

impl Assignment for Running {
    fn prefill_completed(&mut self) {
        self.note("prefilled");
    }

    fn served_by(&mut self, endpoint: &str) {
        self.note(&format!("served by {endpoint}"));
    }

    fn failed(&mut self) {
        self.note("failed");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.note("ended");
    }
}

impl EndpointPicker for Fake {
    fn pick<'a>(
        &'a self,
        request: RouteRequest<'a>,
        subset: Option<&'a EndpointSubset>,
    ) -> BoxFuture<'a, Result<Pick, PickError>> {
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        self.seen.lock().bodies.push(body);
        Box::pin(ready(self.pick_any(subset)))
    }

    fn pick_any(&self, subset: Option<&EndpointSubset>) -> Result<Pick, PickError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let allowed = |endpoint: &&str| subset.is_none_or(|subset| subset.allows(endpoint));
        let mut endpoints = self.endpoints.iter().copied().filter(allowed);
        let first = endpoints.next();
        let first = first.ok_or(PickError::NoEndpoint("nobody".to_owned()))?;
        Ok(Pick {
            endpoint: first.to_owned(),
            fallbacks: endpoints.map(str::to_owned).collect(),
            assignment: Box::new(Running(Arc::clone(&self.seen))),
        })
    }

    fn is_ready(&self) -> bool {
        !self.endpoints.is_empty()
    }
}

/// A server whose picker has these endpoints, and what the picker saw.
async fn picking(endpoints: &[&'static str]) -> (Server, Arc<Mutex<Seen>>) {
    let fake = Fake {
        endpoints: endpoints.to_vec(),
        ..Fake::default()
    };
    let seen = Arc::clone(&fake.seen);
    (start_with(Some(Arc::new(fake))).await, seen)
}

fn text(text: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

fn context(namespace: &str, name: &str, value: Value) -> Metadata {
    let fields = HashMap::from([(name.to_owned(), value)]);
    Metadata {
        filter_metadata: HashMap::from([(namespace.to_owned(), Struct { fields })]),
    }
}

/// What the answer tells other filters.
fn told(answer: &ProcessingResponse) -> Option<String> {
    let Kind::StructValue(inner) = answer.dynamic_metadata.clone()?.fields["envoy.lb"]
        .kind
        .clone()?
    else {
        panic!("{answer:?}");
    };
    match inner.fields[DESTINATION].kind.clone()? {
        Kind::StringValue(text) => Some(text),
        other => panic!("{other:?}"),
    }
}

/// The changes in an answer that lets a request go on.
fn changes(answer: &ProcessingResponse) -> CommonResponse {
    match answer.response.clone() {
        Some(Answer::RequestHeaders(headers)) => headers.response.unwrap(),
        Some(Answer::RequestBody(body)) => body.response.unwrap(),
        other => panic!("{other:?}"),
    }
}

impl Exchange {
    fn send_with(&self, message: Message, metadata_context: Metadata) {
        let message = ProcessingRequest {
            request: Some(message),
            metadata_context: Some(metadata_context),
            protocol_config: None,
        };
        self.sender.send(message).unwrap();
    }

    /// Shows a chat request; returns the answer that directs it.
    async fn ask(&mut self, mode: BodySendMode, more: &[(&str, &str)]) -> ProcessingResponse {
        let all: Vec<_> = CHAT.iter().chain(more).copied().collect();
        self.send(Message::RequestHeaders(headers(&all, false)), Some(mode));
        if mode != BodySendMode::FullDuplexStreamed {
            let first = self.answer().await;
            assert_eq!(told(&first), None, "nothing is known before the body");
        }
        self.send(Message::RequestBody(piece(MATH, true)), None);
        self.answer().await
    }
}

async fn eventually(seen: &Mutex<Seen>, events: &[&str]) {
    for _ in 0..200 {
        if seen.lock().events == events {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} is not {events:?}", seen.lock().events);
}

#[tokio::test]
async fn every_mode_names_the_endpoint_twice() {
    let (server, seen) = picking(&["10.0.0.1:80", "10.0.0.2:80"]).await;
    for mode in MODES {
        let answer = server.open().await.ask(mode, &[]).await;
        assert_eq!(told(&answer).as_deref(), Some("10.0.0.1:80,10.0.0.2:80"));
        let changes = changes(&answer);
        assert!(changes.clear_route_cache);
        let mutation = changes.header_mutation.unwrap();
        assert!(has(&mutation, DESTINATION, "10.0.0.1:80,10.0.0.2:80"));
        assert!(has(&mutation, "x-selected-model", "big"), "one pass");
    }
    let bodies = seen.lock().bodies.clone();
    assert_eq!(bodies, [MATH_FOR_BIG; 3], "the body that the server gets");
    let page = server.metrics();
    let line = r#"tandem_router_endpoint_pick_seconds_count{result="picked"} 3"#;
    assert!(page.contains(line), "{page}");
}

#[tokio::test]
async fn clients_cannot_steer() {
    let (server, _) = picking(&["10.0.0.1:80"]).await;
    let forged = [(DESTINATION, "6.6.6.6:6"), (SERVED, "6.6.6.6:6")];
    let mut exchange = server.open().await;
    let mutation = exchange.begin(Some(BodySendMode::Buffered), &forged).await;
    assert_eq!(mutation.remove_headers, [DESTINATION, SERVED]);
    let answer = server
        .open()
        .await
        .ask(BodySendMode::FullDuplexStreamed, &forged)
        .await;
    let mutation = changes(&answer).header_mutation.unwrap();
    assert!(mutation.remove_headers.contains(&SERVED.to_owned()));
    let found = set(&mutation);
    let found = found.iter().filter(|(name, _)| name == DESTINATION);
    let found: Vec<_> = found.map(|(_, value)| value).collect();
    assert_eq!(found, ["10.0.0.1:80"]);
    // Without a picker the headers may be another filter's, and stay.
    let mutation = start().await.open().await.begin(None, &forged).await;
    assert!(mutation.remove_headers.is_empty());
}

#[tokio::test]
async fn subsets_limit_the_choice() {
    let (server, _) = picking(&["10.0.0.1:80", "10.0.0.2:80"]).await;
    let check = async |namespace: &str, value: Value, want: Option<&str>| {
        let name = "x-gateway-destination-endpoint-subset";
        let mut exchange = server.open().await;
        let shown = Message::RequestHeaders(headers(&CHAT, false));
        exchange.send_with(shown, context(namespace, name, value.clone()));
        exchange.answer().await;
        exchange.send(Message::RequestBody(piece(MATH, true)), None);
        let answer = exchange.answer().await;
        assert_eq!(told(&answer).as_deref(), want, "{value:?}");
        if want.is_none() {
            assert_eq!(immediate(answer.response).status.unwrap().code, 503);
        }
    };
    let list = |entries: &[&str]| Value {
        kind: Some(Kind::ListValue(ListValue {
            values: entries.iter().map(|entry| text(entry)).collect(),
        })),
    };
    let hint = "envoy.lb.subset_hint";
    let both = Some("10.0.0.1:80,10.0.0.2:80");
    check(hint, list(&["10.0.0.2:80"]), Some("10.0.0.2:80")).await;
    check(hint, text("10.0.0.2, 10.0.0.1"), both).await;
    check(hint, text("10.0.0.3:80"), None).await;
    check(hint, list(&[]), None).await;
    check(hint, Value { kind: None }, None).await;
    check("another", list(&[]), both).await;
}

#[tokio::test]
async fn requests_without_a_prompt_get_an_endpoint_at_once() {
    let (server, seen) = picking(&["10.0.0.1:80"]).await;
    for mode in MODES {
        let mut exchange = server.open().await;
        let pairs = [
            (":method", "GET"),
            (":path", "/version"),
            (DESTINATION, "x"),
        ];
        let shown = Message::RequestHeaders(headers(&pairs, true));
        exchange.send(shown, Some(mode));
        let answer = exchange.answer().await;
        assert_eq!(told(&answer).as_deref(), Some("10.0.0.1:80"));
        assert!(changes(&answer).clear_route_cache);
        let shown = headers(&[(":status", "200")], false);
        exchange.send(Message::ResponseHeaders(shown), None);
        exchange.answer().await;
        exchange.send(Message::ResponseBody(piece("1", true)), None);
        exchange.answer().await;
        assert_eq!(std::mem::take(&mut seen.lock().events), ["ended"]);
    }
    // The router answers by itself what it knows better.
    let pairs = [(":method", "GET"), (":path", "/v1/models")];
    let models = server.open().await.immediate(&pairs, true).await;
    assert_eq!(models.status.unwrap().code, 200);
    assert!(seen.lock().bodies.is_empty());
}

#[tokio::test]
async fn why_nobody_was_picked_is_told() {
    let message = || "why".to_owned();
    let invalid = InvalidParameter::new("messages", "why");
    let cases = [
        (PickError::NoEndpoint(message()), 503, Some("1")),
        (PickError::Overloaded(message()), 429, Some("1")),
        (PickError::UnknownModel(message()), 404, None),
        (PickError::Invalid(invalid), 400, None),
        (PickError::Internal(message()), 500, None),
    ];
    for (error, status, retry_after) in cases {
        let fake = Fake {
            error: Some(error.clone()),
            ..Fake::default()
        };
        let server = start_with(Some(Arc::new(fake))).await;
        for mode in MODES {
            let answer = server.open().await.ask(mode, &[]).await;
            let response = immediate(answer.response);
            assert_eq!(response.status.unwrap().code, status, "{error:?}");
            let set = set(&response.headers.unwrap());
            let found = set.iter().find(|(name, _)| name == "retry-after");
            let found = found.map(|(_, value)| value.as_str());
            assert_eq!(found, retry_after, "{error:?}");
            let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(body["error"]["message"], "why");
        }
        let label = error.kind().label();
        let page = server.metrics();
        let line = format!(r#"llm_request_errors_total{{model="big",reason="{label}"}} 3"#);
        assert!(page.contains(&line), "{line} is missing in\n{page}");
        assert!(page.contains("tandem_gateway_requests_in_flight 0"));
    }
}

#[tokio::test]
async fn what_the_router_answers_itself_needs_no_endpoint() {
    let (server, seen) = picking(&[]).await;
    let mut exchange = server.open().await;
    exchange.begin(None, &[]).await;
    let refused = r#"{"model":"small","messages":[{"role":"user","content":"123-45-6789"}]}"#;
    let response = immediate(exchange.body(refused, true).await);
    assert_eq!(response.status.unwrap().code, 200);
    assert_eq!(*seen.lock(), Seen::default());
}

#[tokio::test]
async fn the_answer_is_accounted_to_who_served() {
    let (server, seen) = picking(&["10.0.0.1:80"]).await;
    let mut exchange = server.open().await;
    exchange.ask(BodySendMode::Buffered, &[]).await;
    let shown = headers(&[(":status", "200")], false);
    let served = context("envoy.lb", SERVED, text("10.0.0.2:80"));
    exchange.send_with(Message::ResponseHeaders(shown), served);
    exchange.answer().await;
    assert_eq!(seen.lock().events, ["served by 10.0.0.2:80"]);
    for end in [false, true] {
        exchange.send(Message::ResponseBody(piece("x", end)), None);
        exchange.answer().await;
    }
    let all = ["served by 10.0.0.2:80", "prefilled", "prefilled", "ended"];
    assert_eq!(seen.lock().events, all);
}

#[tokio::test]
async fn failures_and_clients_that_leave_end_the_request() {
    let (server, seen) = picking(&["10.0.0.1:80"]).await;
    let mut exchange = server.open().await;
    exchange.ask(BodySendMode::Buffered, &[]).await;
    let shown = headers(&[(":status", "503")], false);
    exchange.send(Message::ResponseHeaders(shown), None);
    exchange.answer().await;
    assert_eq!(seen.lock().events, ["failed"]);
    drop(exchange);
    eventually(&seen, &["failed", "ended"]).await;
    // A request that is wrong says nothing of its server.
    let mut exchange = server.open().await;
    exchange.ask(BodySendMode::Buffered, &[]).await;
    let shown = headers(&[(":status", "400")], false);
    exchange.send(Message::ResponseHeaders(shown), None);
    exchange.answer().await;
    drop(exchange);
    eventually(&seen, &["failed", "ended", "ended"]).await;
}

#[tokio::test]
async fn readiness_waits_for_the_first_endpoint() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    for (endpoints, ready) in [(&["10.0.0.1:80"][..], true), (&[], false)] {
        let (server, _) = picking(endpoints).await;
        let mut health = HealthClient::new(server.channel.clone());
        for service in HEALTH_SERVICES {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let answer = health.check(request).await.unwrap().into_inner();
            let serving = service != READINESS || ready;
            assert_eq!(answer.status == 1, serving, "{service}");
        }
    }
}
