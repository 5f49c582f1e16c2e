//! The classification API: what the classifier makes of a text, without routing it.
//!
//! Paths and members are those of the vLLM Semantic Router.

mod cache;
mod classify;
mod embed;
mod error;
mod info;
mod metrics;
mod question;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::Method;
use prometheus_client::registry::Registry;
use tandem_classifier::Classifier;
use tandem_semantic_router::Router;
use tokio_util::sync::CancellationToken;

use error::ApiError;
use metrics::ApiMetrics;

/// The description of the API that it serves itself.
const OPENAPI: &str = include_str!("openapi.json");

/// What a client of the API may ask for.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Most texts of one request.
    pub max_texts: usize,
    /// Longest time for one request.
    pub deadline: Duration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 4 << 20,
            max_texts: 100,
            deadline: Duration::from_secs(30),
        }
    }
}

/// Answers questions about texts over HTTP.
pub struct Api {
    router: Arc<ArcSwap<Router>>,
    classifier: Arc<dyn Classifier>,
    options: ApiOptions,
    metrics: ApiMetrics,
    stopping: CancellationToken,
}

type Shared = State<Arc<Api>>;

impl Api {
    /// An API that asks `classifier`, with the policies of `router`. It says that it is not ready
    /// once `stopping` is cancelled.
    pub fn new(
        router: Arc<ArcSwap<Router>>,
        classifier: Arc<dyn Classifier>,
        options: ApiOptions,
        registry: &mut Registry,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            router,
            classifier,
            options,
            metrics: ApiMetrics::register(registry),
            stopping,
        }
    }

    /// Every path of the API.
    pub fn routes(self) -> axum::Router {
        let api = Arc::new(self);
        let mut routes = axum::Router::new();
        for (path, method) in table() {
            routes = routes.route(path, method);
        }
        routes
            .fallback(|request: Request| async move {
                ApiError::not_found(format!("there is no `{}` here", request.uri().path()))
            })
            .method_not_allowed_fallback(|method: Method, request: Request| async move {
                let path = request.uri().path();
                ApiError::method(format!("method {method} is not allowed for `{path}`"))
            })
            .layer(middleware::from_fn_with_state(Arc::clone(&api), deadline))
            .with_state(api)
    }
}

fn table() -> [(&'static str, MethodRouter<Arc<Api>>); 20] {
    [
        ("/health", get(info::health)),
        ("/ready", get(info::ready)),
        ("/startup-status", get(info::startup)),
        ("/openapi.json", get(info::openapi)),
        ("/api/v1", get(info::discovery)),
        ("/v1/models", get(info::models)),
        ("/info/models", get(info::loaded_models)),
        ("/info/classifier", get(info::classifier)),
        ("/api/v1/embeddings/models", get(info::embedding_models)),
        ("/api/v1/classify/intent", post(classify::intent)),
        ("/api/v1/classify/pii", post(classify::pii)),
        ("/api/v1/classify/security", post(classify::security)),
        ("/api/v1/classify/combined", post(classify::combined)),
        ("/api/v1/classify/batch", post(classify::batch)),
        ("/api/v1/embeddings", post(embed::embeddings)),
        ("/api/v1/similarity", post(embed::similarity)),
        ("/api/v1/similarity/batch", post(embed::similarities)),
        ("/api/v1/response-cache/stats", get(cache::stats)),
        ("/api/v1/response-cache/invalidate", post(cache::invalidate)),
        ("/api/v1/response-cache/flush", post(cache::flush)),
    ]
}

/// Dropping the work that takes too long cancels the classifier's.
async fn deadline(State(api): Shared, request: Request, next: Next) -> Response {
    let limit = api.options.deadline;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::deadline(limit).into_response(),
    }
}

#[cfg(test)]
mod tests;
