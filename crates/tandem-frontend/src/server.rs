//! The frontend as a whole: its parts, its routes, its listener.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{Method, Uri};
use prometheus_client::registry::Registry;
use tandem_runtime::http::{HttpOptions, serve};
use tandem_runtime::{Discovery, Lifecycle, Messaging, RequestPlane};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::FrontendArgs;
use crate::error::FrontendError;
use crate::generation::Dispatcher;
use crate::handlers;
use crate::load::LoadBoard;
use crate::metrics::Metrics;
use crate::model_registry::ModelRegistry;

/// How the frontend reaches the rest of the system.
#[derive(Clone)]
pub struct Planes {
    /// Where models and instances are found.
    pub discovery: Arc<dyn Discovery>,
    /// Where KV events come from.
    pub messaging: Arc<dyn Messaging>,
    /// How workers are called.
    pub requests: Arc<dyn RequestPlane>,
    /// The namespace whose models are served; `None` for all.
    pub namespace: Option<String>,
}

/// A running frontend.
pub struct Frontend {
    pub(crate) registry: Arc<ModelRegistry>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) load: LoadBoard,
    pub(crate) body_limit: usize,
}

impl Frontend {
    /// Starts to follow the models in discovery; they are served once [`Frontend::serve`] runs.
    pub fn start(
        args: &FrontendArgs,
        planes: Planes,
        metrics: &mut Registry,
        lifecycle: &Lifecycle,
    ) -> Arc<Self> {
        let metrics = Arc::new(Metrics::register(metrics));
        Arc::new(Self {
            registry: ModelRegistry::start(&args.routing, &planes, lifecycle),
            dispatcher: Dispatcher {
                plane: planes.requests,
                metrics,
                prefill_policy: args.prefill_policy(),
                migration_limit: args.migration_limit,
                stall_timeout: Duration::from_secs_f64(args.stall_timeout),
            },
            load: LoadBoard::default(),
            body_limit: args.body_limit_bytes(),
        })
    }

    /// Answers on `listener` until `lifecycle` stops and the requests in flight have ended.
    /// `metrics` is what `/metrics` shows.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        metrics: Arc<Registry>,
        options: HttpOptions,
        lifecycle: Lifecycle,
    ) {
        serve(listener, routes(self, metrics), options, lifecycle).await;
    }

    /// Whether `model` can be served now.
    pub fn is_ready(&self, model: &str) -> bool {
        self.registry
            .get(model)
            .is_ok_and(|model| !model.decode.instances().current().is_empty())
    }
}

fn routes(frontend: Arc<Frontend>, metrics: Arc<Registry>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(handlers::chat))
        .route("/v1/completions", post(handlers::completions))
        .route("/v1/models", get(handlers::models))
        .route("/v1/models/{*id}", get(handlers::model))
        .route("/health", get(handlers::health))
        .route("/load", get(handlers::load))
        .route("/live", get(handlers::live))
        .route("/metrics", get(async move || handlers::metrics(&metrics)))
        .fallback(async |uri: Uri| FrontendError::UnknownRoute(uri.path().to_owned()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            FrontendError::MethodNotAllowed {
                method: method.to_string(),
                path: uri.path().to_owned(),
            }
        })
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(frontend)
}

/// A panic is a defect, but it must cost one request only.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer's callback takes it by value"
)]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    FrontendError::from_panic(&*panic).into_response()
}
