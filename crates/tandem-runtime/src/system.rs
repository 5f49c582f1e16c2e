//! The system server of a process: health, liveness and metrics, for probes and scrapers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::{StatusCode, header};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::net::TcpListener;

use crate::http::{HttpOptions, serve};
use crate::lifecycle::Lifecycle;
use crate::openmetrics;

/// Which endpoints of the process can serve now.
#[derive(Debug, Clone)]
pub struct Health {
    started: Instant,
    endpoints: Arc<Mutex<BTreeMap<String, bool>>>,
}

impl Health {
    /// `endpoints` are not ready yet.
    pub fn new(endpoints: &[&str]) -> Self {
        let names = endpoints.iter().map(|name| ((*name).to_owned(), false));
        Self {
            started: Instant::now(),
            endpoints: Arc::new(Mutex::new(names.collect())),
        }
    }

    /// Notes whether every endpoint can serve.
    pub fn set(&self, ready: bool) {
        for state in self.endpoints.lock().values_mut() {
            *state = ready;
        }
    }

    fn answer(&self) -> Response {
        let word = |ready: bool| if ready { "ready" } else { "notready" };
        let endpoints = self.endpoints.lock().clone();
        let ready = endpoints.values().all(|ready| *ready);
        let uptime = self.started.elapsed();
        let states: BTreeMap<_, _> = endpoints
            .into_iter()
            .map(|(name, ready)| (name, word(ready)))
            .collect();
        let body = json!({
            "status": word(ready),
            "uptime": {"secs": uptime.as_secs(), "nanos": uptime.subsec_nanos()},
            "endpoints": states,
        });
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (status, Json(body)).into_response()
    }
}

/// Answers on `listener` until `lifecycle` stops: `/health` says whether the process can serve,
/// `/live` whether it runs, `/metrics` what it did. `/readyz` and `/healthz` are the names that
/// the first two have in Kubernetes.
pub async fn run(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Registry>,
    lifecycle: Lifecycle,
) {
    let ready = get(async |State(health): State<Health>| health.answer());
    let live = get(async || Json(json!({"status": "live"})));
    let router = Router::new()
        .route("/health", ready.clone())
        .route("/readyz", ready)
        .route("/live", live.clone())
        .route("/healthz", live)
        .route(
            "/metrics",
            get(async move || {
                let kind = [(header::CONTENT_TYPE, openmetrics::CONTENT_TYPE)];
                (kind, openmetrics::text(&metrics))
            }),
        )
        .with_state(health);
    serve(listener, router, HttpOptions::default(), lifecycle).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_endpoint_can_serve() {
        let health = Health::new(&["generate"]);
        assert_eq!(health.answer().status(), StatusCode::SERVICE_UNAVAILABLE);
        health.set(true);
        assert_eq!(health.answer().status(), StatusCode::OK);
        health.set(false);
        assert_eq!(health.answer().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
