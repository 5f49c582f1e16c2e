//! One module a subcommand.

pub(crate) mod classify;
pub(crate) mod config;
pub(crate) mod eval;
pub(crate) mod frontend;
pub(crate) mod up;
pub(crate) mod worker;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::registry::Registry;
use tandem_semantic_router::{Loaded, RouterConfig};
use tokio::net::TcpListener;

/// Runs a role of the binary on a runtime of its own.
fn block_on(role: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
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

/// What `/metrics` of a process without a frontend shows.
fn openmetrics(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .expect("writing to a string does not fail");
    text
}

/// Reads a router configuration file; `${NAME}` in it is an environment variable.
fn load_config(path: &Path) -> Result<Loaded> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the router config {}", path.display()))?;
    let lookup = |name: &str| std::env::var_os(name)?.into_string().ok();
    RouterConfig::parse(&text, &lookup)
        .with_context(|| format!("failed to use the router config {}", path.display()))
}
