//! Models, health and metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tandem_protocol::openai::model::{Model, ModelList};

use crate::error::FrontendError;
use crate::server::Frontend;

/// Content type of the text that Prometheus scrapes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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

/// `GET /live`.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "live", "message": "Service is live"}))
}

/// `GET /metrics`.
pub(crate) fn metrics(registry: &Registry) -> Result<Response, FrontendError> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .map_err(|error| FrontendError::Internal(format!("metrics do not encode: {error}")))?;
    Ok((
        [(header::CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS))],
        text,
    )
        .into_response())
}
