//! Metrics of the endpoints that a worker serves, under Dynamo's names.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tandem_runtime::EndpointId;
use tandem_runtime::request_plane::{Handler, Request};

/// Which endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    dynamo_namespace: String,
    dynamo_component: String,
    dynamo_endpoint: String,
}

/// The families, shared by every worker of a process.
#[derive(Clone)]
pub struct ComponentMetrics {
    requests: Family<Labels, Counter>,
    request_bytes: Family<Labels, Counter>,
    response_bytes: Family<Labels, Counter>,
    inflight: Family<Labels, Gauge>,
    duration: Family<Labels, Histogram, fn() -> Histogram>,
}

impl ComponentMetrics {
    /// Registers every family below the prefix `dynamo_component`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            request_bytes: Family::default(),
            response_bytes: Family::default(),
            inflight: Family::default(),
            duration: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 18))
            }),
        };
        let registry = registry.sub_registry_with_prefix("dynamo_component");
        registry.register(
            "requests",
            "Requests to the endpoint",
            metrics.requests.clone(),
        );
        registry.register(
            "request_bytes",
            "Bytes of the requests to the endpoint",
            metrics.request_bytes.clone(),
        );
        registry.register(
            "response_bytes",
            "Bytes of the endpoint's answers",
            metrics.response_bytes.clone(),
        );
        registry.register(
            "inflight_requests",
            "Requests that the endpoint works on",
            metrics.inflight.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "Time from a request to the end of its answer",
            metrics.duration.clone(),
        );
        metrics
    }

    /// `handler`, measured as `endpoint`.
    pub(crate) fn measure(
        &self,
        endpoint: &EndpointId,
        handler: Arc<dyn Handler>,
    ) -> Arc<dyn Handler> {
        Arc::new(Measured {
            metrics: self.clone(),
            labels: Labels {
                dynamo_namespace: endpoint.namespace.clone(),
                dynamo_component: endpoint.component.clone(),
                dynamo_endpoint: endpoint.endpoint.clone(),
            },
            handler,
        })
    }
}

struct Measured {
    metrics: ComponentMetrics,
    labels: Labels,
    handler: Arc<dyn Handler>,
}

/// A request that is being worked on.
struct Running {
    metrics: ComponentMetrics,
    labels: Labels,
    response_bytes: Counter,
    started: Instant,
}

impl Handler for Measured {
    fn handle(&self, request: Request) -> BoxStream<'static, Bytes> {
        let Self {
            metrics,
            labels,
            handler,
        } = self;
        metrics.requests.get_or_create(labels).inc();
        metrics.inflight.get_or_create(labels).inc();
        let received = metrics.request_bytes.get_or_create(labels);
        received.inc_by(request.body.len() as u64);
        let running = Running {
            metrics: metrics.clone(),
            labels: labels.clone(),
            response_bytes: metrics.response_bytes.get_or_create(labels).clone(),
            started: Instant::now(),
        };
        handler
            .handle(request)
            .map(move |answer| {
                running.response_bytes.inc_by(answer.len() as u64);
                answer
            })
            .boxed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let metrics = &self.metrics;
        metrics.inflight.get_or_create(&self.labels).dec();
        let duration = metrics.duration.get_or_create(&self.labels);
        duration.observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    struct Echo;

    impl Handler for Echo {
        fn handle(&self, request: Request) -> BoxStream<'static, Bytes> {
            stream::iter([request.body.clone(), request.body]).boxed()
        }
    }

    #[tokio::test]
    async fn requests_are_measured_until_their_stream_is_gone() {
        let mut registry = Registry::default();
        let metrics = ComponentMetrics::register(&mut registry);
        let endpoint = EndpointId::new("ns", "backend", "generate");
        let handler = metrics.measure(&endpoint, Arc::new(Echo));
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let labels =
            r#"{dynamo_namespace="ns",dynamo_component="backend",dynamo_endpoint="generate"}"#;
        let answers = handler.handle(Request::new("id", "abc"));
        assert!(text().contains(&format!("dynamo_component_inflight_requests{labels} 1")));
        assert_eq!(answers.count().await, 2);
        let text = text();
        for line in [
            format!("dynamo_component_requests_total{labels} 1"),
            format!("dynamo_component_request_bytes_total{labels} 3"),
            format!("dynamo_component_response_bytes_total{labels} 6"),
            format!("dynamo_component_inflight_requests{labels} 0"),
            format!("dynamo_component_request_duration_seconds_count{labels} 1"),
        ] {
            assert!(text.contains(&line), "{line} not in\n{text}");
        }
    }
}
