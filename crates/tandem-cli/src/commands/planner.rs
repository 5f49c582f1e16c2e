//! `tandem planner`: asks for as many prefill and decode workers as the traffic needs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use tandem_operator::planner::apply::{Connector, Kubernetes, VirtualKeys};
use tandem_operator::planner::role::PerRole;
use tandem_operator::planner::{Environment, Planner, PlannerArgs};
use tandem_runtime::system::{self, Health};
use tandem_runtime::{EndpointId, Lifecycle};
use tracing::warn;

use super::{bind, block_on};
use crate::planes::PlaneArgs;
use crate::signals::Signals;

/// Arguments of `tandem planner`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlannerCommandArgs {
    /// Who starts and stops workers
    #[arg(long, value_enum, default_value_t = Environment::Kubernetes)]
    environment: Environment,

    #[command(flatten)]
    planner: PlannerArgs,

    /// Namespace of the workers in discovery, for `--environment virtual`
    #[arg(
        long,
        value_name = "NAME",
        default_value = "dynamo",
        env = "DYN_NAMESPACE"
    )]
    namespace: String,

    /// Component of the prefill workers, for `--environment virtual`
    #[arg(long, value_name = "NAME", default_value = "prefill")]
    prefill_component: String,

    /// Component of the decode workers, for `--environment virtual`
    #[arg(long, value_name = "NAME", default_value = "backend")]
    decode_component: String,

    /// Graph deployment to scale, for `--environment kubernetes`
    #[arg(long, value_name = "NAME", env = "DYN_PARENT_DGD_K8S_NAME")]
    graph: Option<String>,

    /// Kubernetes namespace of the graph deployment [default: this pod's]
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    kubernetes_namespace: Option<String>,

    /// Address that metrics and health are served on
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    metrics_host: IpAddr,

    /// Port of metrics and health; 0 serves none
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        env = "PLANNER_PROMETHEUS_PORT"
    )]
    metrics_port: u16,

    #[command(flatten)]
    planes: PlaneArgs,
}

/// Runs until a signal asks to stop.
pub(crate) fn run(args: &PlannerCommandArgs) -> Result<()> {
    block_on(plan(args))
}

#[expect(
    clippy::print_stdout,
    reason = "a dry run is there to be read, and people wait for the first line"
)]
async fn plan(args: &PlannerCommandArgs) -> Result<()> {
    let settings = args.planner.settings()?;
    let source = args.planner.source()?;
    let lifecycle = Lifecycle::new();
    let mut signals = Signals::install()?;
    let connector = tokio::select! {
        connector = args.connector(&lifecycle) => connector?,
        () = signals.next() => return Ok(()),
    };
    let mut registry = Registry::default();
    let (dry_run, interval) = (settings.dry_run, settings.interval.as_secs());
    let planner = Planner::new(source, connector, settings, &mut registry);
    if args.metrics_port > 0 {
        let listener = bind(args.metrics_host, args.metrics_port, "--metrics-port").await?;
        let health = Health::new(&["plan"]);
        health.set(true);
        let registry = Arc::new(registry);
        lifecycle.spawn_to_end(system::run(listener, health, registry, lifecycle.clone()));
    }
    println!("planner decides every {interval} s");
    let planning = lifecycle.clone();
    lifecycle.spawn_to_end(async move {
        let tell = |decision: &_| {
            if dry_run {
                println!("would ask for {decision}");
            }
        };
        planner.run(&planning, tell).await;
    });
    signals.next().await;
    if let Err(error) = lifecycle.stop(Duration::from_secs(5)).await {
        warn!(%error, "left tasks behind");
    }
    Ok(())
}

impl PlannerCommandArgs {
    async fn connector(&self, lifecycle: &Lifecycle) -> Result<Connector> {
        let planned = self.planner.planned();
        if self.environment == Environment::Virtual {
            let discovery = self.planes.discover(lifecycle).await?;
            let endpoint = |name: &str| EndpointId::new(&self.namespace, name, "generate");
            let endpoints = PerRole {
                prefill: planned.prefill.then(|| endpoint(&self.prefill_component)),
                decode: Some(endpoint(&self.decode_component)),
            };
            let keys = VirtualKeys::start(discovery, &self.namespace, &endpoints, lifecycle);
            return Ok(Connector::Virtual(keys));
        }
        let graph = self.graph.as_deref();
        let graph =
            graph.context("--environment kubernetes needs --graph, whose workers to scale")?;
        let kubernetes = Kubernetes::connect(self.kubernetes_namespace.as_deref(), graph, planned);
        let kubernetes = kubernetes.await.context("failed to reach Kubernetes")?;
        Ok(Connector::Kubernetes(Box::new(kubernetes)))
    }
}
