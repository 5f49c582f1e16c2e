//! How the processes of a cluster reach each other: the flags, and the connections.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use tandem_runtime::discovery::{EtcdDiscovery, EtcdOptions, FileDiscovery, FileOptions};
use tandem_runtime::messaging::NatsMessaging;
use tandem_runtime::nats::{self, NatsLogin, NatsOptions};
use tandem_runtime::request_plane::{
    NetworkOptions, NetworkRequestPlane, Preference, reachable_host,
};
use tandem_runtime::{Discovery, Lifecycle};

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

    /// Addresses of etcd's members, separated by commas
    #[arg(
        long,
        value_name = "ADDRESSES",
        value_delimiter = ',',
        default_value = "http://localhost:2379",
        env = "ETCD_ENDPOINTS"
    )]
    etcd_endpoints: Vec<String>,

    /// Seconds that a killed process stays registered
    #[arg(long, value_name = "SECONDS", default_value_t = 10, env = "ETCD_LEASE_TTL",
        value_parser = clap::value_parser!(u64).range(2..))]
    etcd_lease_ttl: u64,

    /// Addresses of the NATS servers, separated by commas
    #[arg(
        long,
        value_name = "ADDRESSES",
        default_value = "nats://localhost:4222",
        env = "NATS_SERVER"
    )]
    nats_server: String,

    /// Name to log in to NATS with
    #[arg(
        long,
        value_name = "NAME",
        default_value = "user",
        env = "NATS_AUTH_USERNAME"
    )]
    nats_user: String,

    /// Password to log in to NATS with
    #[arg(
        long,
        value_name = "PASSWORD",
        default_value = "user",
        hide_default_value = true,
        hide_env_values = true,
        env = "NATS_AUTH_PASSWORD"
    )]
    nats_password: String,

    /// Token to log in to NATS with, instead of name and password
    #[arg(
        long,
        value_name = "TOKEN",
        hide_env_values = true,
        env = "NATS_AUTH_TOKEN"
    )]
    nats_token: Option<String>,

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

    /// Address of this host that the other processes can reach [default: that of the default
    /// route]
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
}

/// How requests reach a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plane {
    /// Over a TCP connection to the worker; workers of Dynamo 0.6.1 are reached over NATS
    Tcp,
    /// Over NATS, always
    Nats,
}

/// The connections of a process.
pub(crate) struct ConnectedPlanes {
    pub(crate) discovery: Arc<dyn Discovery>,
    pub(crate) messaging: Arc<NatsMessaging>,
    pub(crate) requests: Arc<NetworkRequestPlane>,
}

impl PlaneArgs {
    /// The address of this host that the other processes can reach.
    pub(crate) fn host(&self) -> IpAddr {
        self.rpc_host.unwrap_or_else(reachable_host)
    }

    /// Connects to discovery and NATS; `lifecycle` ends the connections.
    pub(crate) async fn connect(&self, lifecycle: &Lifecycle) -> Result<ConnectedPlanes> {
        let connect_timeout = Duration::from_secs(self.connect_timeout);
        let login = match &self.nats_token {
            Some(token) => NatsLogin::Token(token.clone()),
            None => NatsLogin::Password {
                user: self.nats_user.clone(),
                password: self.nats_password.clone(),
            },
        };
        let options = NatsOptions {
            server: self.nats_server.clone(),
            login,
            connect_timeout,
        };
        let client = async {
            nats::connect(&options)
                .await
                .context("failed to reach NATS; see --nats-server")
        };
        let (discovery, client) = tokio::try_join!(self.discovery(lifecycle), client)?;
        let network = NetworkOptions {
            host: self.host(),
            preference: match self.request_plane {
                Plane::Tcp => Preference::Direct,
                Plane::Nats => Preference::Nats,
            },
        };
        let max_age = Duration::from_secs(self.nats_stream_max_age);
        Ok(ConnectedPlanes {
            discovery,
            messaging: Arc::new(NatsMessaging::new(client.clone(), Some(max_age))),
            requests: Arc::new(NetworkRequestPlane::new(client, network, lifecycle)),
        })
    }

    async fn discovery(&self, lifecycle: &Lifecycle) -> Result<Arc<dyn Discovery>> {
        let lease_ttl = Duration::from_secs(self.etcd_lease_ttl);
        if let (DiscoveryBackend::File, Some(directory)) =
            (self.discovery_backend, &self.discovery_dir)
        {
            let options = FileOptions {
                directory: directory.clone(),
                lease_ttl,
            };
            let discovery = FileDiscovery::open(options, lifecycle).await;
            let discovery = discovery.context("failed to use --discovery-dir")?;
            return Ok(Arc::new(discovery));
        }
        let options = EtcdOptions {
            endpoints: self.etcd_endpoints.clone(),
            lease_ttl,
            connect_timeout: Duration::from_secs(self.connect_timeout),
        };
        let discovery = EtcdDiscovery::connect(options, lifecycle).await;
        let discovery = discovery.with_context(|| {
            let endpoints = self.etcd_endpoints.join(",");
            format!("failed to reach etcd at {endpoints}; see --etcd-endpoints")
        })?;
        Ok(Arc::new(discovery))
    }
}
