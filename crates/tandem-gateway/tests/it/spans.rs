//! Spans as a collector receives them.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tandem_runtime::telemetry::{self, Export, LogFormat, Receiver, Telemetry};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::harness::{Harness, SOON, chat, ok};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SECRET: &str = "SECRET";

/// Keeps what it is sent.
struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attributes(span: &Span) -> HashMap<&str, String> {
    let pairs = span.attributes.iter().map(|pair| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
        let value = match value {
            Some(Value::StringValue(text)) => text.clone(),
            other => format!("{other:?}"),
        };
        (pair.key.as_str(), value)
    });
    pairs.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// This process exports its spans to a collector, and this is what it receives.
async fn collected() -> (
    Telemetry,
    mpsc::UnboundedReceiver<ExportTraceServiceRequest>,
) {
    let (sender, received) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = TaskTracker::new();
    let collector = Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tasks.spawn(collector.serve_with_incoming(TcpIncoming::from(listener)));
    let export = Export {
        receiver: Receiver::Otlp(format!("http://{address}")),
        share: 1.0,
        resource: vec![("service.name", "router".to_owned())],
    };
    let telemetry = telemetry::init("off", LogFormat::Text, Some(&export));
    (telemetry.unwrap(), received)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routed_request_is_a_tree_of_spans_without_its_text() {
    let (telemetry, mut received) = collected().await;
    let mut harness = Harness::start(ok).await;
    let request = harness.request("POST", "/v1/chat/completions?key=SECRET");
    let request = request
        .header("traceparent", CALLER)
        .header("x-request-id", "r-1");
    let text = format!("what is 2+2 {SECRET}");
    assert_eq!(harness.send(request, &chat("MoM", &text)).await.status, 200);
    let upstream = harness.seen.recv().await.unwrap();
    let told = upstream.headers["traceparent"].to_str().unwrap().to_owned();
    // What waits is sent when nobody needs it any more.
    tokio::task::spawn_blocking(move || drop(telemetry))
        .await
        .unwrap();

    let batch = tokio::time::timeout(SOON, received.recv())
        .await
        .unwrap()
        .unwrap();
    let page = format!("{batch:?}");
    assert!(!page.contains(SECRET), "{page}");
    let resource = &batch.resource_spans[0];
    let names = &resource.resource.as_ref().unwrap().attributes;
    assert!(
        names.iter().any(|pair| pair.key == "service.name"),
        "{names:?}"
    );
    let spans: Vec<&Span> = resource
        .scope_spans
        .iter()
        .flat_map(|scope| &scope.spans)
        .collect();
    let find = |name: &str| {
        let name = format!("semantic_router.{name}");
        *spans
            .iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("{name}: {page}"))
    };

    let root = find("request.received");
    assert_eq!(hex(&root.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&root.parent_span_id), "b7ad6b7169203331");
    let id = hex(&root.span_id);
    assert_eq!(told, format!("00-0af7651916cd43dd8448eb211c80319c-{id}-01"));
    let known = attributes(root);
    assert_eq!(known["request.id"], "r-1");
    assert_eq!(known["http.method"], "POST");
    assert_eq!(known["http.path"], "/v1/chat/completions");

    for name in [
        "security.jailbreak_detection",
        "security.pii_detection",
        "routing.decision",
        "upstream.request",
    ] {
        let span = find(name);
        assert_eq!(span.trace_id, root.trace_id, "{name}");
        assert_eq!(span.parent_span_id, root.span_id, "{name}");
    }
    let decision = find("routing.decision");
    let known = attributes(decision);
    assert_eq!(known["routing.strategy"], "auto");
    assert_eq!(known["routing.reason"], "auto_routing");
    assert_eq!(known["routing.original_model"], "MoM");
    assert_eq!(known["routing.selected_model"], "big");
    let injection = find("system_prompt.injection");
    assert_eq!(injection.parent_span_id, decision.span_id);
    let known = attributes(find("security.jailbreak_detection"));
    assert_eq!(known["security.action"], "allowed");
    assert_eq!(known["jailbreak.detected"], "Some(BoolValue(false))");
    let known = attributes(find("upstream.request"));
    assert_eq!(known["model.name"], "big");
    assert_eq!(known["http.status_code"], "Some(IntValue(200))");
}
