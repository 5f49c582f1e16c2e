//! The embedded reverse proxy.

mod error;
mod exchange;
mod forward;
mod scanned;
mod server;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use prometheus_client::registry::Registry;
use tandem_semantic_router::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::GatewayMetrics;
use forward::Upstream;

/// How the proxy treats its peers.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Longest wait for a request's headers.
    pub header_timeout: Duration,
    /// Longest wait for a request's body.
    pub body_timeout: Duration,
    /// Longest wait for a connection to the upstream.
    pub connect_timeout: Duration,
    /// Longest wait for the upstream's response headers.
    pub response_timeout: Duration,
    /// Most client connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Longest wait for requests in flight after the shutdown began.
    pub drain_timeout: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 45 << 20,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(600),
            max_connections: 10_000,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// Why a gateway cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// The upstream's address is not usable.
    #[error("upstream must be an address like http://127.0.0.1:8000, not `{0}`")]
    Upstream(Uri),
}

/// A reverse proxy that does what the router decides.
pub struct Gateway {
    router: Arc<ArcSwap<Router>>,
    upstream: Upstream,
    options: GatewayOptions,
    metrics: Arc<GatewayMetrics>,
    registry: Arc<Registry>,
}

impl Gateway {
    /// A proxy in front of `upstream`. The router may be swapped at any time; requests in flight
    /// keep the old one. `registry` is what `/metrics` shows.
    ///
    /// # Errors
    /// `upstream` is not a plain HTTP address.
    pub fn new(
        router: Arc<ArcSwap<Router>>,
        upstream: &Uri,
        options: GatewayOptions,
        metrics: Arc<GatewayMetrics>,
        registry: Arc<Registry>,
    ) -> Result<Self, GatewayError> {
        Ok(Self {
            router,
            upstream: Upstream::new(upstream, &options)?,
            options,
            metrics,
            registry,
        })
    }

    /// Serves until `shutdown`, then waits for the requests in flight.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        server::serve(Arc::new(self), listener, shutdown).await;
    }
}
