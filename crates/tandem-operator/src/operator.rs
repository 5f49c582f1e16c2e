//! The life of the operator: waits to be the leader, acts, and gives the Lease back.

use std::time::Duration;

use kube::config::InferConfigError;
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use tandem_runtime::Lifecycle;
use tandem_runtime::system::Health;
use tracing::{info, warn};

use crate::controller::Controllers;
use crate::leader::Election;
use crate::metrics::Metrics;
use crate::reconcile::Settings;

/// Silence after which a connection to the API server counts as dead; watches end before.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
/// Pause before the API server is asked again at the start.
const RETRY: Duration = Duration::from_secs(2);

/// What the operator looks at, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct OperatorArgs {
    /// Namespace whose graphs are looked at; can be repeated [default: all]
    #[arg(
        long = "namespace",
        value_name = "NAME",
        value_delimiter = ',',
        env = "TANDEM_OPERATOR_NAMESPACES"
    )]
    namespaces: Vec<String>,

    /// Act only while this process holds a Lease, so that several can run
    #[arg(long)]
    leader_elect: bool,

    /// Name of the Lease
    #[arg(long, value_name = "NAME", default_value = "tandem-operator")]
    leader_elect_id: String,

    /// Namespace of the Lease [default: that of this pod]
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    leader_elect_namespace: Option<String>,

    /// Name of this process in the Lease and in events [default: one at random]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,

    /// Graphs that are looked at at a time, in each namespace
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    #[command(flatten, next_help_heading = "Pods")]
    settings: Settings,
}

/// Why the operator stopped.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// It does not know where the API server is.
    #[error(
        "failed to find the Kubernetes API; run in a pod, or name a cluster in KUBECONFIG: {0}"
    )]
    Config(#[from] InferConfigError),
    /// The API server refuses.
    #[error("failed to use the Kubernetes API: {0}")]
    Api(#[from] kube::Error),
    /// Another process acts now: this one has to begin anew.
    #[error("lost the lease, so that another operator may act")]
    LostLease,
}

/// A client of the cluster that this process runs in, or that `KUBECONFIG` names.
///
/// # Errors
/// There is none, or its certificates cannot be used.
pub async fn connect() -> Result<Client, OperatorError> {
    let mut config = Config::infer().await?;
    config.read_timeout = Some(READ_TIMEOUT);
    Ok(Client::try_from(config)?)
}

/// Makes the cluster match its graphs.
pub struct Operator {
    args: OperatorArgs,
    metrics: Metrics,
}

impl Operator {
    /// Counts in `registry`.
    pub fn new(args: OperatorArgs, registry: &mut Registry) -> Self {
        Self {
            args,
            metrics: Metrics::register(registry),
        }
    }

    /// Runs until `lifecycle` stops. `health` is good while it acts or is ready to.
    ///
    /// # Errors
    /// The API server refuses, or another process became the leader.
    pub async fn run(
        self,
        client: Client,
        health: Health,
        lifecycle: &Lifecycle,
    ) -> Result<(), OperatorError> {
        let identity = self.args.identity.clone().unwrap_or_else(random_name);
        let controllers = Controllers {
            client: client.clone(),
            namespaces: self.args.namespaces.clone(),
            concurrency: self.args.concurrency,
            settings: self.args.settings.clone(),
            instance: identity.clone(),
            metrics: self.metrics.clone(),
        };
        if !self.args.leader_elect {
            self.metrics.leader.set(1);
            return act(controllers, health, lifecycle).await;
        }
        let namespace = self.args.leader_elect_namespace.as_deref();
        let namespace = namespace
            .unwrap_or_else(|| client.default_namespace())
            .to_owned();
        let name = &self.args.leader_elect_id;
        let mut election = Election::new(client, &namespace, name, &identity);
        // One that waits is ready to take over.
        health.set(true);
        if lifecycle
            .stopping()
            .run_until_cancelled(election.win())
            .await
            .is_none()
        {
            return Ok(());
        }
        health.set(false);
        self.metrics.leader.set(1);
        let acting = lifecycle.child();
        let result = tokio::select! {
            result = act(controllers, health, &acting) => result,
            () = election.keep() => Err(OperatorError::LostLease),
        };
        self.metrics.leader.set(0);
        if let Err(error) = acting.stop(Duration::from_secs(5)).await {
            warn!(%error, "left reconciles behind");
        }
        if result.is_ok()
            && let Err(error) = election.release().await
        {
            warn!(%error, "failed to give the lease back");
        }
        result
    }
}

async fn act(
    controllers: Controllers,
    health: Health,
    lifecycle: &Lifecycle,
) -> Result<(), OperatorError> {
    let attempt = async {
        loop {
            match controllers.capabilities().await {
                Ok(capabilities) => return Ok(capabilities),
                // It says no, and will say so again.
                Err(error @ kube::Error::Api(_)) => return Err(error),
                Err(error) => warn!(%error, "failed to reach the Kubernetes API"),
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    let Some(capabilities) = lifecycle.stopping().run_until_cancelled(attempt).await else {
        return Ok(());
    };
    let capabilities = capabilities?;
    info!(?capabilities, "asked the Kubernetes API what it has");
    controllers.run(capabilities, health, lifecycle).await;
    Ok(())
}

/// A name that no other process has.
fn random_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    // Each state has keys of its own, from the system's source of randomness.
    let bits = RandomState::new().hash_one(std::process::id());
    format!("tandem-operator-{bits:016x}")
}
