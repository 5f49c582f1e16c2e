//! `tandem gateway`: the semantic router as a reverse proxy, without Envoy.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use arc_swap::ArcSwap;
use http::Uri;
use prometheus_client::registry::Registry;
use tandem_gateway::{
    Api, ApiOptions, Gateway, GatewayMetrics, GatewayOptions, GatewayParts, register_cache,
};
use tandem_runtime::http::{HttpOptions, serve as serve_http};
use tandem_runtime::{Lifecycle, tls};
use tandem_semantic_router::RouterConfig;
use tracing::{info, warn};

use super::reload::{self, Reloader};
use super::{EncoderArgs, bind, block_on};
use crate::args::TlsArgs;
use crate::signals::Signals;

/// Arguments of `tandem gateway`.
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayCommandArgs {
    /// Router configuration file, of either layout; a change takes effect without a restart
    #[arg(long, value_name = "FILE", default_value = "config/config.yaml")]
    config: PathBuf,

    /// Address to listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    host: IpAddr,

    /// Port to listen on; 0 takes any free port
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// Port of the classification API, which also shows and drops cached answers; 0 takes any free
    /// port [default: none opens]
    #[arg(long, value_name = "PORT")]
    api_port: Option<u16>,

    /// Address that the classification API listens on: it asks for no key
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    api_host: IpAddr,

    /// Server of the models whose configuration names none, such as http://frontend:8000
    #[arg(long, value_name = "URL")]
    upstream: Option<Uri>,

    /// Certificate authorities in PEM that sign the servers' certificates, beside the public ones
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,

    #[command(flatten)]
    tls: TlsArgs,

    /// Largest request body in bytes
    #[arg(long, value_name = "BYTES", default_value_t = GatewayOptions::default().max_body_bytes)]
    max_body_bytes: usize,

    /// Most client connections at a time; more wait to be accepted
    #[arg(long, value_name = "N", default_value_t = GatewayOptions::default().max_connections)]
    max_connections: usize,

    /// Longest wait for a server to begin its answer, in seconds, where the model has no limit of
    /// its own
    #[arg(long, value_name = "SECONDS",
          default_value_t = GatewayOptions::default().response_timeout.as_secs())]
    response_timeout: u64,

    /// Longest wait for requests in flight after the process was asked to stop, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    drain_timeout: u64,

    /// Whether a line is logged for every request
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    access_log: bool,

    #[command(flatten)]
    encoder: EncoderArgs,
}

/// Runs until a signal asks to stop.
pub(crate) fn run(args: &GatewayCommandArgs) -> Result<()> {
    block_on(serve(args))
}

#[expect(clippy::print_stdout, reason = "people wait for this line")]
async fn serve(args: &GatewayCommandArgs) -> Result<()> {
    let started = Instant::now();
    let mut signals = Signals::install()?;
    let lifecycle = Lifecycle::new();
    // The cheap things that can be wrong come first.
    let options = args.options(&lifecycle)?;
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let first = reload::read(&args.config).await?;
    let config = first.config()?;
    check_servers(&config, args.upstream.is_some())?;
    let listener = bind(args.host, args.port, "--port").await?;
    let address = listener.local_addr()?;
    let api_listener = match args.api_port {
        Some(port) => Some(bind(args.api_host, port, "--api-port").await?),
        None => None,
    };
    let classifier = args.encoder.load().await?;

    let mut registry = Registry::default();
    let metrics = Arc::new(GatewayMetrics::register(&mut registry));
    let router = super::router(
        config,
        Arc::clone(&classifier),
        Arc::default(),
        Arc::default(),
    );
    register_cache(&mut registry, Arc::clone(router.cache()));
    lifecycle.spawn(Arc::clone(router.cache()).work());
    router.warm_up().await;
    let router = Arc::new(ArcSwap::from_pointee(router));
    let mut summary = format!("gateway {scheme}://{address}");
    if let Some(listener) = api_listener {
        write!(summary, ", api http://{}", listener.local_addr()?)?;
        let api = Api::new(
            Arc::clone(&router),
            Arc::clone(&classifier),
            ApiOptions::default(),
            &mut registry,
            lifecycle.stopping().clone(),
        );
        let serving = serve_http(
            listener,
            api.routes(),
            HttpOptions::default(),
            lifecycle.clone(),
        );
        lifecycle.spawn_to_end(serving);
    }
    let reloader = Reloader::new(first, Arc::clone(&router), classifier, &mut registry);
    lifecycle.spawn(reloader.run());
    let parts = GatewayParts {
        router,
        upstream: args.upstream.clone(),
        metrics,
        registry,
        lifecycle: lifecycle.clone(),
    };
    let gateway = Gateway::new(parts, options)?;
    lifecycle.spawn_to_end(gateway.serve(listener));
    println!("{summary}");
    println!("ready in {:.2} s", started.elapsed().as_secs_f64());

    signals.next().await;
    info!("stopping: requests in flight may finish");
    let wait = Duration::from_secs(args.drain_timeout) + Duration::from_secs(1);
    tokio::select! {
        stopped = lifecycle.stop(wait) => {
            if let Err(error) = stopped {
                warn!(%error, "stopped with requests in flight: they took too long");
            }
        }
        () = signals.next() => info!("stopped at once: second signal"),
    }
    Ok(())
}

impl GatewayCommandArgs {
    /// The router configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    fn options(&self, lifecycle: &Lifecycle) -> Result<GatewayOptions> {
        let trust = self.upstream_ca.as_deref().map(tls::trust_with);
        let trust = trust.unwrap_or_else(|| Ok(tls::public_trust()))?;
        Ok(GatewayOptions {
            max_body_bytes: self.max_body_bytes,
            max_connections: self.max_connections,
            response_timeout: Duration::from_secs(self.response_timeout),
            drain_timeout: Duration::from_secs(self.drain_timeout),
            tls: self.tls.acceptor(lifecycle)?,
            trust,
            access_log: self.access_log,
            ..GatewayOptions::default()
        })
    }
}

/// Without an upstream, every model needs a server of its own.
fn check_servers(config: &RouterConfig, upstream: bool) -> Result<()> {
    if upstream {
        return Ok(());
    }
    let without = config
        .models
        .iter()
        .filter(|model| model.backends.is_empty());
    let names: Vec<&str> = without.map(|model| model.name.as_str()).collect();
    if config.models.is_empty() {
        bail!("no model has a server; name one with --upstream, or give the models backends");
    }
    if names.len() == config.models.len() {
        bail!(
            "no server is configured for {}; name one with --upstream, or give the models \
             `backend_refs` (layered layout) or `preferred_endpoints` (flat layout)",
            names.join(", ")
        );
    }
    if !names.is_empty() {
        warn!(
            models = names.join(", "),
            "no server is configured: requests for these fail"
        );
    }
    Ok(())
}
