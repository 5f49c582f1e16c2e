//! The page that Prometheus reads.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use prometheus_client::registry::Registry;
use tandem_runtime::openmetrics;

/// `/metrics` of `registry`, and `/health`.
pub fn metrics_routes(registry: Arc<Registry>) -> Router {
    let page = move || {
        let text = openmetrics::text(&registry);
        async move { ([(CONTENT_TYPE, openmetrics::CONTENT_TYPE)], text) }
    };
    Router::new()
        .route("/metrics", get(page))
        .route("/health", get(|| async { "ok\n" }))
}
