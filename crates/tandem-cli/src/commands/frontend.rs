//! `tandem frontend`: the OpenAI API of a cluster.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use prometheus_client::registry::Registry;
use tandem_frontend::{Frontend, FrontendArgs, Planes};
use tandem_runtime::Lifecycle;
use tandem_runtime::discovery::Discovery;
use tandem_runtime::http::HttpOptions;
use tracing::{info, warn};

use super::{bind, block_on};
use crate::args::TlsArgs;
use crate::planes::PlaneArgs;
use crate::signals::Signals;

/// Arguments of `tandem frontend`.
#[derive(Debug, clap::Args)]
pub(crate) struct FrontendCommandArgs {
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), env = "DYN_HTTP_HOST")]
    http_host: IpAddr,

    /// Port to listen on; 0 takes any free port
    #[arg(long, default_value_t = 8000, env = "DYN_HTTP_PORT")]
    http_port: u16,

    #[command(flatten)]
    tls: TlsArgs,

    /// Namespace whose models are served [default: all]
    #[arg(long, value_name = "NAME", env = "DYN_NAMESPACE")]
    namespace: Option<String>,

    /// Seconds that requests in flight get when the process is asked to stop
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        env = "DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS"
    )]
    drain_timeout: u64,

    #[command(flatten)]
    frontend: FrontendArgs,

    #[command(flatten)]
    planes: PlaneArgs,
}

/// Runs until a signal asks to stop.
pub(crate) fn run(args: &FrontendCommandArgs) -> Result<()> {
    block_on(serve(args))
}

#[expect(clippy::print_stdout, reason = "people wait for this line")]
async fn serve(args: &FrontendCommandArgs) -> Result<()> {
    let started = Instant::now();
    let http = Lifecycle::new();
    let tls = args.tls.acceptor(&http)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listener = bind(args.http_host, args.http_port, "--http-port").await?;
    let address = listener.local_addr()?;
    let mut signals = Signals::install()?;
    let plane = Lifecycle::new();
    let planes = tokio::select! {
        planes = args.planes.connect(&plane) => planes?,
        () = signals.next() => return Ok(()),
    };
    let discovery = Arc::clone(&planes.discovery);
    let mut registry = Registry::default();
    let frontend_planes = Planes {
        discovery: planes.discovery,
        messaging: planes.messaging,
        requests: planes.requests,
        namespace: args.namespace.clone(),
    };
    let frontend = Frontend::start(&args.frontend, frontend_planes, &mut registry, &plane);
    let drain_timeout = Duration::from_secs(args.drain_timeout);
    let options = HttpOptions {
        drain_timeout,
        tls,
        ..HttpOptions::default()
    };
    http.spawn_to_end(frontend.serve(listener, Arc::new(registry), options, http.clone()));
    println!("frontend {scheme}://{address}");
    println!("ready in {:.1} s", started.elapsed().as_secs_f64());

    signals.next().await;
    info!("stopping: requests in flight may finish");
    tokio::select! {
        () = drain(&http, drain_timeout) => {}
        () = signals.next() => info!("stopped at once: second signal"),
    }
    leave(discovery.as_ref(), &plane).await;
    Ok(())
}

async fn leave(discovery: &dyn Discovery, plane: &Lifecycle) {
    if let Err(error) = discovery.revoke().await {
        warn!(%error, "failed to give the lease back");
    }
    if let Err(error) = plane.stop(Duration::from_secs(2)).await {
        warn!(%error, "left tasks behind");
    }
}

async fn drain(http: &Lifecycle, timeout: Duration) {
    if let Err(error) = http.stop(timeout + Duration::from_secs(1)).await {
        warn!(%error, "cut off requests");
    }
}
