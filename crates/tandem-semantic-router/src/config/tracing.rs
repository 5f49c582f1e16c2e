//! Where the spans of requests go.

/// Where the spans of requests go, and which.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Who takes them.
    pub exporter: TraceExporter,
    /// Share of the traces that begin here, 0 to 1.
    pub share: f64,
    /// Attributes of the process, by their OpenTelemetry names.
    pub resource: Vec<(&'static str, String)>,
}

/// Who takes spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceExporter {
    /// A collector that speaks OTLP over gRPC.
    Otlp {
        /// Its address, with or without a scheme.
        endpoint: String,
        /// Whether an address without a scheme means plain text.
        insecure: bool,
    },
    /// Standard output.
    Stdout,
}
