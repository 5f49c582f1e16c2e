//! Logs of the process.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Form of the log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The log filter is not valid.
#[derive(Debug, thiserror::Error)]
#[error("invalid log filter `{filter}`: {reason}")]
pub struct FilterError {
    filter: String,
    reason: String,
}

/// Sends the process's logs to standard error. Call it once.
///
/// # Errors
/// `filter` is not in the form `level` or `target=level,…`.
pub fn init(filter: &str, format: LogFormat) -> Result<(), FilterError> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| FilterError {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
