//! What an answer from the cache costs: over HTTP for an equal request, and in the router for a
//! similar question among 100,000 others; and whether storing holds up looking.

#![allow(clippy::print_stdout, reason = "a bench says what it measured")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prometheus_client::registry::Registry;
use tandem_classifier::{
    Analysis, Classifier, ClassifierError, EncoderClassifier, Heads, LabelScore, Settings,
};
use tandem_gateway::{Gateway, GatewayMetrics, GatewayOptions, GatewayParts};
use tandem_runtime::Lifecycle;
use tandem_semantic_router::{Endpoint, RouteRequest, Router, RouterConfig, Routing};
use tokio::net::TcpListener;

const ENTRIES: usize = 100_000;
const ROUNDS: usize = 400;
/// Texts that only fill the cache begin with it: they are not worth an encoder pass.
const FILL: &str = "fill ";

const CONFIG: &str = "
default_model: m
model_config: {m: {}}
prompt_guard: {enabled: true}
classifier: {pii_model: {threshold: 0.7}}
categories: [{name: math}]
semantic_cache: {enabled: true, max_bytes: 2000000000}
decisions:
  - {name: math, rules: {operator: OR, conditions: [{type: domain, name: math}]}, modelRefs: [{model: m}]}
";

const ANSWER: &[u8] =
    br#"{"choices":[{"message":{"content":"An answer."},"finish_reason":"stop"}]}"#;

/// About 128 tokens.
const QUESTION: &str = "I run a small bakery and keep flour, sugar, butter and yeast in a store \
    room that becomes humid in summer. Every Monday a supplier brings forty sacks of flour, and by \
    Friday some of them have lumps. My baker says that the sacks should stand on wooden pallets \
    with a gap to the wall, and my accountant says that a dehumidifier pays for itself within two \
    years. How do I keep the flour dry without spending more than 900 euros?";

struct Encoder(EncoderClassifier);

impl Classifier for Encoder {
    fn analyze(
        &self,
        text: Arc<str>,
        heads: Heads,
    ) -> BoxFuture<'_, Result<Analysis, ClassifierError>> {
        let Some(text) = text.strip_prefix(FILL) else {
            return self.0.analyze(text, heads);
        };
        let seed = text.bytes().map(f32::from).sum::<f32>();
        let vector: Vec<f32> = (0..384_u16)
            .map(|at| (f32::from(at) + seed).sin() / 14.0)
            .collect();
        let label = LabelScore {
            label: Arc::from("math"),
            score: 0.9,
        };
        let analysis = Analysis {
            domain: Some(vec![label]),
            jailbreak: Some(0.0),
            pii: Some(Vec::new()),
            embedding: Some(vector.into()),
        };
        Box::pin(std::future::ready(Ok(analysis)))
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(run());
}

async fn run() {
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../models/tandem-nano-encoder"
    );
    let encoder = EncoderClassifier::nano(Path::new(model), Settings::default());
    let encoder = Encoder(encoder.expect("the shipped encoder loads"));
    let config = RouterConfig::parse(CONFIG, &|_| None).expect("the configuration is right");
    let router = Arc::new(Router::new(config.config, Arc::new(encoder)));

    store(&router, QUESTION).await;
    report("equal request over HTTP", &http(&router).await, "0.3");
    report("encoder and a miss", &encoding(&router).await, "");
    let started = Instant::now();
    for at in 0..ENTRIES {
        store(&router, &fill(at)).await;
    }
    let took = started.elapsed().as_secs_f64();
    let held = router.cache().statistics();
    println!(
        "stored {} answers, {} MiB, in {took:.1} s",
        held.entries,
        held.bytes >> 20
    );
    let (whole, without) = similar(&router).await;
    report("encoder and a similar question", &whole, "6");
    report("the same without the encoder", &without, "");
    interference(&router).await;
}

/// How long a look-up takes while answers are stored as fast as they can be.
async fn interference(router: &Arc<Router>) {
    let idle = lookups(router).await;
    let lifecycle = Lifecycle::new();
    let writer = Arc::clone(router);
    lifecycle.spawn(async move {
        let mut at = ENTRIES;
        loop {
            store(&writer, &fill(at)).await;
            at += 1;
            tokio::task::yield_now().await;
        }
    });
    let busy = lookups(router).await;
    lifecycle.stopping().cancel();
    let ratio = percentile(&busy, 99).as_secs_f64() / percentile(&idle, 99).as_secs_f64();
    report("look-up, idle", &idle, "");
    report("look-up while storing", &busy, "");
    println!("p99 while storing is {ratio:.2} times that of idle (goal: at most 2)");
}

/// A question of its own that shares words with all others.
fn fill(at: usize) -> String {
    const WORDS: [&str; 8] = [
        "flour", "sacks", "summer", "dry", "baker", "Monday", "yeast", "pallets",
    ];
    let (one, two) = (WORDS[at % 8], WORDS[at / 8 % 8]);
    let (place, shelf) = (at / 7, at % 977);
    format!("{FILL}how do I keep item{at} and {one} near {two} in place{place} of shelf{shelf}")
}

fn body(text: &str) -> Bytes {
    format!(r#"{{"model":"MoM","messages":[{{"role":"user","content":"{text}"}}]}}"#).into()
}

async fn route(router: &Router, body: &Bytes) -> Routing {
    let request = RouteRequest {
        endpoint: Endpoint::Chat,
        body,
        request_id: "bench",
    };
    router.route(request).await.routing
}

async fn store(router: &Router, text: &str) {
    if let Routing::Forward(forward) = route(router, &body(text)).await {
        let recording = forward.recording.and_then(|open| open.piece(ANSWER));
        recording.expect("the answer is short").complete();
    }
}

/// Another way to ask, each time a new one, so that none is remembered: the whole time, and that
/// without the wait for the encoder.
async fn similar(router: &Router) -> (Vec<Duration>, Vec<Duration>) {
    let mut times = Vec::with_capacity(ROUNDS);
    let mut without = Vec::with_capacity(ROUNDS);
    for at in 0..ROUNDS {
        let marks = "!".repeat(at / 64);
        let text = format!("Hello there,{}{QUESTION}{marks}", " ".repeat(1 + at % 64));
        let body = body(&text);
        let request = RouteRequest {
            endpoint: Endpoint::Chat,
            body: &body,
            request_id: "bench",
        };
        let started = Instant::now();
        let routed = router.route(request).await;
        times.push(started.elapsed());
        without.push(started.elapsed() - routed.explanation.timings.signals);
        assert!(matches!(routed.routing, Routing::Replay(_)), "{text}");
    }
    (times, without)
}

/// The same length of text, which no answer is there for.
async fn encoding(router: &Router) -> Vec<Duration> {
    let mut times = Vec::with_capacity(ROUNDS);
    for at in 0..ROUNDS {
        let body = body(&format!("{at} {QUESTION}"));
        let started = Instant::now();
        drop(route(router, &body).await);
        times.push(started.elapsed());
    }
    times
}

async fn lookups(router: &Router) -> Vec<Duration> {
    let body = body(QUESTION);
    let mut times = Vec::with_capacity(50 * ROUNDS);
    for _ in 0..50 * ROUNDS {
        let started = Instant::now();
        let routing = route(router, &body).await;
        times.push(started.elapsed());
        assert!(matches!(routing, Routing::Replay(_)));
    }
    times
}

/// Asks a gateway on this machine over one connection.
async fn http(router: &Arc<Router>) -> Vec<Duration> {
    let mut registry = Registry::default();
    let metrics = Arc::new(GatewayMetrics::register(&mut registry));
    let lifecycle = Lifecycle::new();
    let parts = GatewayParts {
        router: Arc::new(ArcSwap::new(Arc::clone(router))),
        upstream: None,
        metrics,
        registry,
        lifecycle: lifecycle.clone(),
    };
    let gateway = Gateway::new(parts, GatewayOptions::default());
    let gateway = gateway.expect("there is no upstream to be wrong");
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("there is a free port");
    let address = listener.local_addr().expect("the port is bound");
    lifecycle.spawn(gateway.serve(listener));
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut times = Vec::with_capacity(10 * ROUNDS);
    for _ in 0..10 * ROUNDS {
        let request = Request::post(format!("http://{address}/v1/chat/completions"))
            .body(Full::new(body(QUESTION)))
            .expect("the request is right");
        let started = Instant::now();
        let answer = client.request(request).await.expect("the gateway answers");
        let hit = answer.headers().contains_key("x-vsr-cache-hit");
        let whole = answer.into_body().collect().await;
        times.push(started.elapsed());
        assert!(hit && whole.is_ok());
    }
    lifecycle.stopping().cancel();
    times
}

fn percentile(times: &[Duration], rank: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * rank / 100).min(sorted.len() - 1)]
}

fn report(what: &str, times: &[Duration], goal_ms: &str) {
    let [p50, p99] = [50, 99].map(|rank| percentile(times, rank).as_secs_f64() * 1e3);
    let goal = match goal_ms {
        "" => String::new(),
        goal => format!("  (goal: p50 at most {goal} ms)"),
    };
    println!("{what:32} p50 {p50:7.3} ms  p99 {p99:7.3} ms{goal}");
}
