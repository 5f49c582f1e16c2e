//! Models, health, load and metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::{Value, json};
use tandem_protocol::openai::model::{Model, ModelList};
use tandem_protocol::serving_load::ServingLoad;
use tandem_runtime::openmetrics;

use crate::error::FrontendError;
use crate::server::Frontend;

/// `GET /v1/models`.
pub(crate) async fn models(State(frontend): State<Arc<Frontend>>) -> Json<ModelList> {
    Json(frontend.registry.list())
}

/// `GET /v1/models/{id}`; an id may contain slashes.
pub(crate) async fn model(
    State(frontend): State<Arc<Frontend>>,
    Path(id): Path<String>,
) -> Result<Json<Model>, FrontendError> {
    frontend.registry.get(&id)?;
    let listed = frontend
        .registry
        .list()
        .data
        .into_iter()
        .find(|model| model.id == id);
    listed.map(Json).ok_or(FrontendError::NoWorkers(id))
}

/// `GET /health`: 200 when at least one model can be served, else 503.
pub(crate) async fn health(State(frontend): State<Arc<Frontend>>) -> Response {
    let mut endpoints = Vec::new();
    let mut instances: Vec<Value> = Vec::new();
    for pool in frontend.registry.pools() {
        endpoints.push(format!(
            "dyn://{}",
            pool.endpoint().to_string().replace('/', ".")
        ));
        let current = pool.instances().current();
        instances.extend(
            current
                .values()
                .filter_map(|one| serde_json::to_value(one).ok()),
        );
    }
    let healthy = !instances.is_empty();
    let (status, word) = if healthy {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no worker has joined")
    };
    let body = json!({"status": word, "endpoints": endpoints, "instances": instances});
    (status, Json(body)).into_response()
}

/// What is asked of `GET /load`.
#[derive(Debug, Deserialize)]
pub(crate) struct LoadQuery {
    /// The version of the last answer.
    since: Option<String>,
}

/// `GET /load`: how busy the models are, and which prompts are probably cached.
pub(crate) async fn load(
    State(frontend): State<Arc<Frontend>>,
    Query(query): Query<LoadQuery>,
) -> Json<ServingLoad> {
    let models = frontend.registry.models();
    let metrics = &frontend.dispatcher.metrics;
    let load = frontend.load.tell(&models, metrics, query.since.as_deref());
    Json(load)
}

/// `GET /live`.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "live", "message": "Service is live"}))
}

/// `GET /metrics`.
pub(crate) fn metrics(registry: &Registry) -> Response {
    let kind = [(header::CONTENT_TYPE, openmetrics::CONTENT_TYPE)];
    (kind, openmetrics::text(registry)).into_response()
}
