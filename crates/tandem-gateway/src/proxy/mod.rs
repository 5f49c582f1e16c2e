//! The embedded reverse proxy.

mod access;
mod access_log;
mod error;
mod exchange;
mod forward;
mod metrics;
mod scanned;
mod upstream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use http::{Request, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prometheus_client::registry::Registry;
use tandem_runtime::Lifecycle;
use tandem_runtime::http::{self as server, HttpOptions};
use tandem_runtime::tls::{self, ClientConfig, TlsAcceptor};
use tandem_semantic_router::Router;
use tandem_semantic_router::config::Address;
use tokio::net::TcpListener;
use tower::service_fn;

use crate::load_poller::LoadPoller;
use crate::metrics::GatewayMetrics;
use access::Accounts;
pub(crate) use access::Grant;
use metrics::ProxyMetrics;
use upstream::Upstreams;
pub(crate) use upstream::{HttpClient, uri};

/// How long an unused connection to a server is kept.
const IDLE: Duration = Duration::from_secs(90);

/// How the proxy treats its peers.
#[derive(Clone)]
pub struct GatewayOptions {
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Longest wait for a request's headers.
    pub header_timeout: Duration,
    /// Longest wait for a request's body.
    pub body_timeout: Duration,
    /// Longest wait for a connection to the upstream.
    pub connect_timeout: Duration,
    /// Longest wait for the upstream's response headers, where the model has no limit of its own.
    pub response_timeout: Duration,
    /// Most client connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Longest wait for requests in flight after the shutdown began.
    pub drain_timeout: Duration,
    /// Encrypts clients' connections; plain text without it.
    pub tls: Option<TlsAcceptor>,
    /// Whom the gateway trusts when it speaks TLS to servers.
    pub trust: Arc<ClientConfig>,
    /// Whether a line is logged for every request.
    pub access_log: bool,
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
            tls: None,
            trust: tls::public_trust(),
            access_log: false,
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

/// What a gateway is made of.
pub struct GatewayParts {
    /// Decides. It may be swapped at any time; requests in flight keep the old one.
    pub router: Arc<ArcSwap<Router>>,
    /// Serves the models whose configuration names no server.
    pub upstream: Option<Uri>,
    /// Where requests are counted.
    pub metrics: Arc<GatewayMetrics>,
    /// What `/metrics` shows.
    pub registry: Registry,
    /// Until when it serves.
    pub lifecycle: Lifecycle,
}

/// A reverse proxy that does what the router decides.
pub struct Gateway {
    router: Arc<ArcSwap<Router>>,
    upstreams: Upstreams,
    accounts: Accounts,
    options: GatewayOptions,
    metrics: Arc<GatewayMetrics>,
    proxy_metrics: ProxyMetrics,
    registry: Registry,
    lifecycle: Lifecycle,
}

impl Gateway {
    /// A proxy in front of the servers that the router's configuration names, and of the upstream.
    /// It begins to ask them for their load, where a decision is aware of it.
    ///
    /// # Errors
    /// The upstream is not an HTTP address.
    pub fn new(parts: GatewayParts, options: GatewayOptions) -> Result<Self, GatewayError> {
        let GatewayParts {
            router,
            upstream,
            metrics,
            mut registry,
            lifecycle,
        } = parts;
        let load_poller = LoadPoller::new(
            Arc::clone(&router),
            upstream.as_ref(),
            &options.trust,
            &mut registry,
        )?;
        lifecycle.spawn(load_poller.run());
        let upstream = upstream.as_ref().map(address_of).transpose()?;
        Ok(Self {
            router,
            upstreams: Upstreams::new(
                http_client(options.connect_timeout, &options.trust),
                upstream,
                lifecycle.clone(),
            ),
            accounts: Accounts::default(),
            options,
            metrics,
            proxy_metrics: ProxyMetrics::register(&mut registry),
            registry,
            lifecycle,
        })
    }

    /// Serves until the lifecycle stops, then waits for the requests in flight.
    pub async fn serve(self, listener: TcpListener) {
        let options = HttpOptions {
            header_timeout: self.options.header_timeout,
            drain_timeout: self.options.drain_timeout,
            max_connections: self.options.max_connections,
            tls: self.options.tls.clone(),
        };
        let lifecycle = self.lifecycle.clone();
        self.upstreams.check_health(&self.router.load_full());
        let gateway = Arc::new(self);
        let handler = service_fn(move |request: Request<Body>| {
            let gateway = Arc::clone(&gateway);
            async move { Ok::<_, Infallible>(gateway.handle(request).await.map(Body::new)) }
        });
        let routes = axum::Router::new().fallback_service(handler);
        server::serve(listener, routes, options, lifecycle).await;
    }
}

/// A client that keeps its connections.
pub(crate) fn http_client(connect_timeout: Duration, trust: &ClientConfig) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_timeout));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trust.clone())
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector)
}

/// Where an upstream listens. A path that ends in `/v1` is that of the API.
pub(crate) fn address_of(base: &Uri) -> Result<Address, GatewayError> {
    let unusable = || GatewayError::Upstream(base.clone());
    let tls = match base.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(unusable()),
    };
    let path = base.path().trim_end_matches('/');
    Ok(Address {
        tls,
        authority: base.authority().ok_or_else(unusable)?.to_string(),
        path: path.strip_suffix("/v1").unwrap_or(path).to_owned(),
    })
}
