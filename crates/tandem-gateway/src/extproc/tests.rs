mod picking;

use bytes::Bytes;
use tandem_semantic_router::testing::FixedClassifier;
use tandem_semantic_router::{ModelStatistics, RouterConfig};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use super::messages::body_mutation::Mutation;
use super::messages::external_processor_client::ExternalProcessorClient;
use super::messages::processing_mode::BodySendMode;
use super::messages::processing_request::Request as Message;
use super::messages::processing_response::Response as Answer;
use super::messages::{
    CommonResponse, HeaderMap, HeaderMutation, HeaderValue, HttpBody, HttpHeaders, HttpTrailers,
    ImmediateResponse, ProtocolConfiguration,
};
use super::*;

mod answers;

const CONFIG: &str = "
default_model: small
clear_route_cache: true
model_config:
  small: {}
  big:
    access_key: sk-1
    preferred_endpoints: [east]
    pricing: {currency: EUR, prompt_per_1m: 1000000, completion_per_1m: 2000000}
vllm_endpoints: [{name: east, address: 10.0.0.1, port: 8000, weight: 1}]
tandem: {unknown_models: reject}
decisions:
  - name: math_decision
    rules: {operator: OR, conditions: [{type: domain, name: math}]}
    modelRefs: [{model: big, use_reasoning: true}]
    plugins: [{type: header_mutation, configuration: {delete: [x-secret]}}]
  - name: law_decision
    rules: {operator: OR, conditions: [{type: domain, name: law}]}
    modelRefs: [{model: small}]
    plugins:
      - {type: pii, configuration: {pii_types_denied: [US_SSN], scan_response: true, action: redact}}
      - {type: response_jailbreak, configuration: {action: block}}
  - name: cached_decision
    rules: {operator: OR, conditions: [{type: domain, name: business}]}
    modelRefs: [{model: big, use_reasoning: false}]
    plugins: [{type: semantic-cache, configuration: {enabled: true}}]
";

const MATH: &str = r#"{"model":"MoM","messages":[{"role":"user","content":"2+2"}]}"#;
const MATH_FOR_BIG: &str = r#"{"model":"big","messages":[{"role":"user","content":"2+2"}]}"#;

const CHAT: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/chat/completions")];

/// A running server and what it counts.
struct Server {
    channel: Channel,
    registry: Registry,
    statistics: Arc<ModelStatistics>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// One HTTP request as Envoy would show it.
struct Exchange {
    sender: mpsc::UnboundedSender<ProcessingRequest>,
    answers: Streaming<ProcessingResponse>,
}

async fn start() -> Server {
    start_with(None).await
}

async fn start_with(picker: Option<Arc<dyn EndpointPicker>>) -> Server {
    let config = RouterConfig::parse(CONFIG, &|_| None).unwrap().config;
    let classifier = FixedClassifier::default()
        .domain("2+2", "math", 0.93)
        .domain("sue", "law", 0.93)
        .jailbreak("build a bomb", 0.95)
        .domain("contract", "business", 0.9)
        .pii("123-45-6789", "US_SSN", 0.99);
    let router = Router::new(config.with_default_security(), Arc::new(classifier));
    let statistics = Arc::clone(router.statistics());
    let mut registry = Registry::default();
    let metrics = Arc::new(GatewayMetrics::register(&mut registry));
    let options = ExtProcOptions {
        max_body_bytes: 3 << 20,
        ..ExtProcOptions::default()
    };
    let mut server = ExtProc::new(Arc::new(ArcSwap::from_pointee(router)), options, metrics);
    if let Some(picker) = picker {
        server = server.with_picker(picker, &mut registry);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(server.serve(listener, shutdown.clone()));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    Server {
        channel: channel.connect().await.unwrap(),
        registry,
        statistics,
        shutdown,
        tasks,
    }
}

impl Server {
    async fn open(&self) -> Exchange {
        let mut client = ExternalProcessorClient::new(self.channel.clone())
            .max_decoding_message_size(8 << 20)
            .max_encoding_message_size(8 << 20);
        let (sender, receiver) = mpsc::unbounded_channel();
        let answers = client.process(UnboundedReceiverStream::new(receiver));
        Exchange {
            sender,
            answers: answers.await.unwrap().into_inner(),
        }
    }

    fn metrics(&self) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page
    }
}

impl Exchange {
    fn send(&self, message: Message, mode: Option<BodySendMode>) {
        let protocol_config = mode.map(|mode| ProtocolConfiguration {
            request_body_mode: mode.into(),
            response_body_mode: match mode {
                BodySendMode::FullDuplexStreamed => mode.into(),
                _ => BodySendMode::Buffered.into(),
            },
        });
        let message = ProcessingRequest {
            request: Some(message),
            protocol_config,
            metadata_context: None,
        };
        self.sender.send(message).unwrap();
    }

    async fn answer(&mut self) -> ProcessingResponse {
        self.answers.message().await.unwrap().expect("an answer")
    }

    /// Shows the headers of a chat request.
    async fn begin(&mut self, mode: Option<BodySendMode>, more: &[(&str, &str)]) -> HeaderMutation {
        let all: Vec<_> = CHAT.iter().chain(more).copied().collect();
        self.send(Message::RequestHeaders(headers(&all, false)), mode);
        match self.answer().await.response {
            Some(Answer::RequestHeaders(answer)) => {
                answer.response.unwrap().header_mutation.unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn body(&mut self, text: impl Into<Bytes>, end: bool) -> Option<Answer> {
        self.send(Message::RequestBody(piece(text, end)), None);
        self.answer().await.response
    }

    async fn immediate(&mut self, pairs: &[(&str, &str)], end: bool) -> ImmediateResponse {
        self.send(Message::RequestHeaders(headers(pairs, end)), None);
        immediate(self.answer().await.response)
    }
}

fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let headers = pairs.iter().map(|(name, value)| HeaderValue {
        key: (*name).to_owned(),
        value: String::new(),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
    });
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: headers.collect(),
        }),
        end_of_stream,
    }
}

fn piece(text: impl Into<Bytes>, end_of_stream: bool) -> HttpBody {
    HttpBody {
        body: text.into(),
        end_of_stream,
    }
}

fn immediate(answer: Option<Answer>) -> ImmediateResponse {
    match answer {
        Some(Answer::ImmediateResponse(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn routed(answer: Option<Answer>) -> CommonResponse {
    match answer {
        Some(Answer::RequestBody(answer)) => answer.response.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn streamed(answer: Option<Answer>) -> (String, bool) {
    let body = match answer {
        Some(Answer::RequestBody(body) | Answer::ResponseBody(body)) => body,
        other => panic!("{other:?}"),
    };
    match body.response.unwrap().body_mutation.unwrap().mutation {
        Some(Mutation::StreamedResponse(sent)) => (
            String::from_utf8(sent.body.to_vec()).unwrap(),
            sent.end_of_stream,
        ),
        other => panic!("{other:?}"),
    }
}

fn set(mutation: &HeaderMutation) -> Vec<(String, String)> {
    let options = mutation.set_headers.iter().map(|option| {
        let header = option.header.clone().unwrap();
        assert_eq!(header.value, "", "never both values");
        assert_eq!(
            option.append_action, 2,
            "headers are replaced, not repeated"
        );
        (
            header.key,
            String::from_utf8(header.raw_value.to_vec()).unwrap(),
        )
    });
    options.collect()
}

fn has(mutation: &HeaderMutation, name: &str, value: &str) -> bool {
    set(mutation).contains(&(name.to_owned(), value.to_owned()))
}

#[tokio::test]
async fn a_buffered_request_is_rewritten() {
    let server = start().await;
    let mut exchange = server.open().await;
    let spoofed = [
        ("x-vsr-selected-model", "spoofed"),
        ("x-selected-model", "spoofed"),
        ("x-request-id", "r-1"),
    ];
    let mutation = exchange.begin(Some(BodySendMode::Buffered), &spoofed).await;
    assert_eq!(
        mutation.remove_headers,
        ["x-vsr-selected-model", "x-selected-model"]
    );
    assert!(has(&mutation, "accept-encoding", "identity"));
    let response = routed(exchange.body(MATH, true).await);
    let mutation = response.header_mutation.as_ref().unwrap();
    let length = MATH_FOR_BIG.len().to_string();
    let want = [
        ("authorization", "Bearer sk-1"),
        ("x-selected-model", "big"),
        ("x-vsr-destination-endpoint", "10.0.0.1:8000"),
        ("content-length", length.as_str()),
    ];
    let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(set(mutation), want);
    assert_eq!(mutation.remove_headers, ["x-secret"]);
    assert!(response.clear_route_cache);
    let body = response.body_mutation.unwrap().mutation.unwrap();
    assert_eq!(body, Mutation::Body(MATH_FOR_BIG.into()));
}

#[tokio::test]
async fn streamed_request_bodies_are_put_together() {
    let server = start().await;
    let (first, second) = MATH.split_at(20);
    let mut exchange = server.open().await;
    exchange.send(
        Message::RequestHeaders(headers(&CHAT, false)),
        Some(BodySendMode::Streamed),
    );
    let wish = exchange.answer().await.mode_override.unwrap();
    assert_eq!(wish.request_body_mode(), BodySendMode::Buffered);
    assert_eq!(wish.response_body_mode(), BodySendMode::Buffered);
    let kept = routed(exchange.body(first, false).await);
    let kept = kept.body_mutation.unwrap().mutation;
    assert_eq!(kept, Some(Mutation::ClearBody(true)));
    let sent = routed(exchange.body(second, true).await);
    let sent = sent.body_mutation.unwrap().mutation;
    assert_eq!(sent, Some(Mutation::Body(MATH_FOR_BIG.into())));
}

#[tokio::test]
async fn in_full_duplex_the_headers_wait_for_the_decision() {
    let server = start().await;
    let (first, second) = MATH.split_at(20);
    let spoofed = ("x-vsr-selected-model", "spoofed");
    for trailers in [false, true] {
        let mut exchange = server.open().await;
        let shown = headers(&[&CHAT[..], &[spoofed]].concat(), false);
        let mode = Some(BodySendMode::FullDuplexStreamed);
        exchange.send(Message::RequestHeaders(shown), mode);
        exchange.send(Message::RequestBody(piece(first, false)), None);
        exchange.send(Message::RequestBody(piece(second, !trailers)), None);
        if trailers {
            exchange.send(Message::RequestTrailers(HttpTrailers::default()), None);
        }
        let Some(Answer::RequestHeaders(answer)) = exchange.answer().await.response else {
            panic!("the headers come first");
        };
        let answer = answer.response.unwrap();
        assert!(answer.clear_route_cache);
        let mutation = answer.header_mutation.unwrap();
        assert!(has(&mutation, "x-selected-model", "big"));
        assert!(has(&mutation, "authorization", "Bearer sk-1"));
        assert_eq!(
            mutation.remove_headers,
            ["x-vsr-selected-model", "x-secret"]
        );
        let sent = streamed(exchange.answer().await.response);
        assert_eq!(sent, (MATH_FOR_BIG.into(), !trailers));
        if trailers {
            let answer = exchange.answer().await.response;
            assert!(matches!(answer, Some(Answer::RequestTrailers(_))));
        }
    }
}

#[tokio::test]
async fn in_full_duplex_large_bodies_come_in_pieces_and_answers_pass() {
    let server = start().await;
    let text = "x".repeat(200_000);
    let body = format!(r#"{{"model":"small","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let mut exchange = server.open().await;
    let mode = Some(BodySendMode::FullDuplexStreamed);
    exchange.send(Message::RequestHeaders(headers(&CHAT, false)), mode);
    exchange.send(Message::RequestBody(piece(body.clone(), true)), None);
    exchange.answer().await;
    let mut received = String::new();
    loop {
        let (piece, end) = streamed(exchange.answer().await.response);
        assert!(piece.len() <= 62_000);
        received += &piece;
        if end {
            break;
        }
    }
    assert_eq!(received, body);
    let answer = headers(
        &[(":status", "200"), ("content-type", "text/event-stream")],
        false,
    );
    exchange.send(Message::ResponseHeaders(answer), None);
    let answer = exchange.answer().await;
    assert_eq!(answer.mode_override, None, "nothing is held in this mode");
    for (text, end) in [("data: 1\n\n", false), ("data: [DONE]\n\n", true)] {
        exchange.send(Message::ResponseBody(piece(text, end)), None);
        let sent = streamed(exchange.answer().await.response);
        assert_eq!(sent, (text.to_owned(), end));
    }
}

#[tokio::test]
async fn in_full_duplex_other_paths_pass_piece_by_piece() {
    let server = start().await;
    let mut exchange = server.open().await;
    let shown = headers(&[(":method", "POST"), (":path", "/other")], false);
    let mode = Some(BodySendMode::FullDuplexStreamed);
    exchange.send(Message::RequestHeaders(shown), mode);
    exchange.answer().await;
    let sent = streamed(exchange.body("anything", true).await);
    assert_eq!(sent, ("anything".to_owned(), true));
}

#[tokio::test]
async fn a_body_that_the_proxy_cut_off_is_refused() {
    let server = start().await;
    let mut exchange = server.open().await;
    exchange
        .begin(Some(BodySendMode::BufferedPartial), &[])
        .await;
    let response = immediate(exchange.body(MATH.split_at(20).0, false).await);
    assert_eq!(response.status.unwrap().code, 413);
}

#[tokio::test]
async fn a_trace_goes_on_with_a_span_of_our_own() {
    let server = start().await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut exchange = server.open().await;
    let mutation = exchange.begin(None, &[("traceparent", parent)]).await;
    let sent = set(&mutation).into_iter();
    let sent: Vec<String> = sent
        .filter(|(name, _)| name == "traceparent")
        .map(|(_, value)| value)
        .collect();
    let [sent] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert!(sent.starts_with(&parent[..36]), "{sent}");
    assert_ne!(sent, parent);
    let mutation = server.open().await.begin(None, &[]).await;
    assert!(set(&mutation).iter().all(|(name, _)| name != "traceparent"));
}

#[tokio::test]
async fn who_leaves_early_is_counted() {
    let server = start().await;
    let mut exchange = server.open().await;
    exchange.begin(None, &[]).await;
    drop(exchange);
    let mut exchange = server.open().await;
    exchange.begin(None, &[]).await;
    exchange.body(MATH, true).await;
    drop(exchange);
    let lines = [
        r#"llm_request_errors_total{model="unknown",reason="cancellation"} 1"#,
        r#"llm_request_errors_total{model="big",reason="cancellation"} 1"#,
        "tandem_gateway_requests_in_flight 0",
    ];
    for _ in 0..200 {
        let page = server.metrics();
        if lines.iter().all(|line| page.contains(line)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not counted:\n{}", server.metrics());
}

#[tokio::test]
async fn answers_get_their_headers_and_streams_are_not_held() {
    let server = start().await;
    let check = async |status: &str, kind: &str, streamed: bool, marked: bool| {
        let mut exchange = server.open().await;
        exchange.begin(None, &[("x-request-id", "r-1")]).await;
        exchange.body(MATH, true).await;
        let answer = [
            (":status", status),
            ("content-type", kind),
            ("x-vsr-cache-hit", "true"),
        ];
        exchange.send(Message::ResponseHeaders(headers(&answer, false)), None);
        let answer = exchange.answer().await;
        let mode = answer.mode_override.map(|mode| mode.response_body_mode());
        assert_eq!(mode, streamed.then_some(BodySendMode::Streamed));
        let Some(Answer::ResponseHeaders(answer)) = answer.response else {
            panic!("{answer:?}");
        };
        let mutation = answer.response.unwrap().header_mutation.unwrap();
        assert_eq!(mutation.remove_headers, ["x-vsr-cache-hit"]);
        assert_eq!(has(&mutation, "x-vsr-selected-category", "math"), marked);
        assert_eq!(has(&mutation, "x-vsr-selected-model", "big"), marked);
        assert!(has(&mutation, "x-request-id", "r-1"));
        let body = r#"{"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
        let body = if streamed {
            format!("data: {body}\n\n")
        } else {
            body.to_owned()
        };
        let (first, second) = body.split_at(30);
        for (text, end) in [(first, false), (second, true)] {
            let message = piece(text.to_owned(), end);
            exchange.send(Message::ResponseBody(message), None);
            match exchange.answer().await.response {
                Some(Answer::ResponseBody(answer)) => {
                    assert_eq!(answer.response, Some(CommonResponse::default()));
                }
                other => panic!("{other:?}"),
            }
        }
    };
    check("200", "text/event-stream; charset=utf-8", true, true).await;
    check("200", "application/json", false, true).await;
    check("500", "application/json", false, false).await;
    let statistics = &server.statistics;
    assert!(statistics.ttft_ms("big", 50).is_some(), "selection learns");
    assert!(statistics.tpot_ms("big", 50).is_some());
    let page = server.metrics();
    for line in [
        r#"llm_model_tokens_total{model="big"} 10"#,
        r#"llm_model_cost_total{model="big",currency="EUR"} 14.0"#,
        r#"llm_request_errors_total{model="big",reason="upstream_5xx"} 1"#,
        r#"llm_model_requests_total{model="MoM"} 3"#,
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
}

#[tokio::test]
async fn an_answer_is_given_again() {
    let server = start().await;
    let body = r#"{"model":"MoM","messages":[{"role":"user","content":"a contract"}]}"#;
    let whole = r#"{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}"#;
    let mut exchange = server.open().await;
    exchange.begin(None, &[]).await;
    routed(exchange.body(body, true).await);
    let answer = [(":status", "200"), ("content-type", "application/json")];
    exchange.send(Message::ResponseHeaders(headers(&answer, false)), None);
    exchange.answer().await;
    exchange.send(Message::ResponseBody(piece(whole, true)), None);
    exchange.answer().await;
    let mut again = server.open().await;
    again.begin(None, &[]).await;
    let response = immediate(again.body(body, true).await);
    assert_eq!(response.status.unwrap().code, 200);
    assert_eq!(response.body, whole);
    let mutation = response.headers.unwrap();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-vsr-cache-hit", "true"),
        ("x-vsr-selected-decision", "cached_decision"),
        ("x-vsr-response-path", "cache"),
    ] {
        assert!(has(&mutation, name, value), "{name}");
    }
}

#[tokio::test]
async fn refusals_are_immediate() {
    let server = start().await;
    let mut exchange = server.open().await;
    exchange.begin(None, &[]).await;
    let body = r#"{"model":"small","messages":[{"role":"user","content":"123-45-6789"}]}"#;
    let response = immediate(exchange.body(body, true).await);
    assert_eq!(response.status.unwrap().code, 200);
    let mutation = response.headers.unwrap();
    assert!(has(&mutation, "content-type", "application/json"));
    assert!(has(&mutation, "x-vsr-pii-violation", "true"));
    assert!(has(&mutation, "x-vsr-pii-types", "B-US_SSN"));
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["choices"][0]["finish_reason"], "content_filter");
}

#[tokio::test]
async fn wrong_requests_get_a_status_not_a_broken_stream() {
    let server = start().await;
    let check = async |method: &str, path: &str, end: bool, status: i32| {
        let pairs = [(":method", method), (":path", path)];
        let response = server.open().await.immediate(&pairs, end).await;
        assert_eq!(response.status.unwrap().code, status, "{method} {path}");
        response
    };
    let response = check("POST", "/v1/embeddings?key=secret", false, 404).await;
    let text = String::from_utf8(response.body.to_vec()).unwrap();
    assert!(text.contains("`/v1/embeddings`"), "{text}");
    check("GET", "/v1", true, 404).await;
    check("POST", "/v1/chat/completions", true, 400).await;
    check("GET", "/v1/models/nobody", true, 404).await;
    let response = check("GET", "/v1/chat/completions?x=y", true, 405).await;
    assert!(has(&response.headers.unwrap(), "allow", "POST"));
    let response = check("GET", "/v1/models", true, 200).await;
    let list: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(list["data"][0]["id"], "MoM");
    for (body, status) in [
        ("{", 400),
        (r#"{"model":"MoM"}"#, 400),
        (r#"{"model":"nobody","messages":[]}"#, 404),
    ] {
        let mut exchange = server.open().await;
        exchange.begin(None, &[]).await;
        let response = immediate(exchange.body(body, true).await);
        assert_eq!(response.status.unwrap().code, status, "{body}");
    }
}

#[tokio::test]
async fn large_bodies_pass_up_to_the_limit() {
    let server = start().await;
    let body = |length: usize| {
        let text = "x".repeat(length);
        format!(r#"{{"model":"small","messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    let mut exchange = server.open().await;
    exchange.begin(None, &[]).await;
    let response = routed(exchange.body(body(2 << 20), true).await);
    assert_eq!(response.body_mutation, None, "a named model keeps its body");
    let mut exchange = server.open().await;
    exchange.begin(None, &[]).await;
    let response = immediate(exchange.body(body(3 << 20), true).await);
    assert_eq!(response.status.unwrap().code, 413);
}

#[tokio::test]
async fn other_paths_and_stray_messages_pass() {
    let server = start().await;
    let mut exchange = server.open().await;
    let pairs = [(":method", "GET"), (":path", "/other"), ("x-vsr-a", "b")];
    exchange.send(Message::RequestHeaders(headers(&pairs, false)), None);
    let Some(Answer::RequestHeaders(answer)) = exchange.answer().await.response else {
        panic!("not passed");
    };
    let mutation = answer.response.unwrap().header_mutation.unwrap();
    assert_eq!(mutation.remove_headers, ["x-vsr-a"]);
    let body = routed(exchange.body("anything", true).await);
    assert_eq!(body, CommonResponse::default());
    exchange.send(Message::RequestTrailers(HttpTrailers::default()), None);
    let answer = exchange.answer().await.response;
    assert!(
        matches!(answer, Some(Answer::RequestTrailers(_))),
        "{answer:?}"
    );
    exchange.send(Message::ResponseTrailers(HttpTrailers::default()), None);
    let answer = exchange.answer().await.response;
    assert!(
        matches!(answer, Some(Answer::ResponseTrailers(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn health_is_served_and_a_shutdown_ends_the_server() {
    let server = start().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel.clone());
    for service in HEALTH_SERVICES {
        let request = tonic_health::pb::HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{service} is serving");
    }
    server.shutdown.cancel();
    drop((server.channel, health));
    server.tasks.close();
    server.tasks.wait().await;
}
