//! What the proxy counts of its servers and clients.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    server: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerLabel {
    server: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// What the proxy counts of its servers and clients.
#[derive(Debug, Default)]
pub(super) struct ProxyMetrics {
    attempts: Family<AttemptLabels, Counter>,
    retries: Family<ServerLabel, Counter>,
    ejections: Family<ServerLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
}

impl ProxyMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "tandem_gateway_upstream_requests",
            "Requests sent to a server, by outcome",
            metrics.attempts.clone(),
        );
        registry.register(
            "tandem_gateway_upstream_retries",
            "Requests tried again after this server failed",
            metrics.retries.clone(),
        );
        registry.register(
            "tandem_gateway_upstream_ejections",
            "Times that a server was left alone after failures in a row",
            metrics.ejections.clone(),
        );
        registry.register(
            "tandem_gateway_refused_requests",
            "Requests without a known key or beyond a limit",
            metrics.refused.clone(),
        );
        metrics
    }

    pub(super) fn attempted(&self, server: &str, outcome: &'static str) {
        let server = server.to_owned();
        let labels = AttemptLabels { server, outcome };
        self.attempts.get_or_create(&labels).inc();
    }

    pub(super) fn retried(&self, server: &str) {
        self.retries.get_or_create(&label(server)).inc();
    }

    pub(super) fn ejected(&self, server: &str) {
        self.ejections.get_or_create(&label(server)).inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}

fn label(server: &str) -> ServerLabel {
    ServerLabel {
        server: server.to_owned(),
    }
}
