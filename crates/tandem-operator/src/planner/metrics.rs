//! What the planner counts.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::decide::Decision;
use super::role::Role;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabels {
    role: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    role: &'static str,
    direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(
    non_camel_case_types,
    reason = "the variant names are the label values"
)]
enum Direction {
    up,
    down,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    step: &'static str,
}

/// What can fail.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Observe,
    Apply,
}

/// The families.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    decisions: Counter,
    changes: Family<ChangeLabels, Counter>,
    current: Family<RoleLabels, Gauge>,
    target: Family<RoleLabels, Gauge>,
    failures: Family<FailureLabels, Counter>,
}

impl Metrics {
    /// Registers every family below the prefix `tandem_planner`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("tandem_planner");
        registry.register("decisions", "Decisions", metrics.decisions.clone());
        let changes = metrics.changes.clone();
        registry.register(
            "changes",
            "Decisions that change a number of workers",
            changes,
        );
        registry.register(
            "replicas",
            "Workers asked for until now",
            metrics.current.clone(),
        );
        registry.register(
            "target_replicas",
            "Workers decided on",
            metrics.target.clone(),
        );
        let failures = metrics.failures.clone();
        registry.register("failures", "Intervals in which a step failed", failures);
        metrics
    }

    pub(super) fn decided(&self, decision: &Decision) {
        self.decisions.inc();
        for role in Role::ALL {
            let Some(of_role) = decision.roles.get(role) else {
                continue;
            };
            let (Some(current), Some(target)) = (of_role.current, of_role.target) else {
                continue;
            };
            let role = role.name();
            let labels = RoleLabels { role };
            self.current.get_or_create(&labels).set(current.into());
            self.target.get_or_create(&labels).set(target.into());
            if current != target {
                let direction = if target > current {
                    Direction::up
                } else {
                    Direction::down
                };
                self.changes
                    .get_or_create(&ChangeLabels { role, direction })
                    .inc();
            }
        }
    }

    pub(super) fn failed(&self, step: Step) {
        let step = match step {
            Step::Observe => "observe",
            Step::Apply => "apply",
        };
        self.failures.get_or_create(&FailureLabels { step }).inc();
    }
}
