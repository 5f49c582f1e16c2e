//! The OpenAI API of one worker, for proxies that send requests to workers themselves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use tandem_frontend::{Frontend, FrontendArgs, Planes};
use tandem_runtime::Lifecycle;
use tandem_runtime::discovery::OwnDiscovery;
use tandem_runtime::http::HttpOptions;
use tandem_worker::WorkerRole;
use tokio::net::TcpListener;
use tracing::warn;

use crate::commands::bind;
use crate::planes::ConnectedPlanes;

/// Most time until the worker finds itself.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How a worker serves the OpenAI API itself.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "OpenAI API of this worker alone")]
pub(super) struct OpenAiArgs {
    /// Port on which the worker serves the OpenAI API itself, so that `tandem router --epp` can
    /// pick it; 0 takes any free port [default: none]
    #[arg(long, value_name = "PORT", env = "TANDEM_HTTP_PORT")]
    http_port: Option<u16>,

    /// Address to listen on; unless it stands for all of them, it is also what others are told,
    /// instead of --rpc-host
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        env = "TANDEM_HTTP_HOST")]
    http_host: IpAddr,

    #[command(flatten)]
    frontend: FrontendArgs,
}

impl OpenAiArgs {
    /// The port, if it is wanted; a prefill worker answers nothing.
    pub(super) async fn bind(&self, role: WorkerRole) -> Result<Option<TcpListener>> {
        match (self.http_port, role) {
            (None, _) => Ok(None),
            (Some(port), WorkerRole::Decode) => {
                bind(self.http_host, port, "--http-port").await.map(Some)
            }
            (Some(_), WorkerRole::Prefill) => {
                warn!("a prefill worker serves no OpenAI API: --http-port has no effect");
                Ok(None)
            }
        }
    }

    /// What others are told of `listener`.
    fn address(&self, listener: &TcpListener, host: IpAddr) -> Result<SocketAddr> {
        let bound = listener.local_addr()?;
        let host = match bound.ip() {
            ip if ip.is_unspecified() => host,
            ip => ip,
        };
        Ok(SocketAddr::new(host, bound.port()))
    }
}

/// A frontend whose only decode worker is this process.
pub(super) struct OpenAi {
    frontend: Arc<Frontend>,
    listener: TcpListener,
    address: SocketAddr,
}

impl OpenAi {
    /// Starts to follow this worker and the prefill workers of its namespace. `host` is the
    /// address of this host that others can reach.
    pub(super) fn start(
        args: &OpenAiArgs,
        (listener, host): (TcpListener, IpAddr),
        (planes, namespace): (&ConnectedPlanes, &str),
        registry: &mut Registry,
        lifecycle: &Lifecycle,
    ) -> Result<Self> {
        let prefill = WorkerRole::Prefill.component();
        let planes = Planes {
            discovery: Arc::new(OwnDiscovery::new(planes.discovery.clone(), prefill)),
            messaging: planes.messaging.clone(),
            requests: planes.requests.clone(),
            namespace: Some(namespace.to_owned()),
        };
        Ok(Self {
            address: args.address(&listener, host)?,
            frontend: Frontend::start(&args.frontend, planes, registry, lifecycle),
            listener,
        })
    }

    /// Serves until `http` stops; returns the address once `model` can be asked for there.
    pub(super) async fn serve(
        self,
        model: &str,
        metrics: Arc<Registry>,
        drain_timeout: Duration,
        http: &Lifecycle,
    ) -> Result<SocketAddr> {
        let options = HttpOptions {
            drain_timeout,
            ..HttpOptions::default()
        };
        let frontend = Arc::clone(&self.frontend);
        http.spawn_to_end(frontend.serve(self.listener, metrics, options, http.clone()));
        let ready = async {
            while !self.frontend.is_ready(model) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(READY_TIMEOUT, ready)
            .await
            .context("the worker cannot use its model's tokenizer; see the log above")?;
        Ok(self.address)
    }
}
