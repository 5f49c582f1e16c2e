//! What the operator was told about its cluster.

use clap::ValueEnum;

/// Where the processes of a graph find each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum DiscoveryBackend {
    /// In etcd.
    #[default]
    Etcd,
    /// In resources of the Kubernetes API.
    Kubernetes,
}

impl DiscoveryBackend {
    /// As processes and annotations write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// What goes into the pods of all graphs.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Settings {
    /// Image of components that name none; their command is then `tandem` with their role
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "tandem:latest",
        env = "TANDEM_DEFAULT_IMAGE"
    )]
    pub default_image: String,

    /// Where the processes of a graph find each other
    #[arg(long, value_enum, default_value_t = DiscoveryBackend::Etcd,
        env = "TANDEM_DISCOVERY_BACKEND")]
    pub discovery_backend: DiscoveryBackend,

    /// Endpoints of etcd, which pods get as ETCD_ENDPOINTS
    #[arg(long, value_name = "URLS", env = "TANDEM_ETCD_ENDPOINTS")]
    pub etcd_endpoints: Option<String>,

    /// Address of NATS, which pods get as NATS_SERVER; without it they send events over ZMQ
    #[arg(long, value_name = "URL", env = "TANDEM_NATS_SERVER")]
    pub nats_server: Option<String>,

    /// Address of Prometheus, which pods get as PROMETHEUS_ENDPOINT
    #[arg(long, value_name = "URL", env = "TANDEM_PROMETHEUS_ENDPOINT")]
    pub prometheus_endpoint: Option<String>,

    /// Address of a Model Express server, which pods get as MODEL_EXPRESS_URL
    #[arg(long, value_name = "URL", env = "TANDEM_MODEL_EXPRESS_URL")]
    pub model_express_url: Option<String>,

    /// Secret with which pods pull images, in each graph's namespace; can be repeated
    #[arg(
        long = "image-pull-secret",
        value_name = "NAME",
        value_delimiter = ',',
        env = "TANDEM_IMAGE_PULL_SECRETS"
    )]
    pub image_pull_secrets: Vec<String>,
}

/// Optional parts of the Kubernetes API that this cluster has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// LeaderWorkerSets: groups of pods that live and die together.
    pub leader_worker_sets: bool,
    /// VirtualServices of Istio.
    pub virtual_services: bool,
}
