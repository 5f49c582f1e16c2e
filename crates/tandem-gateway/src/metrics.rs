//! What is counted, under the names of the original router.

mod load_aware;
mod refusal;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tandem_protocol::openai::Usage;
use tandem_semantic_router::config::{ModelConfig, ReasoningSwitch};
use tandem_semantic_router::{Explanation, Reasoning, Routed, Router, Routing};

use load_aware::LoadAwareChoices;

/// Label of a model name that is not configured: clients must not be able to create series.
pub(crate) const OTHER: &str = "other";

type ByModel<M> = Family<ModelLabel, M>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    model: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CostLabels {
    model: String,
    currency: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PiiLabels {
    model: String,
    pii_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModificationLabels {
    source_model: String,
    target_model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason_code: &'static str,
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassifierLabel {
    classifier: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CategoryLabel {
    category: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasoningLabels {
    category: String,
    model: String,
    enabled: &'static str,
    effort: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TemplateLabels {
    family: String,
    param: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EffortLabels {
    family: String,
    effort: String,
}

/// Counters and histograms of everything that is routed.
#[derive(Debug)]
pub struct GatewayMetrics {
    requests: ByModel<Counter>,
    errors: Family<ErrorLabels, Counter>,
    pii_violations: Family<PiiLabels, Counter>,
    modifications: Family<ModificationLabels, Counter>,
    reasons: Family<ReasonLabels, Counter>,
    routing_latency: Histogram,
    classifier_latency: Family<ClassifierLabel, Histogram>,
    categories: Family<CategoryLabel, Gauge>,
    reasoning: Family<ReasoningLabels, Counter>,
    templates: Family<TemplateLabels, Counter>,
    efforts: Family<EffortLabels, Counter>,
    ttft: ByModel<Histogram>,
    completion_latency: ByModel<Histogram>,
    tpot: ByModel<Histogram>,
    prompt_sizes: ByModel<Histogram>,
    completion_sizes: ByModel<Histogram>,
    costs: Family<CostLabels, Counter<f64, AtomicU64>>,
    tokens: ByModel<Counter>,
    prompt_tokens: ByModel<Counter>,
    completion_tokens: ByModel<Counter>,
    load_aware: LoadAwareChoices,
    in_flight: Gauge,
}

/// 1 ms to 65 s: a first token may come at once or after a long prefill.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

/// 10 µs to 5 s.
fn short_latency() -> Histogram {
    Histogram::new(exponential_buckets(0.000_01, 2.0, 20))
}

/// Tokens: 0, 8, 16, …, 16384.
fn sizes() -> Histogram {
    Histogram::new(std::iter::once(0.0).chain(exponential_buckets(8.0, 2.0, 12)))
}

impl GatewayMetrics {
    /// Creates the families and puts them into `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            errors: Family::default(),
            pii_violations: Family::default(),
            modifications: Family::default(),
            reasons: Family::default(),
            routing_latency: short_latency(),
            classifier_latency: Family::new_with_constructor(short_latency),
            categories: Family::default(),
            reasoning: Family::default(),
            templates: Family::default(),
            efforts: Family::default(),
            ttft: Family::new_with_constructor(latency),
            completion_latency: Family::new_with_constructor(latency),
            tpot: Family::new_with_constructor(latency),
            prompt_sizes: Family::new_with_constructor(sizes),
            completion_sizes: Family::new_with_constructor(sizes),
            costs: Family::default(),
            tokens: Family::default(),
            prompt_tokens: Family::default(),
            completion_tokens: Family::default(),
            load_aware: LoadAwareChoices::default(),
            in_flight: Gauge::default(),
        };
        metrics.register_routing(registry);
        metrics.register_answers(registry);
        metrics
    }

    fn register_routing(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, counter: &dyn CloneInto| {
            counter.clone_into(registry, name, help);
        };
        add(
            "llm_model_requests",
            "Requests by requested model",
            &self.requests,
        );
        add(
            "llm_request_errors",
            "Requests that failed or were refused, and answers that were withheld",
            &self.errors,
        );
        add(
            "llm_pii_violations",
            "Personal data refused, or found in answers, by decision and type",
            &self.pii_violations,
        );
        add(
            "llm_model_routing_modifications",
            "Requests sent to another model than named",
            &self.modifications,
        );
        add(
            "llm_routing_reason_codes",
            "Why a model was used",
            &self.reasons,
        );
        add(
            "llm_model_routing_latency_seconds",
            "Time to decide",
            &self.routing_latency,
        );
        add(
            "llm_classifier_latency_seconds",
            "Wait for the classifier",
            &self.classifier_latency,
        );
        add(
            "llm_category_classifications_count",
            "Requests by category",
            &self.categories,
        );
        add(
            "llm_reasoning_decisions",
            "Whether reasoning was switched on",
            &self.reasoning,
        );
        add(
            "llm_reasoning_template_usage",
            "Chat template arguments that were set",
            &self.templates,
        );
        add(
            "llm_reasoning_effort_usage",
            "Efforts that were asked for",
            &self.efforts,
        );
        self.load_aware.register(registry);
    }

    fn register_answers(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, counter: &dyn CloneInto| {
            counter.clone_into(registry, name, help);
        };
        add(
            "llm_model_ttft_seconds",
            "Time to the first byte of the answer",
            &self.ttft,
        );
        add(
            "llm_model_completion_latency_seconds",
            "Time to the end of the answer",
            &self.completion_latency,
        );
        add(
            "llm_model_tpot_seconds",
            "Time per token of the answer",
            &self.tpot,
        );
        add(
            "llm_prompt_tokens_per_request",
            "Tokens of a prompt",
            &self.prompt_sizes,
        );
        add(
            "llm_completion_tokens_per_request",
            "Tokens of an answer",
            &self.completion_sizes,
        );
        add(
            "llm_model_cost",
            "Price of answers, where the model has one",
            &self.costs,
        );
        add(
            "llm_model_tokens",
            "Tokens of prompts and answers",
            &self.tokens,
        );
        add(
            "llm_model_prompt_tokens",
            "Tokens of prompts",
            &self.prompt_tokens,
        );
        add(
            "llm_model_completion_tokens",
            "Tokens of answers",
            &self.completion_tokens,
        );
        add(
            "tandem_gateway_requests_in_flight",
            "Requests being served",
            &self.in_flight,
        );
    }

    /// Counts what the router decided.
    pub(crate) fn routed(&self, router: &Router, routed: &Routed) {
        let explanation = &routed.explanation;
        let requested = requested_label(router, explanation);
        self.requests.get_or_create(&by_model(&requested)).inc();
        self.routing_latency
            .observe(explanation.timings.total.as_secs_f64());
        self.signals(explanation);
        match &routed.routing {
            Routing::Forward(_) => self.forwarded(router, explanation, requested),
            Routing::Respond(response) => self.blocked(&response.block, explanation, requested),
            Routing::Replay(_) => {}
            Routing::Reject(rejection) => {
                let reason = match rejection.kind {
                    tandem_protocol::ErrorKind::NotFound => "model_not_found",
                    _ => "parse_error",
                };
                self.failed(requested, reason);
            }
        }
    }

    fn signals(&self, explanation: &Explanation) {
        let waited = explanation.timings.signals.as_secs_f64();
        let asked = [
            ("category", !explanation.domains.is_empty()),
            ("jailbreak", explanation.jailbreak.is_some()),
            ("pii", explanation.pii.is_some()),
        ];
        for (classifier, _) in asked.into_iter().filter(|(_, asked)| *asked) {
            let label = ClassifierLabel { classifier };
            self.classifier_latency
                .get_or_create(&label)
                .observe(waited);
        }
        if let Some(category) = explanation.category.clone() {
            self.categories
                .get_or_create(&CategoryLabel { category })
                .inc();
        }
    }

    fn forwarded(&self, router: &Router, explanation: &Explanation, requested: String) {
        let model = model_label(router, explanation.model.as_deref().unwrap_or_default());
        if let Some(reason) = explanation.reason {
            let labels = ReasonLabels {
                reason_code: reason.label(),
                model: model.clone(),
            };
            self.reasons.get_or_create(&labels).inc();
        }
        self.load_aware.count(explanation, &model);
        if let Some(reasoning) = &explanation.reasoning {
            let effort = reasoning.effort.clone();
            self.reasoning
                .get_or_create(&ReasoningLabels {
                    category: explanation.category.clone().unwrap_or_default(),
                    model: model.clone(),
                    enabled: if reasoning.on { "true" } else { "false" },
                    effort: effort.clone().unwrap_or_default(),
                })
                .inc();
            if let Some(labels) = template(router, explanation, reasoning) {
                self.templates.get_or_create(&labels).inc();
            }
            if let (Some(family), Some(effort)) = (reasoning.family.clone(), effort) {
                self.efforts
                    .get_or_create(&EffortLabels { family, effort })
                    .inc();
            }
        }
        if requested != model {
            let labels = ModificationLabels {
                source_model: requested,
                target_model: model,
            };
            self.modifications.get_or_create(&labels).inc();
        }
    }

    /// Counts a request that got no answer from a model.
    pub(crate) fn failed(&self, model: String, reason: &'static str) {
        self.errors
            .get_or_create(&ErrorLabels { model, reason })
            .inc();
    }

    pub(crate) fn first_byte(&self, model: &str, after: Duration) {
        let histogram = self.ttft.get_or_create(&by_model(model));
        histogram.observe(after.as_secs_f64());
    }

    pub(crate) fn completed(&self, model: &str, after: Duration, usage: Option<Usage>) {
        let label = by_model(model);
        self.completion_latency
            .get_or_create(&label)
            .observe(after.as_secs_f64());
        if let Some(usage) = usage {
            let counts = [
                (&self.tokens, usage.total_tokens),
                (&self.prompt_tokens, usage.prompt_tokens),
                (&self.completion_tokens, usage.completion_tokens),
            ];
            for (family, count) in counts {
                family.get_or_create(&label).inc_by(count.into());
            }
            let sizes = [
                (&self.prompt_sizes, usage.prompt_tokens),
                (&self.completion_sizes, usage.completion_tokens),
            ];
            for (family, count) in sizes {
                family.get_or_create(&label).observe(count.into());
            }
        }
    }

    pub(crate) fn cost(&self, model: &str, currency: &str, cost: f64) {
        let labels = CostLabels {
            model: model.to_owned(),
            currency: currency.to_owned(),
        };
        self.costs.get_or_create(&labels).inc_by(cost);
    }

    pub(crate) fn token_time(&self, model: &str, time: Duration) {
        let histogram = self.tpot.get_or_create(&by_model(model));
        histogram.observe(time.as_secs_f64());
    }

    /// Counts a request as being served until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight(Arc::clone(self))
    }
}

/// A request that is being served.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<GatewayMetrics>);

impl InFlight {
    /// Where the request is counted.
    pub(crate) fn metrics(&self) -> &GatewayMetrics {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

/// A metric that can be registered by reference.
trait CloneInto {
    fn clone_into(&self, registry: &mut Registry, name: &str, help: &str);
}

impl<M: prometheus_client::registry::Metric + Clone> CloneInto for M {
    fn clone_into(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.clone());
    }
}

/// The chat template argument that switched the model's reasoning, if one did.
fn template(
    router: &Router,
    explanation: &Explanation,
    reasoning: &Reasoning,
) -> Option<TemplateLabels> {
    let model = router.config().model(explanation.model.as_deref()?)?;
    let ReasoningSwitch::TemplateKwarg(param) = &model.reasoning.as_ref()?.switch else {
        return None;
    };
    Some(TemplateLabels {
        family: reasoning.family.clone()?,
        param: param.clone(),
    })
}

fn by_model(model: &str) -> ModelLabel {
    ModelLabel {
        model: model.to_owned(),
    }
}

fn requested_label(router: &Router, explanation: &Explanation) -> String {
    match explanation.requested_model.as_str() {
        "" => "unknown".to_owned(),
        name if router.config().is_auto(name) => name.to_owned(),
        name => model_label(router, name),
    }
}

/// The name of a configured model or adapter; one label for all others.
pub(crate) fn model_label(router: &Router, name: &str) -> String {
    let known = serving(router, name).is_some();
    if known { name } else { OTHER }.to_owned()
}

/// The configured model of that name, or the one that serves the adapter.
pub(crate) fn serving<'a>(router: &'a Router, name: &str) -> Option<&'a ModelConfig> {
    let mut models = router.config().models.iter();
    models.find(|model| model.name == name || model.loras.iter().any(|lora| lora == name))
}
