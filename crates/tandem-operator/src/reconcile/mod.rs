//! What a graph should be in Kubernetes: pure functions from the resource, what was observed and
//! the operator's settings to objects and a status.
//!
//! Must not know how objects are read or written.

mod access;
mod container;
mod graph;
mod invalid;
mod merge;
mod multinode;
pub mod names;
mod network;
mod object;
mod observed;
mod pod;
mod restart;
mod settings;
mod shared;
mod status;
mod workload;

use std::collections::BTreeMap;

use crate::crd::{DynamoComponentDeployment, DynamoGraphDeployment};
use graph::{Component, Graph};
use invalid::Problems;
use network::Reach;
use restart::Progress;
use workload::Run;

pub use invalid::Invalid;
pub use object::{DesiredObject, ObjectKey, ObjectKind};
pub use observed::ObservedWorkload;
pub use settings::{Capabilities, DiscoveryBackend, Settings};
pub use status::{Failure, Outcome, component_status, graph_status, invalid_status};

/// What was observed of a graph and of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its workloads.
    pub workloads: BTreeMap<ObjectKey, ObservedWorkload>,
    /// Replicas that scaling adapters say, by component.
    pub adapters: BTreeMap<String, i32>,
    /// Optional parts of the API that the cluster has.
    pub capabilities: Capabilities,
}

/// What a graph should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The objects, in the order in which they are applied.
    pub objects: Vec<DesiredObject>,
    /// The components.
    pub components: Vec<PlannedComponent>,
    /// Components for which a scaling adapter has to exist, and the replicas that it starts with.
    pub adapters: BTreeMap<String, i32>,
    /// Fields that are accepted and not acted on.
    pub ignored: Vec<String>,
}

/// What a component should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedComponent {
    /// As the graph calls it.
    pub service: String,
    /// Name of the objects that are made for it.
    pub name: String,
    /// What runs its pods.
    pub workloads: Vec<ObjectKey>,
}

impl PlannedComponent {
    /// Label selector of its pods.
    pub fn selector(&self) -> String {
        format!("{}={}", names::SELECTOR, self.name)
    }

    fn progress(&self, workloads: &BTreeMap<ObjectKey, ObservedWorkload>) -> Progress {
        let observed: Vec<_> = self
            .workloads
            .iter()
            .map(|key| workloads.get(key))
            .collect();
        let all = |test: &dyn Fn(&ObservedWorkload) -> bool| {
            observed.iter().all(|workload| workload.is_some_and(test))
        };
        let first = observed.iter().flatten().next();
        let restart = first.and_then(|workload| workload.restart.clone());
        Progress {
            exists: first.is_some(),
            ready: all(&|workload| workload.is_ready() && workload.restart == restart),
            restart,
        }
    }
}

/// What `graph` should be.
///
/// # Errors
/// Nothing can be made of it.
pub fn plan_graph(
    graph: &DynamoGraphDeployment,
    facts: &Facts,
    settings: &Settings,
) -> Result<Plan, Invalid> {
    let mut ignored = Vec::new();
    let mut ignore = |ignored_field: bool, path: String| {
        if ignored_field {
            ignored.push(path);
        }
    };
    ignore(
        graph.spec.topology_constraint.is_some(),
        "spec.topologyConstraint".to_owned(),
    );
    ignore(
        graph.spec.dynamo_graph.is_some(),
        "spec.dynamoGraph".to_owned(),
    );
    for (name, spec) in &graph.spec.services {
        let path = format!("spec.services.{name}.topologyConstraint");
        ignore(spec.topology_constraint.is_some(), path);
    }
    plan(&Graph::from_graph(graph)?, facts, settings, ignored)
}

/// What `component` should be.
///
/// # Errors
/// Nothing can be made of it.
pub fn plan_component(
    component: &DynamoComponentDeployment,
    facts: &Facts,
    settings: &Settings,
) -> Result<Plan, Invalid> {
    let ignored = component
        .spec
        .dynamo_tag
        .as_ref()
        .map(|_| "spec.dynamoTag".to_owned());
    plan(
        &Graph::from_component(component)?,
        facts,
        settings,
        ignored.into_iter().collect(),
    )
}

fn plan(
    graph: &Graph<'_>,
    facts: &Facts,
    settings: &Settings,
    ignored: Vec<String>,
) -> Result<Plan, Invalid> {
    let mut problems = Problems::default();
    let leader_worker_sets = facts.capabilities.leader_worker_sets;
    let mut objects = access::objects(graph, settings);
    objects.extend(shared::claims(graph, &mut problems));
    objects.extend(network::model_services(graph));
    let mut components = Vec::new();
    let mut adapters = BTreeMap::new();
    for component in &graph.components {
        check_mounts(component, &mut problems);
        let spec = component.spec;
        if spec
            .scaling_adapter
            .as_ref()
            .is_some_and(|adapter| adapter.enabled)
        {
            adapters.insert(component.service.clone(), spec.replicas.unwrap_or(1));
        }
        let replicas = replicas(component, facts);
        components.push(PlannedComponent {
            service: component.service.clone(),
            name: component.name.clone(),
            workloads: workload::keys(component, replicas, leader_worker_sets),
        });
    }
    let progress = progress(&components, facts);
    let restarts = restart::restarts(graph, &progress);
    for component in &graph.components {
        let run = Run {
            graph,
            component,
            settings,
            replicas: replicas(component, facts),
            restart: restarts.get(&component.service).cloned(),
        };
        objects.extend(workload::objects(&run, leader_worker_sets, &mut problems));
        let main = container::main(graph, component, settings);
        let reach = Reach {
            graph,
            component,
            settings,
            capabilities: facts.capabilities,
        };
        objects.extend(reach.objects(&main, &mut problems));
        objects.extend(shared::autoscaler(graph, component, &mut problems));
    }
    problems.into_result()?;
    objects.sort_by_key(|object| object.key.kind);
    Ok(Plan {
        objects,
        components,
        adapters,
        ignored,
    })
}

/// Replicas of `component`: a scaling adapter wins over the graph. `None` if an autoscaler says it.
fn replicas(component: &Component<'_>, facts: &Facts) -> Option<i32> {
    if component.is_autoscaled() {
        return None;
    }
    let adapter = facts.adapters.get(&component.service);
    Some(
        adapter
            .copied()
            .or(component.spec.replicas)
            .unwrap_or(1)
            .max(0),
    )
}

fn progress<'a>(components: &'a [PlannedComponent], facts: &Facts) -> BTreeMap<&'a str, Progress> {
    let progress = components.iter().map(|component| {
        let progress = component.progress(&facts.workloads);
        (component.service.as_str(), progress)
    });
    progress.collect()
}

/// Whether the container knows where to see each volume.
fn check_mounts(component: &Component<'_>, problems: &mut Problems) {
    let spec = component.spec;
    for (number, mount) in spec.volume_mounts.iter().enumerate() {
        let cache = mount.use_as_compilation_cache == Some(true);
        if mount.mount_point.is_none() && !cache {
            let path = format!("spec.services.{}.volumeMounts[{number}]", component.service);
            problems.add(&path, "a volume needs a mountPoint");
        }
    }
    if let Some(pvc) = &spec.pvc
        && pvc.mount_point.is_none()
    {
        let path = format!("spec.services.{}.pvc", component.service);
        problems.add(&path, "a volume needs a mountPoint");
    }
}
