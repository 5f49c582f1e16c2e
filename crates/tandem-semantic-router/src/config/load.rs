//! From a file's text to a checked configuration.

use std::fmt;

use super::reader::{Cursor, Problem, Report, Section};
use super::tree::{Node, Value};
use super::{RouterConfig, flat, layered};

/// The built-in configuration, also shipped as a commented example.
const BUILT_IN: &str = include_str!("../../../../config/default.yaml");

/// A configuration, and what in its file has no effect.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: RouterConfig,
    /// Keys and conditions that are ignored.
    pub warnings: Vec<Problem>,
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The errors, in the order of the file; at least one.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let errors = if count == 1 { "error" } else { "errors" };
        write!(formatter, "{count} {errors} in the router config")?;
        for problem in &self.problems {
            write!(formatter, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl RouterConfig {
    /// Reads a file of either layout. `lookup` gives the value of `${NAME}`.
    ///
    /// # Errors
    /// All mistakes in the file at once.
    pub fn parse(
        text: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigError> {
        let root = Node::parse(text).map_err(|error| ConfigError {
            problems: vec![Problem {
                path: String::new(),
                line: error.location().map(|location| location.line()),
                message: format!("not valid YAML: {}", error.without_snippet()),
            }],
        })?;
        let report = Report::new(lookup);
        let config = read(chart_values(&root).unwrap_or(&root), &report);
        let (problems, warnings) = report.finish();
        match config {
            Some(config) if problems.is_empty() => Ok(Loaded { config, warnings }),
            _ => Err(ConfigError { problems }),
        }
    }

    /// The configuration when no file is given: every domain has a decision, all for `model`.
    pub fn built_in(model: &str) -> Self {
        let lookup = |name: &str| (name == "TANDEM_MODEL").then(|| model.to_owned());
        Self::parse(BUILT_IN, &lookup)
            .expect("the built-in config is loaded by a test")
            .config
    }
}

/// The router's part of a Helm values file, which keeps it under `config`.
fn chart_values(root: &Node) -> Option<&Node> {
    let Value::Map(entries) = &root.value else {
        return None;
    };
    let key = |name: &str| entries.iter().find(|(key, _)| key == name);
    let bare = ["version", "routing", "decisions", "default_model"];
    if bare.iter().any(|name| key(name).is_some()) {
        return None;
    }
    let (_, node) = key("config")?;
    matches!(node.value, Value::Map(_)).then_some(node)
}

fn read(root: &Node, report: &Report<'_>) -> Option<RouterConfig> {
    let cursor = Cursor::root(root, report);
    if root.value == Value::Null {
        cursor.error("the file is empty");
        return None;
    }
    let section = cursor.section()?;
    if is_layered(&section) {
        layered::read(section)
    } else {
        flat::read(section)
    }
}

fn is_layered(section: &Section<'_>) -> bool {
    ["version", "routing", "global", "providers"]
        .into_iter()
        .any(|key| section.has(key))
}
