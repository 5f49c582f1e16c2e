//! `tandem router`: the semantic router as Envoy's external processor.

mod endpoint_picker;
mod flags;
mod tls;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use tandem_gateway::{
    Api, ApiOptions, ExtProc, ExtProcError, ExtProcOptions, GatewayMetrics, LoadPoller,
    metrics_routes, register_cache,
};
use tandem_runtime::Lifecycle;
use tandem_runtime::http::{self, HttpOptions};
use tandem_runtime::tls::public_trust;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::reload::{self, Reloader};
use super::{EncoderArgs, bind, block_on};
use crate::signals::Signals;
use endpoint_picker::{EndpointPickerArgs, WorkerPicker};
pub(crate) use flags::with_long_flags;

/// Most time for the HTTP ports once ExtProc has stopped.
const PAGE_DRAIN: Duration = Duration::from_millis(500);

/// Arguments of `tandem router`.
#[derive(Debug, clap::Args)]
pub(crate) struct RouterArgs {
    /// Router configuration file, of either layout; a change takes effect without a restart
    #[arg(long, value_name = "FILE", default_value = "config/config.yaml")]
    config: PathBuf,

    /// Address that all ports listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    bind_address: IpAddr,

    /// Port for Envoy (ExtProc over gRPC); 0 takes any free port
    #[arg(long, default_value_t = 9002)]
    port: u16,

    /// Port of the classification API; 0 takes any free port, -1 opens none
    #[arg(long, default_value_t = 8080, value_name = "PORT", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(-1..=65535))]
    api_port: i32,

    /// Whether to open the port of the classification API
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_api: bool,

    /// Port of the Prometheus metrics; 0 takes any free port, -1 opens none
    #[arg(long, default_value_t = 9190, value_name = "PORT", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(-1..=65535))]
    metrics_port: i32,

    /// Whether Envoy must use TLS
    #[arg(long, value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    secure: bool,

    /// Directory with tls.crt and tls.key [default: a self-signed certificate made at the start]
    #[arg(long, value_name = "DIR", requires = "secure")]
    cert_path: Option<PathBuf>,

    /// Longest wait for requests in flight after the process was asked to stop, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    drain_timeout: u64,

    /// Largest request body in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 50 << 20)]
    max_body_bytes: usize,

    #[command(flatten)]
    encoder: EncoderArgs,

    #[command(flatten)]
    endpoint_picker: EndpointPickerArgs,
}

impl RouterArgs {
    /// The router configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }
}

/// Runs until a signal asks to stop.
pub(crate) fn run(args: &RouterArgs) -> Result<()> {
    block_on(serve(args))
}

/// The bound ports.
struct Listeners {
    extproc: TcpListener,
    api: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

async fn serve(args: &RouterArgs) -> Result<()> {
    let mut signals = Signals::install()?;
    let mut running = tokio::select! {
        running = Running::start(args) => running?,
        () = signals.next() => return Ok(()),
    };
    tokio::select! {
        () = signals.next() => {}
        ended = &mut running.extproc => ended.context("the ExtProc server panicked")??,
    }
    // Whoever reads the line may ask for the readiness at once.
    running.envoy.stopping().cancel();
    info!("stopping: requests in flight may finish");
    tokio::select! {
        () = running.stop(Duration::from_secs(args.drain_timeout)) => {}
        () = signals.next() => info!("stopped at once: second signal"),
    }
    Ok(())
}

/// Everything that runs.
struct Running {
    extproc: JoinHandle<Result<(), ExtProcError>>,
    /// Serves Envoy; stops first.
    envoy: Lifecycle,
    /// Serves the API and the metrics: probes see that the process stops.
    pages: Lifecycle,
    workers: Option<WorkerPicker>,
}

impl Running {
    async fn start(args: &RouterArgs) -> Result<Self> {
        let started = Instant::now();
        // The cheap things that can be wrong come first.
        let options = extproc_options(args)?;
        let first = reload::read(&args.config).await?;
        let config = first.config()?;
        let listeners = Listeners::bind(args).await?;
        let (classifier, workers) =
            tokio::try_join!(args.encoder.load(), args.endpoint_picker.start())?;

        let (envoy, pages) = (Lifecycle::new(), Lifecycle::new());
        let mut registry = Registry::default();
        let metrics = Arc::new(GatewayMetrics::register(&mut registry));
        let classifier_of = Arc::clone(&classifier);
        let router = super::router(config, classifier_of, Arc::default(), Arc::default());
        router.warm_up().await;
        register_cache(&mut registry, Arc::clone(router.cache()));
        envoy.spawn(Arc::clone(router.cache()).work());
        let router = Arc::new(ArcSwap::from_pointee(router));
        let shared = (Arc::clone(&router), Arc::clone(&classifier));
        let reloader = Reloader::new(first, shared.0, shared.1, &mut registry);
        envoy.spawn(reloader.run());
        let asked = Arc::clone(&router);
        let poller = LoadPoller::new(asked, None, &public_trust(), &mut registry)?;
        envoy.spawn(poller.run());
        let api = Api::new(
            Arc::clone(&router),
            classifier,
            ApiOptions::default(),
            &mut registry,
            envoy.stopping().clone(),
        );
        let summary = listeners.summary(args)?;
        let mut extproc = ExtProc::new(router, options, metrics);
        if let Some(workers) = &workers {
            extproc = extproc.with_picker(workers.picker(), &mut registry);
        }
        let extproc = extproc.serve(listeners.extproc, envoy.stopping().clone());
        let extproc = envoy.spawn_to_end(extproc);
        let metrics = metrics_routes(Arc::new(registry));
        for (listener, routes) in [(listeners.api, api.routes()), (listeners.metrics, metrics)] {
            if let Some(listener) = listener {
                let serving = http::serve(listener, routes, page_options(), pages.clone());
                pages.spawn_to_end(serving);
            }
        }
        let took = started.elapsed().as_secs_f64();
        announce(&format!("ready in {took:.2} s: {summary}"));
        Ok(Self {
            extproc,
            envoy,
            pages,
            workers,
        })
    }

    /// Lets requests in flight finish, then stops everything.
    async fn stop(self, drain: Duration) {
        if let Err(error) = self.envoy.stop(drain + PAGE_DRAIN).await {
            warn!(%error, "stopped with requests in flight: they took too long");
        }
        if self.pages.stop(PAGE_DRAIN * 2).await.is_err() {
            warn!("cut off HTTP requests");
        }
        if let Some(workers) = self.workers {
            workers.stop().await;
        }
    }
}

fn page_options() -> HttpOptions {
    HttpOptions {
        drain_timeout: PAGE_DRAIN,
        ..HttpOptions::default()
    }
}

fn extproc_options(args: &RouterArgs) -> Result<ExtProcOptions> {
    let identity = args
        .secure
        .then(|| tls::identity(args.cert_path.as_deref()));
    Ok(ExtProcOptions {
        max_body_bytes: args.max_body_bytes,
        identity: identity.transpose()?,
        drain_timeout: Duration::from_secs(args.drain_timeout),
    })
}

impl Listeners {
    async fn bind(args: &RouterArgs) -> Result<Self> {
        let host = args.bind_address;
        let api = if args.enable_api { args.api_port } else { -1 };
        Ok(Self {
            extproc: bind(host, args.port, "--port").await?,
            api: bind_optional(host, api, "--api-port").await?,
            metrics: bind_optional(host, args.metrics_port, "--metrics-port").await?,
        })
    }

    fn summary(&self, args: &RouterArgs) -> Result<String> {
        let scheme = if args.secure { "grpcs" } else { "grpc" };
        let mut summary = format!("extproc {scheme}://{}", self.extproc.local_addr()?);
        for (name, listener) in [("api", &self.api), ("metrics", &self.metrics)] {
            if let Some(listener) = listener {
                summary += &format!(", {name} http://{}", listener.local_addr()?);
            }
        }
        Ok(summary)
    }
}

async fn bind_optional(host: IpAddr, port: i32, flag: &str) -> Result<Option<TcpListener>> {
    match u16::try_from(port) {
        Ok(port) => bind(host, port, flag).await.map(Some),
        Err(_) => Ok(None),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "this is what the command tells whoever ran it"
)]
fn announce(line: &str) {
    println!("{line}");
}
