//! What runs here.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tandem_semantic_router::ListedModels;
use tandem_semantic_router::config::SignalTest;

use super::{OPENAPI, Shared, table};

pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "healthy", "service": "classification-api"}))
}

/// Whether new requests are welcome: not while the process stops.
pub(super) async fn ready(State(api): Shared) -> Response {
    match api.stopping.is_cancelled() {
        false => Json(json!({"status": "ready"})).into_response(),
        true => {
            let body = Json(json!({"status": "stopping"}));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// Models are loaded before the port is opened, so whoever can ask finds them ready.
pub(super) async fn startup() -> Json<Value> {
    Json(json!({"phase": "ready", "ready": true}))
}

pub(super) async fn openapi() -> (HeaderMap, &'static str) {
    let json = HeaderValue::from_static("application/json");
    (HeaderMap::from_iter([(CONTENT_TYPE, json)]), OPENAPI)
}

pub(super) async fn discovery() -> Json<Value> {
    let paths: Vec<&str> = table().iter().map(|(path, _)| *path).collect();
    Json(json!({
        "service": "classification-api",
        "version": env!("CARGO_PKG_VERSION"),
        "openapi": "/openapi.json",
        "endpoints": paths,
        "task_types": ["intent", "pii", "security", "all"],
    }))
}

pub(super) async fn models(State(api): Shared) -> Json<ListedModels> {
    Json(api.router.load().models())
}

pub(super) async fn loaded_models(State(api): Shared) -> Json<Value> {
    Json(json!({
        "models": [{"name": api.classifier.name(), "type": "classifier", "loaded": true}],
        "system": {"version": env!("CARGO_PKG_VERSION")},
    }))
}

/// What decides, without anything that is secret: no keys, prompts or header values.
pub(super) async fn classifier(State(api): Shared) -> Json<Value> {
    let router = api.router.load();
    let config = router.config();
    let domains = config.signals.iter();
    let domains = domains.filter(|rule| matches!(rule.test, SignalTest::Domain(_)));
    let categories: Vec<&str> = domains.map(|rule| rule.name.as_str()).collect();
    let decisions = config.decisions.iter();
    let decisions: Vec<&str> = decisions.map(|decision| decision.name.as_str()).collect();
    Json(json!({
        "status": "active",
        "model": api.classifier.name(),
        "capabilities": ["intent", "pii", "security", "embeddings", "similarity"],
        "auto_models": config.auto_models,
        "default_model": config.default_model,
        "categories": categories,
        "decisions": decisions,
        "security": {
            "jailbreak_threshold": config.security.jailbreak.on().map(|one| one.threshold),
            "pii_threshold": config.security.pii.on().map(|one| one.threshold),
        },
    }))
}

pub(super) async fn embedding_models(State(api): Shared) -> Json<Value> {
    Json(json!({"models": [{"name": api.classifier.name(), "loaded": true}], "total": 1}))
}
