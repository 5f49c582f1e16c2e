//! Choices among models by the load that their servers tell of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tandem_protocol::openai::body::JsonObject;
use tandem_protocol::prefix::{PrefixFilter, PromptPrefixes};
use tandem_runtime::Lifecycle;
use tokio::net::TcpListener;

use crate::harness::{Harness, SOON, chat};

/// A server that tells what a test says, of whichever model it is asked about.
#[derive(Clone, Default)]
struct Frontend {
    load: Arc<Mutex<Value>>,
    /// Prompts that are cached; told only to those who do not know of them.
    cached: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
}

impl Frontend {
    async fn start(&self, lifecycle: &Lifecycle) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/load", get(tell))
            .route("/v1/chat/completions", post(async || Json(json!({}))))
            .with_state(self.clone());
        lifecycle.spawn(async move { axum::serve(listener, routes).await });
        address
    }

    /// From now on, so many tokens wait.
    fn queue(&self, tokens: u64) {
        *self.load.lock() = json!({ "workers": 1, "waiting_requests": 0,
            "queued_prefill_tokens": tokens, "active_kv_blocks": 0, "total_kv_blocks": 0,
            "prefill": { "seconds": 0.01, "seconds_per_token": 0.001, "bytes_per_token": 4.0 } });
    }

    /// Waits until the gateway knows what was told last.
    async fn was_asked(&self) {
        let before = self.asked.load(Ordering::Relaxed);
        let asked = async {
            // The second question comes after the first answer was used.
            while self.asked.load(Ordering::Relaxed) < before + 2 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, asked).await.unwrap();
    }
}

async fn tell(
    State(frontend): State<Frontend>,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> Json<Value> {
    frontend.asked.fetch_add(1, Ordering::Relaxed);
    let mut load = frontend.load.lock().clone();
    let cached = frontend.cached.lock().clone();
    let version = cached.as_ref().map_or(0, String::len).to_string();
    if query.get("since") != Some(&version)
        && let Some(cached) = cached
    {
        load["prefixes"] = json!(cached);
    }
    Json(json!({ "version": version, "models": { "served": load } }))
}

/// A gateway in front of two models of close scores, the first of which is better, and a third one.
async fn gateway(servers: [SocketAddr; 3]) -> Harness {
    let mut config = "version: v0.3\nproviders:\n  models:\n".to_owned();
    for (name, server) in std::iter::zip(["better", "close", "far"], servers) {
        config += &format!(
            "    - {{name: {name}, provider_model_id: served, backend_refs: [{{name: s, endpoint: \"{server}\"}}]}}\n"
        );
    }
    config += "routing: {decisions: [{name: d, rules: {operator: AND, conditions: []}, \
        algorithm: {type: static, load_aware: true}, modelRefs: [{model: better, weight: 1}, \
        {model: close, weight: 0.95}, {model: far, weight: 0.5}]}]}\n";
    Harness::configured(&config).await
}

async fn chosen(gateway: &Harness, text: &str) -> String {
    let answer = gateway.chat("auto", text).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.header("x-vsr-selected-model").unwrap().to_owned()
}

#[tokio::test]
async fn close_models_compete_by_load_and_cached_prompts() {
    let lifecycle = Lifecycle::new();
    let frontends = [(); 3].map(|()| Frontend::default());
    let mut servers = Vec::new();
    let first = Lifecycle::new();
    for (i, frontend) in frontends.iter().enumerate() {
        frontend.queue(if i == 0 { 5000 } else { 0 });
        let of = if i == 0 { &first } else { &lifecycle };
        servers.push(frontend.start(of).await);
    }
    let gateway = gateway([servers[0], servers[1], servers[2]]).await;
    let [better, close, _far] = &frontends;
    better.was_asked().await;
    assert_eq!(
        chosen(&gateway, "Hello").await,
        "close",
        "the better one is busy"
    );

    better.queue(0);
    better.was_asked().await;
    assert_eq!(chosen(&gateway, "Hello").await, "better", "nobody is busy");

    // A prompt that is cached goes where it is, other prompts do not.
    let long = "The old baker repaired the wooden door. ".repeat(100);
    let body = JsonObject::parse(chat("served", &long).as_bytes()).unwrap();
    let hashes = PromptPrefixes::of(&body).remove(0).hashes;
    let filter = PrefixFilter::new(hashes.into_iter());
    *close.cached.lock() = Some(filter.into());
    close.was_asked().await;
    close.was_asked().await;
    assert_eq!(chosen(&gateway, &format!("{long} Why?")).await, "close");
    assert_eq!(chosen(&gateway, &format!("Why? {long}")).await, "better");

    // Nothing is known of a server that is gone, once its last answer is too old.
    better.queue(5000);
    better.was_asked().await;
    first.stop(SOON).await.ok();
    let by_score = async {
        while chosen_of(&gateway).await != "better" {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(2 * SOON, by_score).await.unwrap();
    let metrics = gateway.get("/metrics").await.body;
    for line in [
        r#"tandem_gateway_load_aware_choices_total{model="close",by="load"}"#,
        r#"tandem_gateway_load_polls_total{result="ok"}"#,
        r#"tandem_gateway_load_polls_total{result="failed"}"#,
    ] {
        assert!(metrics.contains(line), "{line} not in {metrics}");
    }
}

/// Whom the router chooses, whether or not that server answers.
async fn chosen_of(gateway: &Harness) -> String {
    let answer = gateway.chat("auto", "Hello").await;
    match answer.header("x-vsr-selected-model") {
        Some(model) => model.to_owned(),
        // Only the server that is gone gives no answer.
        None => "better".to_owned(),
    }
}

#[tokio::test]
async fn nobody_is_asked_without_need() {
    let frontend = Frontend::default();
    let lifecycle = Lifecycle::new();
    let server = frontend.start(&lifecycle).await;
    let config = format!(
        "version: v0.3\nproviders: {{models: [{{name: m, backend_refs: [{{name: s, endpoint: \"{server}\"}}]}}]}}\n\
         routing: {{decisions: [{{name: d, rules: {{operator: AND, conditions: []}}, modelRefs: [{{model: m}}]}}]}}\n"
    );
    let gateway = Harness::configured(&config).await;
    assert_eq!(chosen(&gateway, "Hello").await, "m");
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(frontend.asked.load(Ordering::Relaxed), 0);
}
