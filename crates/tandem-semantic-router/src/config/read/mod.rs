//! From a tree of YAML to the checked model.

mod backend;
mod cache;
mod cache_store;
mod decision;
mod extension;
mod features;
mod flat;
mod layered;
mod plugin;
mod provider;
mod reader;
mod rules;
mod selection;
mod signal;
mod substitute;
mod tracing;
pub(super) mod tree;

pub use reader::Problem;
pub(super) use reader::{Cursor, Report, Section, closest, unknown};

use super::{RouterConfig, shape};

/// Reads a file of either layout.
pub(super) fn read(root: &tree::Node, report: &Report<'_>) -> Option<RouterConfig> {
    let cursor = Cursor::root(root, report);
    if root.value == tree::Value::Null {
        cursor.error("the file is empty");
        return None;
    }
    let section = cursor.section()?;
    if is_layered(root) {
        shape::check(&section, shape::LAYERED);
        Some(layered::read(&section))
    } else {
        shape::check(&section, shape::FLAT);
        Some(flat::read(&section))
    }
}

/// Whether a file is of the layered layout.
pub(super) fn is_layered(root: &tree::Node) -> bool {
    ["version", "routing", "global", "providers"]
        .into_iter()
        .any(|key| root.get(key).is_some())
}

/// The router's part of a Helm values file, which keeps it under `config`.
pub(super) fn chart_values(root: &tree::Node) -> Option<&tree::Node> {
    let bare = ["version", "routing", "decisions", "default_model"];
    if bare.iter().any(|name| root.get(name).is_some()) {
        return None;
    }
    let node = root.get("config")?;
    matches!(node.value, tree::Value::Map(_)).then_some(node)
}
