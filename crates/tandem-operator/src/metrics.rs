//! What the operator counts.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Bounds of the buckets for times of a reconcile, in seconds.
const SECONDS: [f64; 11] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Which resource was reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    non_camel_case_types,
    reason = "the variant names are the label values"
)]
pub(crate) enum Resource {
    /// `DynamoGraphDeployment`.
    graph,
    /// `DynamoComponentDeployment`.
    component,
}

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    non_camel_case_types,
    reason = "the variant names are the label values"
)]
pub(crate) enum Outcome {
    /// Everything is as it should be, or on its way.
    success,
    /// The resource is not valid.
    invalid,
    /// Some objects could not be made.
    incomplete,
    /// The resource changed meanwhile.
    conflict,
    /// The API server could not be asked.
    error,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    resource: Resource,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: Resource,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    verb: Verb,
}

/// What was done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    non_camel_case_types,
    reason = "the variant names are the label values"
)]
pub(crate) enum Verb {
    /// It was made, or made as it should be.
    apply,
    /// It was removed, because nothing asks for it.
    delete,
    /// The API server refused.
    refused,
}

/// Families of the operator.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    reconciles: Family<ReconcileLabels, Counter>,
    seconds: Family<ResourceLabels, Histogram>,
    writes: Family<WriteLabels, Counter>,
    watch_errors: Counter,
    /// Resources that are reconciled at this moment.
    pub(crate) in_flight: Gauge,
    /// Resources that wait to be tried again.
    pub(crate) retrying: Gauge,
    /// Triggers that wait for the controller.
    pub(crate) queued: Gauge,
    /// Whether this process acts, or waits for the one that does to end.
    pub(crate) leader: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            writes: Family::default(),
            watch_errors: Counter::default(),
            in_flight: Gauge::default(),
            retrying: Gauge::default(),
            queued: Gauge::default(),
            leader: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("tandem_operator");
        registry.register(
            "reconciles",
            "Finished reconciles",
            metrics.reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Time of a reconcile",
            metrics.seconds.clone(),
        );
        registry.register(
            "writes",
            "Objects applied, deleted and refused",
            metrics.writes.clone(),
        );
        registry.register(
            "watch_errors",
            "Watches of the API server that broke",
            metrics.watch_errors.clone(),
        );
        registry.register(
            "reconciles_in_flight",
            "Resources that are reconciled now",
            metrics.in_flight.clone(),
        );
        registry.register(
            "retrying_resources",
            "Resources that wait to be tried again",
            metrics.retrying.clone(),
        );
        registry.register(
            "queue_depth",
            "Changes of objects that wait for their owner's reconcile",
            metrics.queued.clone(),
        );
        registry.register(
            "leader",
            "Whether this process acts",
            metrics.leader.clone(),
        );
        metrics
    }

    pub(crate) fn count_reconcile(&self, resource: Resource, outcome: Outcome, seconds: f64) {
        let labels = ReconcileLabels { resource, outcome };
        self.reconciles.get_or_create(&labels).inc();
        self.seconds
            .get_or_create(&ResourceLabels { resource })
            .observe(seconds);
    }

    pub(crate) fn count_write(&self, kind: &'static str, verb: Verb) {
        self.writes.get_or_create(&WriteLabels { kind, verb }).inc();
    }

    pub(crate) fn count_watch_error(&self) {
        self.watch_errors.inc();
    }
}
