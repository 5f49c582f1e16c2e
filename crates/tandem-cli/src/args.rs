//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use tandem_runtime::Lifecycle;
use tandem_runtime::telemetry::LogFormat;
use tandem_runtime::tls::{self, TlsAcceptor, TlsError};

use crate::commands::{
    classify::ClassifyArgs, config::ConfigArgs, crds::CrdsArgs, eval::EvalArgs,
    frontend::FrontendCommandArgs, gateway::GatewayCommandArgs, operator::OperatorCommandArgs,
    planner::PlannerCommandArgs, route::RouteArgs, router::RouterArgs, up::UpArgs,
    worker::WorkerCommandArgs,
};

/// LLM serving behind one smart door: a semantic router in tandem with a KV-aware serving plane
#[derive(Debug, Parser)]
#[command(name = "tandem", version, propagate_version = true)]
pub(crate) struct Args {
    /// What is logged to standard error: a level, or target=level,…
    #[arg(long, global = true, default_value = "info", env = "TANDEM_LOG")]
    pub log: String,

    /// Form of the log lines
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, env = "TANDEM_LOG_FORMAT")]
    pub log_format: Format,

    /// Collector that takes spans over OTLP (gRPC) [default: what the router's configuration says]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT"
    )]
    pub otlp_endpoint: Option<String>,

    /// Name of this process in its spans [default: tandem-ROLE]
    #[arg(long, global = true, value_name = "NAME", env = "OTEL_SERVICE_NAME")]
    pub otlp_service_name: Option<String>,

    #[command(subcommand)]
    pub command: Command,
}

/// The roles and tools of the binary.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole stack in this process: gateway, semantic router, frontend and workers
    Up(Box<UpArgs>),
    /// Run the frontend of a cluster: the OpenAI API over workers found in etcd
    Frontend(Box<FrontendCommandArgs>),
    /// Run one worker of a cluster: an engine that registers in etcd
    Worker(Box<WorkerCommandArgs>),
    /// Plan how many prefill and decode workers there should be, and ask for them
    Planner(Box<PlannerCommandArgs>),
    /// Run the semantic router beside Envoy, as its external processor
    Router(Box<RouterArgs>),
    /// Run the semantic router as a reverse proxy in front of OpenAI-compatible servers
    Gateway(Box<GatewayCommandArgs>),
    /// Run the operator: make a Kubernetes cluster match its graphs of components
    Operator(Box<OperatorCommandArgs>),
    /// Classify a text: domain, jailbreak, personal data
    Classify(ClassifyArgs),
    /// Score the encoder on labelled validation sets
    Eval(EvalArgs),
    /// Explain how a prompt would be routed: signals, decisions, model, changes, times
    Route(Box<RouteArgs>),
    /// Check, migrate and describe router configuration files
    Config(ConfigArgs),
    /// Print the definitions of the custom resources that the operator understands
    #[command(hide = true)]
    Crds(CrdsArgs),
}

impl Args {
    /// What is logged. A command that answers on the terminal keeps quiet unless it is told
    /// otherwise.
    pub(crate) fn log_filter(&self) -> &str {
        match (&self.command, self.log.as_str()) {
            (Command::Route(_), "info") => "warn,tandem_semantic_router::events=error",
            (_, log) => log,
        }
    }
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

/// Where files that can be made again are kept.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CacheArgs {
    /// Where the models inside this binary are unpacked [default: the user's cache directory]
    #[arg(long, value_name = "DIR", env = "TANDEM_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
}

/// How clients' connections are encrypted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TlsArgs {
    /// Certificate chain in PEM, to serve HTTPS; a new one takes effect without a restart
    #[arg(long, value_name = "FILE", requires = "tls_key_path")]
    tls_cert_path: Option<PathBuf>,

    /// Private key of the certificate in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert_path")]
    tls_key_path: Option<PathBuf>,
}

impl TlsArgs {
    /// What speaks TLS, if it was asked for; the files are watched until `lifecycle` stops.
    pub(crate) fn acceptor(&self, lifecycle: &Lifecycle) -> Result<Option<TlsAcceptor>, TlsError> {
        match (&self.tls_cert_path, &self.tls_key_path) {
            (Some(cert), Some(key)) => tls::acceptor(cert, key, lifecycle).map(Some),
            _ => Ok(None),
        }
    }
}

impl CacheArgs {
    /// The directory; the system's temporary one if the user has none.
    pub(crate) fn directory(&self) -> PathBuf {
        self.cache_dir
            .clone()
            .or_else(|| dirs::cache_dir().map(|cache| cache.join("tandem")))
            .unwrap_or_else(|| std::env::temp_dir().join("tandem"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn no_two_flags_of_a_command_collide() {
        Args::command().debug_assert();
    }
}
