//! What a resource says became of it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::graph::Graph;
use super::object::ObjectKey;
use super::observed::ObservedWorkload;
use super::{Facts, Invalid, Plan, PlannedComponent, names, progress, restart};
use crate::crd::{
    DynamoComponentDeployment, DynamoComponentDeploymentStatus, DynamoGraphDeployment,
    DynamoGraphDeploymentStatus, ServiceStatus, State,
};

/// Longest message of a condition that Kubernetes takes.
const MAX_MESSAGE: usize = 32_768;

/// An object that could not be made as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which one.
    pub key: ObjectKey,
    /// What the API server said.
    pub reason: String,
    /// Whether only a change of something else can help; otherwise trying again may.
    pub is_final: bool,
}

/// What came of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What was observed after it was carried out.
    pub facts: &'a Facts,
    /// What could not be carried out.
    pub failures: &'a [Failure],
}

/// A condition without its times.
struct Finding {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

/// The status of a graph whose plan was carried out.
pub fn graph_status(
    graph: &DynamoGraphDeployment,
    outcome: &Outcome<'_>,
    now: Timestamp,
) -> DynamoGraphDeploymentStatus {
    let workloads = &outcome.facts.workloads;
    let missing = missing(outcome);
    let failed = failed(outcome);
    let ready = missing.is_empty() && outcome.failures.is_empty();
    let state = match (ready, failed.is_empty()) {
        (true, _) => State::Successful,
        (false, true) => State::Pending,
        (false, false) => State::Failed,
    };
    let readiness = readiness(outcome, &missing);
    let (reason, message) = match state {
        State::Successful => (
            "all_resources_are_ready",
            "nothing is left to do".to_owned(),
        ),
        State::Pending => ("updating", readiness.message.clone()),
        State::Failed => ("stuck", readiness.message.clone()),
    };
    let progressing = Finding {
        kind: "Progressing",
        holds: state == State::Pending,
        reason,
        message,
    };
    let failure = if failed.is_empty() {
        ("none", "nothing failed".to_owned())
    } else {
        ("failed_to_reconcile_the_resources", failed.join("; "))
    };
    let failure = Finding {
        kind: "Failed",
        holds: !failed.is_empty(),
        reason: failure.0,
        message: failure.1,
    };
    let findings = [readiness, progressing, failure];
    let components = outcome.plan.components.iter();
    let services = components.map(|component| {
        (
            component.service.clone(),
            service_status(component, workloads),
        )
    });
    let progress = progress(&outcome.plan.components, outcome.facts);
    let restart = Graph::from_graph(graph).ok();
    let previous = graph
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    let generation = graph.metadata.generation;
    DynamoGraphDeploymentStatus {
        state: Some(state),
        conditions: conditions(&findings, previous.unwrap_or_default(), generation, now),
        services: services.collect(),
        restart: restart.and_then(|graph| restart::status(&graph, &progress)),
        observed_generation: generation,
    }
}

/// The status of a graph that nothing can be made of. What ran before goes on.
pub fn invalid_status(
    graph: &DynamoGraphDeployment,
    invalid: &Invalid,
    now: Timestamp,
) -> DynamoGraphDeploymentStatus {
    let message = format!("the resource is not valid, and what ran before goes on: {invalid}");
    let finding = |kind: &'static str, holds: bool| Finding {
        kind,
        holds,
        reason: "ValidationFailed",
        message: message.clone(),
    };
    let findings = [
        finding("Ready", false),
        finding("Progressing", false),
        finding("Failed", true),
    ];
    let previous = graph.status.clone().unwrap_or_default();
    let generation = graph.metadata.generation;
    DynamoGraphDeploymentStatus {
        state: Some(State::Failed),
        conditions: conditions(&findings, &previous.conditions, generation, now),
        observed_generation: generation,
        ..previous
    }
}

/// The status of a component that stands alone.
pub fn component_status(
    component: &DynamoComponentDeployment,
    outcome: Result<&Outcome<'_>, &Invalid>,
    now: Timestamp,
) -> DynamoComponentDeploymentStatus {
    let previous = component.status.clone().unwrap_or_default();
    let generation = component.metadata.generation;
    let (holds, reason, message) = match outcome {
        Err(invalid) => (false, "ValidationFailed", invalid.to_string()),
        Ok(outcome) => {
            let finding = readiness(outcome, &missing(outcome));
            (finding.holds, finding.reason, finding.message)
        }
    };
    let findings = ["Available", "DynamoComponentReady"].map(|kind| Finding {
        kind,
        holds,
        reason,
        message: message.clone(),
    });
    let planned = outcome.ok().and_then(|outcome| {
        let planned = outcome.plan.components.first()?;
        Some(service_status(planned, &outcome.facts.workloads))
    });
    let name = component.name_any();
    DynamoComponentDeploymentStatus {
        observed_generation: generation,
        conditions: conditions(&findings, &previous.conditions, generation, now),
        selector: Some(format!("{}={name}", names::SELECTOR)),
        pod_selector: BTreeMap::from([(names::SELECTOR.to_owned(), name)]),
        replicas: planned
            .map(|planned| planned.replicas)
            .or(previous.replicas),
    }
}

fn readiness(outcome: &Outcome<'_>, missing: &[String]) -> Finding {
    let failures: Vec<String> = outcome.failures.iter().map(describe).collect();
    let (holds, reason, message) = if !failures.is_empty() {
        let failures = failures.join("; ");
        (false, "failed_to_reconcile_the_resources", failures)
    } else if missing.is_empty() {
        (
            true,
            "all_resources_are_ready",
            "all components serve".to_owned(),
        )
    } else {
        (false, "some_resources_are_not_ready", missing.join("; "))
    };
    Finding {
        kind: "Ready",
        holds,
        reason,
        message,
    }
}

fn describe(failure: &Failure) -> String {
    format!("failed to apply {}: {}", failure.key, failure.reason)
}

/// What is not ready, a component at a time.
fn missing(outcome: &Outcome<'_>) -> Vec<String> {
    let mut missing = Vec::new();
    for component in &outcome.plan.components {
        for key in &component.workloads {
            match outcome.facts.workloads.get(key) {
                None => missing.push(format!("{}: {key} does not exist yet", component.service)),
                Some(workload) if !workload.is_ready() => {
                    missing.push(format!("{}: {}", component.service, workload.missing()));
                }
                Some(_) => {}
            }
        }
    }
    missing
}

/// What somebody has to look at.
fn failed(outcome: &Outcome<'_>) -> Vec<String> {
    let refused = outcome
        .failures
        .iter()
        .filter(|failure| failure.is_final)
        .map(describe);
    let mut failed: Vec<String> = refused.collect();
    for component in &outcome.plan.components {
        let stuck = component.workloads.iter().filter_map(|key| {
            let workload = outcome.facts.workloads.get(key)?;
            workload.stuck.as_ref().filter(|_| !workload.is_ready())
        });
        failed.extend(stuck.map(|reason| format!("{}: {reason}", component.service)));
    }
    failed
}

fn service_status(
    component: &PlannedComponent,
    workloads: &BTreeMap<ObjectKey, ObservedWorkload>,
) -> ServiceStatus {
    let mut status = ServiceStatus {
        component_kind: component
            .workloads
            .first()
            .map_or("", |key| key.kind.name())
            .to_owned(),
        component_name: component.name.clone(),
        ready_replicas: Some(0),
        available_replicas: Some(0),
        ..ServiceStatus::default()
    };
    // Of the two sets of a replica on several nodes, the leader's is counted.
    let counted = component
        .workloads
        .iter()
        .filter(|key| !key.name.ends_with("-wkr"));
    for workload in counted.filter_map(|key| workloads.get(key)) {
        status.replicas += workload.replicas;
        status.updated_replicas += if workload.is_current {
            workload.updated
        } else {
            0
        };
        status.ready_replicas = status.ready_replicas.map(|ready| ready + workload.ready);
        status.available_replicas = status
            .available_replicas
            .map(|available| available + workload.available);
    }
    status
}

/// Conditions whose times change only when they do.
fn conditions(
    findings: &[Finding],
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |finding: &Finding| {
        let status = if finding.holds { "True" } else { "False" };
        let before = previous
            .iter()
            .find(|condition| condition.type_ == finding.kind);
        let since = before.filter(|condition| condition.status == status);
        let mut message = finding.message.clone();
        if message.len() > MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        }
        Condition {
            last_transition_time: since.map_or(Time(now), |condition| {
                condition.last_transition_time.clone()
            }),
            message,
            observed_generation: generation,
            reason: finding.reason.to_owned(),
            status: status.to_owned(),
            type_: finding.kind.to_owned(),
        }
    };
    findings.iter().map(condition).collect()
}
