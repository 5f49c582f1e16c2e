//! Metrics of the frontend, under Dynamo's names.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tandem_protocol::openai::Usage;

/// Label set of families that only know the model. Only served models become labels: a client
/// must not be able to create series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ModelLabels {
    /// Served model name.
    pub model: String,
}

/// Labels of finished requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    model: String,
    endpoint: Endpoint,
    request_type: RequestType,
    status: Status,
}

/// Which API was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    non_camel_case_types,
    reason = "the variant names are the label values"
)]
pub(crate) enum Endpoint {
    /// `/v1/chat/completions`.
    chat_completions,
    /// `/v1/completions`.
    completions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    non_camel_case_types,
    reason = "the variant names are the label values"
)]
enum RequestType {
    stream,
    unary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    non_camel_case_types,
    reason = "the variant names are the label values"
)]
enum Status {
    success,
    error,
}

/// Label of prompts that no prefill worker computed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct FallbackLabels {
    /// Why.
    pub reason: Fallback,
}

/// Why no prefill worker computed a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    non_camel_case_types,
    reason = "the variant names are the label values"
)]
pub(crate) enum Fallback {
    /// There is none.
    no_worker,
    /// All of them have too many KV blocks in use.
    busy,
    /// Its queue is too long.
    queue,
    /// It did not answer.
    call_failed,
    /// Its answer does not say where the KV blocks are.
    no_params,
}

/// The families. Histograms are created on first use of a model.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    inflight: Family<ModelLabels, Gauge>,
    queued: Family<ModelLabels, Gauge>,
    disconnected: Counter,
    duration: Family<ModelLabels, Histogram, fn() -> Histogram>,
    time_to_first_token: Family<ModelLabels, Histogram, fn() -> Histogram>,
    inter_token_latency: Family<ModelLabels, Histogram, fn() -> Histogram>,
    input_tokens: Family<ModelLabels, Histogram, fn() -> Histogram>,
    output_tokens: Family<ModelLabels, Histogram, fn() -> Histogram>,
    cached_tokens: Family<ModelLabels, Counter>,
    /// Requests whose prompt a prefill worker computed.
    pub remote_prefills: Family<ModelLabels, Counter>,
    /// Requests whose prompt was short or cached enough to be computed by the decode worker.
    pub local_prefills: Family<ModelLabels, Counter>,
    /// Requests whose prompt no prefill worker computed, although one should have.
    pub prefill_fallbacks: Family<FallbackLabels, Counter>,
    /// Requests that moved to another worker after theirs was lost.
    pub migrations: Family<ModelLabels, Counter>,
}

impl Metrics {
    /// Registers every family below the prefix `dynamo_frontend`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        let registry = registry.sub_registry_with_prefix("dynamo_frontend");
        registry.register("requests", "Finished requests", metrics.requests.clone());
        registry.register(
            "inflight_requests",
            "Requests in flight",
            metrics.inflight.clone(),
        );
        registry.register(
            "queued_requests",
            "Requests that wait for their first token",
            metrics.queued.clone(),
        );
        registry.register(
            "disconnected_clients",
            "Clients that left before their answer was complete",
            metrics.disconnected.clone(),
        );
        metrics.register_histograms(registry);
        registry.register(
            "cached_tokens",
            "Prompt tokens whose KV was reused",
            metrics.cached_tokens.clone(),
        );
        registry.register(
            "remote_prefills",
            "Requests whose prompt a prefill worker computed",
            metrics.remote_prefills.clone(),
        );
        registry.register(
            "local_prefills",
            "Requests whose prompt was short or cached enough for the decode worker",
            metrics.local_prefills.clone(),
        );
        registry.register(
            "prefill_fallbacks",
            "Requests whose prompt no prefill worker computed, although one should have",
            metrics.prefill_fallbacks.clone(),
        );
        registry.register(
            "migrations",
            "Requests that moved to another worker after theirs was lost",
            metrics.migrations.clone(),
        );
        metrics
    }

    fn register_histograms(&self, registry: &mut Registry) {
        registry.register(
            "request_duration_seconds",
            "Time from arrival to the last byte",
            self.duration.clone(),
        );
        registry.register(
            "time_to_first_token_seconds",
            "Time from arrival to the first token",
            self.time_to_first_token.clone(),
        );
        registry.register(
            "inter_token_latency_seconds",
            "Time between tokens",
            self.inter_token_latency.clone(),
        );
        registry.register(
            "input_sequence_tokens",
            "Prompt tokens per request",
            self.input_tokens.clone(),
        );
        registry.register(
            "output_sequence_tokens",
            "Generated tokens per request",
            self.output_tokens.clone(),
        );
    }

    fn unregistered() -> Self {
        Self {
            requests: Family::default(),
            inflight: Family::default(),
            queued: Family::default(),
            disconnected: Counter::default(),
            duration: Family::new_with_constructor(|| Histogram::new(log_buckets(0.05, 256.0, 12))),
            time_to_first_token: Family::new_with_constructor(|| {
                Histogram::new(log_buckets(0.001, 480.0, 18))
            }),
            inter_token_latency: Family::new_with_constructor(|| {
                Histogram::new(log_buckets(0.001, 2.0, 13))
            }),
            input_tokens: Family::new_with_constructor(|| {
                Histogram::new(log_buckets(50.0, 128_000.0, 12))
            }),
            output_tokens: Family::new_with_constructor(|| {
                Histogram::new(log_buckets(50.0, 32_000.0, 10))
            }),
            cached_tokens: Family::default(),
            remote_prefills: Family::default(),
            local_prefills: Family::default(),
            prefill_fallbacks: Family::default(),
            migrations: Family::default(),
        }
    }

    /// Requests for a served model that wait for their first token.
    pub(crate) fn waiting(&self, model: &str) -> u64 {
        let label = ModelLabels {
            model: model.to_owned(),
        };
        let waiting = self.queued.get_or_create(&label).get();
        u64::try_from(waiting).unwrap_or_default()
    }

    /// Starts to time a request for a served model.
    pub(crate) fn start(
        self: &Arc<Self>,
        model: &str,
        endpoint: Endpoint,
        stream: bool,
    ) -> RequestTimer {
        let model = ModelLabels {
            model: model.to_owned(),
        };
        self.inflight.get_or_create(&model).inc();
        self.queued.get_or_create(&model).inc();
        RequestTimer {
            metrics: Arc::clone(self),
            model,
            endpoint,
            request_type: if stream {
                RequestType::stream
            } else {
                RequestType::unary
            },
            started: Instant::now(),
            last_token: None,
            outcome: None,
        }
    }
}

/// Times one request. Dropping it without an outcome means that the client went away.
pub(crate) struct RequestTimer {
    metrics: Arc<Metrics>,
    model: ModelLabels,
    endpoint: Endpoint,
    request_type: RequestType,
    started: Instant,
    last_token: Option<Instant>,
    outcome: Option<Status>,
}

impl RequestTimer {
    /// Notes that `tokens` new tokens have arrived.
    pub(crate) fn tokens(&mut self, tokens: u32) {
        if tokens == 0 {
            return;
        }
        let now = Instant::now();
        match self.last_token.replace(now) {
            None => {
                let seconds = (now - self.started).as_secs_f64();
                self.metrics
                    .time_to_first_token
                    .get_or_create(&self.model)
                    .observe(seconds);
                self.metrics.queued.get_or_create(&self.model).dec();
            }
            Some(last) => {
                let each = (now - last).as_secs_f64() / f64::from(tokens);
                self.metrics
                    .inter_token_latency
                    .get_or_create(&self.model)
                    .observe(each);
            }
        }
    }

    /// Notes that the whole answer was produced.
    pub(crate) fn succeed(&mut self, usage: Usage) {
        self.outcome = Some(Status::success);
        let metrics = &self.metrics;
        metrics
            .input_tokens
            .get_or_create(&self.model)
            .observe(f64::from(usage.prompt_tokens));
        metrics
            .output_tokens
            .get_or_create(&self.model)
            .observe(f64::from(usage.completion_tokens));
        let cached = usage
            .prompt_tokens_details
            .map_or(0, |details| details.cached_tokens);
        metrics
            .cached_tokens
            .get_or_create(&self.model)
            .inc_by(u64::from(cached));
    }

    /// Notes that the request failed.
    pub(crate) fn fail(&mut self) {
        self.outcome = Some(Status::error);
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let metrics = &self.metrics;
        metrics.inflight.get_or_create(&self.model).dec();
        if self.last_token.is_none() {
            metrics.queued.get_or_create(&self.model).dec();
        }
        let seconds = self.started.elapsed().as_secs_f64();
        metrics.duration.get_or_create(&self.model).observe(seconds);
        if self.outcome.is_none() {
            metrics.disconnected.inc();
        }
        let labels = RequestLabels {
            model: self.model.model.clone(),
            endpoint: self.endpoint,
            request_type: self.request_type,
            status: self.outcome.unwrap_or(Status::error),
        };
        metrics.requests.get_or_create(&labels).inc();
    }
}

/// 0, then `count - 1` bounds from `min` to `max` in equal ratios.
fn log_buckets(min: f64, max: f64, count: i32) -> impl Iterator<Item = f64> {
    let steps = f64::from(count - 2);
    let ratio = (max / min).powf(1.0 / steps);
    std::iter::once(0.0).chain((0..count - 1).map(move |i| min * ratio.powi(i)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_run_from_zero_to_the_maximum() {
        let buckets: Vec<_> = log_buckets(1.0, 256.0, 10).collect();
        assert_eq!(buckets.len(), 10);
        assert!(buckets[0].abs() < f64::EPSILON);
        assert!((buckets[1] - 1.0).abs() < 1e-9);
        assert!((buckets[9] - 256.0).abs() < 1e-6);
    }

    #[test]
    fn a_dropped_timer_is_a_disconnect() {
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        drop(metrics.start("m", Endpoint::chat_completions, true));
        let mut timer = metrics.start("m", Endpoint::completions, false);
        timer.tokens(1);
        timer.succeed(Usage::new(3, 1, 0));
        drop(timer);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "dynamo_frontend_disconnected_clients_total 1",
            r#"dynamo_frontend_inflight_requests{model="m"} 0"#,
            r#"dynamo_frontend_queued_requests{model="m"} 0"#,
            r#"dynamo_frontend_requests_total{model="m",endpoint="completions",request_type="unary",status="success"} 1"#,
            r#"dynamo_frontend_requests_total{model="m",endpoint="chat_completions",request_type="stream",status="error"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
