//! `tandem operator`: makes a Kubernetes cluster match its graphs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use prometheus_client::registry::Registry;
use tandem_operator::{Operator, OperatorArgs};
use tandem_runtime::Lifecycle;
use tandem_runtime::system::{self, Health};
use tracing::{info, warn};

use super::{bind, block_on_runtime};
use crate::signals::Signals;

/// Most time that reconciles in flight get when the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Arguments of `tandem operator`.
#[derive(Debug, clap::Args)]
pub(crate) struct OperatorCommandArgs {
    /// Address on which metrics and health are served
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    metrics_host: IpAddr,

    /// Port of metrics and health: /metrics, /healthz, /readyz; 0 takes any free port
    #[arg(long, default_value_t = 8081)]
    metrics_port: u16,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Runs until a signal asks to stop. It mostly waits, and memory that one thread gave back is not
/// used by another: one thread is enough, on any number of cores.
pub(crate) fn run(args: &OperatorCommandArgs) -> Result<()> {
    avoid_huge_pages();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    block_on_runtime(builder.worker_threads(1), serve(args))
}

#[expect(clippy::print_stdout, reason = "people wait for this line")]
async fn serve(args: &OperatorCommandArgs) -> Result<()> {
    let mut signals = Signals::install()?;
    let listener = bind(args.metrics_host, args.metrics_port, "--metrics-port").await?;
    let address = listener.local_addr()?;
    let client = tandem_operator::connect().await?;
    let lifecycle = Lifecycle::new();
    let server = Lifecycle::new();
    let mut registry = Registry::default();
    let operator = Operator::new(args.operator.clone(), &mut registry);
    let health = Health::new(&["operator"]);
    let page = system::run(listener, health.clone(), Arc::new(registry), server.clone());
    server.spawn_to_end(page);
    println!("operator http://{address}");

    let mut running = std::pin::pin!(operator.run(client, health, &lifecycle));
    let result = tokio::select! {
        result = &mut running => result,
        () = signals.next() => {
            info!("stopping: reconciles in flight may finish");
            lifecycle.stopping().cancel();
            tokio::time::timeout(DRAIN, running).await.unwrap_or(Ok(()))
        }
    };
    for part in [&lifecycle, &server] {
        if let Err(error) = part.stop(Duration::from_secs(2)).await {
            warn!(%error, "left tasks behind");
        }
    }
    Ok(result?)
}

/// The allocator asks for pages of 2 MiB, which is twice the memory for what is kept of graphs.
fn avoid_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        info!(%error, "failed to turn off huge pages: more memory will be used");
    }
}
