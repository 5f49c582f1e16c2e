//! The page that Prometheus reads.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use prometheus_client::registry::Registry;

/// Content type of OpenMetrics text.
pub(crate) const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// `/metrics` of `registry`, and `/health`.
pub fn metrics_routes(registry: Arc<Registry>) -> Router {
    let page = move || {
        let text = metrics_text(&registry);
        async move { (HeaderMap::from_iter([(CONTENT_TYPE, OPENMETRICS)]), text) }
    };
    Router::new()
        .route("/metrics", get(page))
        .route("/health", get(|| async { "ok\n" }))
}

/// Everything that was counted, in OpenMetrics text.
pub(crate) fn metrics_text(registry: &Registry) -> String {
    let mut text = String::new();
    let encoded = prometheus_client::encoding::text::encode(&mut text, registry);
    encoded.expect("writing to a String cannot fail");
    text
}
