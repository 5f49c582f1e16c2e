//! One module a subcommand.

pub(crate) mod classify;
pub(crate) mod config;
pub(crate) mod crds;
pub(crate) mod eval;
pub(crate) mod frontend;
pub(crate) mod gateway;
pub(crate) mod operator;
pub(crate) mod planner;
mod reload;
pub(crate) mod route;
pub(crate) mod router;
pub(crate) mod up;
pub(crate) mod worker;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tandem_classifier::{Classifier, EncoderClassifier, Settings};
use tandem_gateway::HttpLanguageModels;
use tandem_semantic_router::config::Tracing;
use tandem_semantic_router::{
    Loaded, ModelStatistics, Parts, Problem, ResponseCache, Router, RouterConfig,
};
use tokio::net::TcpListener;

use crate::args::CacheArgs;
use crate::shipped::NANO_ENCODER;

/// Runs a role of the binary on a runtime of its own, with a thread for each core.
fn block_on(role: impl Future<Output = Result<()>>) -> Result<()> {
    block_on_runtime(&mut tokio::runtime::Builder::new_multi_thread(), role)
}

fn block_on_runtime(
    builder: &mut tokio::runtime::Builder,
    role: impl Future<Output = Result<()>>,
) -> Result<()> {
    let runtime = builder
        .enable_all()
        .build()
        .context("failed to start the async runtime")?;
    let result = runtime.block_on(role);
    // Whatever hangs in a blocking call must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn bind(host: IpAddr, port: u16, flag: &str) -> Result<TcpListener> {
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}; choose another port with {flag}"))
}

/// Which encoder says what texts mean.
#[derive(Debug, Clone, clap::Args)]
struct EncoderArgs {
    /// Encoder directory [default: the encoder inside this binary]
    #[arg(long, value_name = "DIR")]
    encoder: Option<PathBuf>,

    /// Threads of the encoder
    #[arg(long, value_name = "N", default_value_t = Settings::default().threads)]
    classifier_threads: usize,

    #[command(flatten)]
    cache: CacheArgs,
}

impl EncoderArgs {
    async fn load(&self) -> Result<Arc<dyn Classifier>> {
        let (encoder, cache) = (self.encoder.clone(), self.cache.directory());
        let settings = Settings {
            threads: self.classifier_threads,
            ..Settings::default()
        };
        let load = move || load_encoder(encoder.as_deref(), &cache, settings);
        Ok(Arc::new(tokio::task::spawn_blocking(load).await??))
    }
}

/// The encoder in `directory`, or else the shipped one, unpacked into `cache`.
fn load_encoder(
    directory: Option<&Path>,
    cache: &Path,
    settings: Settings,
) -> Result<EncoderClassifier> {
    let directory = match directory {
        Some(directory) => directory.to_owned(),
        None => NANO_ENCODER.unpack(cache)?,
    };
    EncoderClassifier::load(&directory, settings)
        .with_context(|| format!("failed to load the encoder in {}", directory.display()))
}

/// Reads a router configuration file; `${NAME}` in it is an environment variable. Paths in it are
/// relative to the working directory, or else to the file.
fn load_config(path: &Path) -> Result<Loaded> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the router config {}", path.display()))?;
    parse_config(&text, path)
}

/// What a router configuration says about spans. A file with mistakes says nothing here: the
/// command that uses it names them.
pub(crate) fn configured_tracing(path: &Path) -> Option<Tracing> {
    let text = std::fs::read_to_string(path).ok()?;
    let loaded = RouterConfig::parse(&text, &environment).ok()?;
    loaded.config.tracing
}

/// The configuration in `text`, which is that of the file at `path`.
fn parse_config(text: &str, path: &Path) -> Result<Loaded> {
    let mut loaded = RouterConfig::parse(text, &environment)
        .with_context(|| format!("failed to use the router config {}", path.display()))?;
    let beside = path.parent().unwrap_or_else(|| Path::new("."));
    let read = |name: &str| std::fs::read(name).or_else(|_| std::fs::read(beside.join(name)));
    // Requests can be routed without tools, so a missing file stops nothing.
    if let Err(error) = loaded.config.load_tools(&read) {
        loaded.warnings.push(Problem {
            path: "tools".to_owned(),
            line: None,
            message: error.to_string(),
        });
    }
    let wrong = loaded.config.load_cache_store(&read, &environment);
    loaded.warnings.extend(wrong);
    Ok(loaded)
}

/// The value of an environment variable, or, for `file:PATH`, the text of a file without the white
/// space around it.
fn environment(name: &str) -> Option<String> {
    if let Some(path) = name.strip_prefix("file:") {
        let text = std::fs::read_to_string(path).ok()?;
        return Some(text.trim().to_owned());
    }
    std::env::var_os(name)?.into_string().ok()
}

/// A router that asks `classifier`, and the language models that its configuration names. It learns
/// from `statistics` and answers from `cache`, which outlive a change of the configuration.
fn router(
    config: RouterConfig,
    classifier: Arc<dyn Classifier>,
    statistics: Arc<ModelStatistics>,
    cache: Arc<ResponseCache>,
) -> Router {
    let parts = Parts {
        classifier,
        language_models: Some(Arc::new(HttpLanguageModels::default())),
        statistics,
        cache,
    };
    Router::with_parts(config, parts)
}
