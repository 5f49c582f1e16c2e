//! From a file's text to a checked configuration.

use std::fmt;

use super::RouterConfig;
use super::read::tree::Node;
use super::read::{Problem, Report, chart_values, read};

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
