//! Logs and spans of the process. Nobody else knows who receives them.

mod export;
mod propagation;

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use tracing::{Level, info};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use export::Exporting;
pub use export::{Export, Receiver, Transport};
pub use propagation::{continue_trace, traceparent};

/// Target of the spans that are exported. They are not logged, and cost nothing while nobody
/// receives them.
pub const SPANS: &str = "tandem::spans";

/// Targets that log each failed attempt, which we log once an outage. A filter that names them
/// shows them.
const QUIET: [&str; 2] = ["kube_client", "kube_runtime"];

/// Form of the log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logs and spans go nowhere.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter is not valid.
    #[error("invalid log filter `{filter}`: {reason}")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Spans cannot be exported.
    #[error("failed to export spans to {receiver}: {reason}")]
    Export {
        /// Where they should go.
        receiver: String,
        /// Why not.
        reason: String,
    },
}

/// Keeps spans going to their receiver. Dropping it sends those that wait, for a moment.
#[must_use = "spans are exported until it is dropped"]
pub struct Telemetry {
    _exporting: Option<Exporting>,
}

/// Sends the process's logs to standard error, and spans to a receiver if there is one. Call it
/// once.
///
/// # Errors
/// `filter` is not in the form `level` or `target=level,…`, or the receiver cannot be one.
pub fn init(
    filter: &str,
    format: LogFormat,
    export: Option<&Export>,
) -> Result<Telemetry, TelemetryError> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })?;
    let silent = QUIET.iter().filter(|target| !filter.contains(**target));
    let parsed = silent.chain(&[SPANS]).fold(parsed, |parsed, target| {
        let off = format!("{target}=off");
        let off = off.parse().expect("a target and a level are a directive");
        parsed.add_directive(off)
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_filter(parsed).boxed(),
        LogFormat::Json => lines.json().with_filter(parsed).boxed(),
    };
    let exporting = export.map(Exporting::start).transpose()?;
    let spans = exporting.as_ref().map(|exporting| {
        tracing_opentelemetry::layer()
            .with_tracer(exporting.provider().tracer("tandem"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(Targets::new().with_target(SPANS, Level::INFO))
    });
    tracing_subscriber::registry()
        .with(lines)
        .with(spans)
        .init();
    if let Some(Export {
        receiver, share, ..
    }) = export
    {
        info!(%receiver, share, "spans are exported");
    }
    Ok(Telemetry {
        _exporting: exporting,
    })
}
