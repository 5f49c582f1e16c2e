//! One module a subcommand.

pub(crate) mod classify;
pub(crate) mod config;
pub(crate) mod eval;
pub(crate) mod router;
mod signals;
pub(crate) mod up;

use std::path::Path;

use anyhow::{Context, Result};
use tandem_semantic_router::{Loaded, RouterConfig};

/// Reads a router configuration file; `${NAME}` in it is an environment variable.
fn load_config(path: &Path) -> Result<Loaded> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the router config {}", path.display()))?;
    let lookup = |name: &str| std::env::var_os(name)?.into_string().ok();
    RouterConfig::parse(&text, &lookup)
        .with_context(|| format!("failed to use the router config {}", path.display()))
}
