//! How the processes of a cluster reach each other: the flags, and the connections.

mod etcd;
mod kubernetes;
mod nats;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use tandem_runtime::discovery::{FileDiscovery, FileOptions};
use tandem_runtime::messaging::{MessagingError, NatsMessaging, ZmqMessaging};
use tandem_runtime::nats::Client;
use tandem_runtime::request_plane::{
    NetworkOptions, NetworkRequestPlane, Preference, reachable_host,
};
use tandem_runtime::{Discovery, Lifecycle, Messaging};

use etcd::EtcdArgs;
use kubernetes::KubernetesArgs;
use nats::NatsArgs;

/// How to reach discovery, NATS and the other processes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct PlaneArgs {
    /// Where the processes find each other
    #[arg(long, value_enum, default_value_t = DiscoveryBackend::Etcd,
        env = "DYN_DISCOVERY_BACKEND")]
    discovery_backend: DiscoveryBackend,

    /// Directory that the processes share, for `--discovery-backend file`
    #[arg(
        long,
        value_name = "DIRECTORY",
        required_if_eq("discovery_backend", "file"),
        env = "DYN_FILE_KV"
    )]
    discovery_dir: Option<PathBuf>,

    #[command(flatten)]
    etcd: EtcdArgs,

    #[command(flatten)]
    kubernetes: KubernetesArgs,

    #[command(flatten)]
    nats: NatsArgs,

    /// How KV events and the load of workers travel; all processes must agree
    #[arg(long, value_enum, default_value_t = EventPlane::Nats, env = "DYN_EVENT_PLANE")]
    event_plane: EventPlane,

    /// Seconds that NATS keeps KV events for frontends that come later
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3600,
        env = "DYN_NATS_STREAM_MAX_AGE"
    )]
    nats_stream_max_age: u64,

    /// Seconds to wait for discovery and NATS at the start
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 120,
        env = "ETCD_STARTUP_CONNECT_TIMEOUT_SECONDS"
    )]
    connect_timeout: u64,

    /// How requests reach a worker that can be reached both ways
    #[arg(long, value_enum, default_value_t = Plane::Tcp, env = "DYN_REQUEST_PLANE")]
    request_plane: Plane,

    /// Address of this host that the other processes can reach [default: the pod's, or that of
    /// the default route]
    #[arg(long, value_name = "ADDRESS", env = "DYN_TCP_RPC_HOST")]
    rpc_host: Option<IpAddr>,
}

/// Where the processes find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiscoveryBackend {
    /// In etcd
    Etcd,
    /// In the files of a directory that they share
    File,
    /// In objects that the Kubernetes API keeps, one for each pod
    Kubernetes,
}

/// How requests reach a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plane {
    /// Over a TCP connection to the worker; workers of Dynamo 0.6.1 are reached over NATS
    Tcp,
    /// Over NATS, always
    Nats,
}

/// How events travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventPlane {
    /// Through NATS
    Nats,
    /// Over ZMQ, from each process to each; without NATS, so that workers and frontends of Dynamo
    /// 0.6.1 are out of reach
    Zmq,
}

/// The connections of a process.
pub(crate) struct ConnectedPlanes {
    pub(crate) discovery: Arc<dyn Discovery>,
    pub(crate) messaging: Arc<dyn Messaging>,
    pub(crate) requests: Arc<NetworkRequestPlane>,
}

impl PlaneArgs {
    /// The address of this host that the other processes can reach.
    pub(crate) fn host(&self) -> IpAddr {
        let told = self.rpc_host.or_else(|| self.kubernetes.pod_ip());
        told.unwrap_or_else(reachable_host)
    }

    /// Connects to discovery, and to NATS if events or requests take it; `lifecycle` ends the
    /// connections.
    pub(crate) async fn connect(&self, lifecycle: &Lifecycle) -> Result<ConnectedPlanes> {
        if self.event_plane == EventPlane::Zmq && self.request_plane == Plane::Nats {
            bail!("--request-plane nats needs NATS, and --event-plane zmq does without: drop one");
        }
        let connect_timeout = Duration::from_secs(self.connect_timeout);
        let discovery = self.discovery(connect_timeout, lifecycle);
        let (discovery, client) = tokio::try_join!(discovery, self.nats(connect_timeout))?;
        let network = NetworkOptions {
            host: self.host(),
            preference: match self.request_plane {
                Plane::Tcp => Preference::Direct,
                Plane::Nats => Preference::Nats,
            },
        };
        let messaging: Arc<dyn Messaging> = match client.clone() {
            Some(client) => {
                let max_age = Duration::from_secs(self.nats_stream_max_age);
                Arc::new(NatsMessaging::new(client, Some(max_age)))
            }
            None => Arc::new(ZmqMessaging::new(discovery.clone(), self.host(), lifecycle)),
        };
        Ok(ConnectedPlanes {
            discovery,
            messaging,
            requests: Arc::new(NetworkRequestPlane::new(client, network, lifecycle)),
        })
    }

    /// Connects to discovery alone.
    pub(crate) async fn discover(&self, lifecycle: &Lifecycle) -> Result<Arc<dyn Discovery>> {
        let timeout = Duration::from_secs(self.connect_timeout);
        self.discovery(timeout, lifecycle).await
    }

    async fn discovery(
        &self,
        timeout: Duration,
        lifecycle: &Lifecycle,
    ) -> Result<Arc<dyn Discovery>> {
        Ok(match self.discovery_backend {
            DiscoveryBackend::Etcd => Arc::new(self.etcd.connect(timeout, lifecycle).await?),
            DiscoveryBackend::File => Arc::new(self.directory(lifecycle).await?),
            DiscoveryBackend::Kubernetes => {
                Arc::new(self.kubernetes.connect(timeout, lifecycle).await?)
            }
        })
    }

    async fn directory(&self, lifecycle: &Lifecycle) -> Result<FileDiscovery> {
        let directory = self.discovery_dir.clone();
        let options = FileOptions {
            directory: directory.context("--discovery-dir is not set")?,
            lease_ttl: self.etcd.lease_ttl(),
        };
        let discovery = FileDiscovery::open(options, lifecycle).await;
        discovery.context("failed to use --discovery-dir")
    }

    async fn nats(&self, timeout: Duration) -> Result<Option<Client>> {
        if self.event_plane == EventPlane::Zmq {
            return Ok(None);
        }
        let options = self.nats.options(timeout);
        let client = tandem_runtime::nats::connect(&options).await;
        client.map(Some).map_err(explain)
    }
}

/// Says which flags help.
fn explain(error: MessagingError) -> anyhow::Error {
    let context = match error {
        MessagingError::Denied(_) => {
            "NATS does not let this process in; see the flags that begin with --nats"
        }
        MessagingError::Unavailable(_) => "failed to reach NATS; see --nats-server",
    };
    anyhow::Error::new(error).context(context)
}
