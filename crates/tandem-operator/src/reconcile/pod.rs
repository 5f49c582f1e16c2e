//! The pods of a component: its container, and what they share.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Map, Value, json};

use super::access;
use super::container::{self, MAIN};
use super::graph::{Component, Graph, Role};
use super::invalid::Problems;
use super::merge::lay_over;
use super::multinode::{self, Node};
use super::names;
use super::settings::{DiscoveryBackend, Settings};
use crate::crd::ComponentSpec;

/// Name of the volume that processes share memory through.
pub(super) const SHARED_MEMORY: &str = "shared-memory";
/// Shared memory of a pod, unless told otherwise.
const SHARED_MEMORY_SIZE: &str = "8Gi";

/// A pod, for Deployments and their like.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) labels: Map<String, Value>,
    pub(super) annotations: Map<String, Value>,
    pub(super) spec: Map<String, Value>,
}

impl Template {
    /// As `PodTemplateSpec`.
    pub(super) fn json(&self) -> Value {
        let mut metadata = json!({"labels": self.labels});
        if !self.annotations.is_empty() {
            metadata["annotations"] = json!(self.annotations);
        }
        json!({"metadata": metadata, "spec": self.spec})
    }

    /// Adds a variable to the container that serves, before those that may refer to it.
    pub(super) fn add_env(&mut self, variable: Value) {
        let containers = self
            .spec
            .get_mut("containers")
            .and_then(Value::as_array_mut);
        let main = containers.and_then(|containers| containers.first_mut());
        if let Some(env) = main.and_then(|main| main["env"].as_array_mut()) {
            env.insert(0, variable);
        }
    }
}

/// Labels that tell the pods of a component from all others.
pub(super) fn selector(component: &Component<'_>) -> Value {
    json!({names::SELECTOR: component.name})
}

/// Labels of everything that is made for a component.
pub(super) fn labels(graph: &Graph<'_>, component: &Component<'_>) -> Map<String, Value> {
    let mut labels = Map::new();
    let mut add = |name: &str, value: &str| {
        labels.insert(name.to_owned(), json!(value));
    };
    add(names::MANAGED_BY, names::OPERATOR);
    add(names::PART, component.component_type());
    add(names::GRAPH, &graph.name);
    add(names::NAMESPACE, &graph.dynamo_namespace);
    add(names::COMPONENT, &component.service);
    add(names::COMPONENT_TYPE, component.component_type());
    if let Some(half) = component.sub_component_type() {
        add(names::SUB_COMPONENT_TYPE, half);
    }
    add(names::SELECTOR, &component.name);
    if let Some(model) = &component.spec.model_ref {
        add(
            names::BASE_MODEL_HASH,
            &super::network::model_hash(&model.name),
        );
    }
    labels
}

/// What people wrote, under what we need: their labels may not take pods away from us.
pub(super) fn with_theirs(
    graph: &Graph<'_>,
    component: &Component<'_>,
    ours: &Map<String, Value>,
) -> (Map<String, Value>, Map<String, Value>) {
    let spec = component.spec;
    let texts = |maps: [Option<&std::collections::BTreeMap<String, String>>; 2]| {
        let pairs = maps.into_iter().flatten().flatten();
        pairs
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect::<Map<_, _>>()
    };
    let mut labels = texts([graph.labels, Some(&spec.labels)]);
    labels.extend(ours.clone());
    (labels, texts([graph.annotations, Some(&spec.annotations)]))
}

/// A pod of `component`, as `node` of its replica.
pub(super) fn template(
    graph: &Graph<'_>,
    component: &Component<'_>,
    settings: &Settings,
    node: Node,
    problems: &mut Problems,
) -> Template {
    let spec = component.spec;
    let mut main = container::main(graph, component, settings);
    let engine = multinode::engine(graph, component, &main, problems);
    if let Some(multinode) = &spec.multinode {
        multinode::adapt(&mut main, node, multinode.node_count, engine);
    }
    let mut pod = Map::new();
    let grace = json!(60);
    pod.insert("terminationGracePeriodSeconds".to_owned(), grace);
    if let Some(account) = service_account(graph, component, settings) {
        pod.insert("serviceAccountName".to_owned(), json!(account));
    }
    let no_secrets = graph
        .annotation(names::NO_PULL_SECRETS)
        .is_some_and(|text| text == "true");
    if !no_secrets && !settings.image_pull_secrets.is_empty() {
        let secrets = settings
            .image_pull_secrets
            .iter()
            .map(|name| json!({"name": name}));
        pod.insert("imagePullSecrets".to_owned(), secrets.collect());
    }
    let volumes = volumes(spec);
    if !volumes.is_empty() {
        pod.insert("volumes".to_owned(), json!(volumes));
    }
    let mut theirs = spec
        .extra_pod_spec
        .as_ref()
        .map(|extra| extra.pod.clone())
        .unwrap_or_default();
    let mut containers = Vec::new();
    for mut other in take_list(&mut theirs, "containers") {
        if other["name"] == json!(MAIN) {
            lay_over(
                &mut main,
                &std::mem::take(other.as_object_mut().unwrap_or(&mut Map::new())),
            );
        } else {
            containers.push(other);
        }
    }
    containers.insert(0, Value::Object(main));
    lay_over(&mut pod, &theirs);
    pod.insert("containers".to_owned(), Value::Array(containers));
    check(component, &pod, problems);

    let (labels, annotations) = metadata(graph, component, node);
    Template {
        labels,
        annotations,
        spec: pod,
    }
}

/// Whether Kubernetes would understand the pod at all.
fn check(component: &Component<'_>, pod: &Map<String, Value>, problems: &mut Problems) {
    if let Err(error) = serde_path_to_error::deserialize::<_, PodSpec>(&Value::Object(pod.clone()))
    {
        let path = format!(
            "spec.services.{}.extraPodSpec.{}",
            component.service,
            error.path()
        );
        let path = path.replace("containers[0]", "mainContainer");
        problems.add(&path, &error.inner().to_string());
    }
}

fn metadata(
    graph: &Graph<'_>,
    component: &Component<'_>,
    node: Node,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut ours = labels(graph, component);
    if graph
        .annotation(names::ENABLE_METRICS)
        .is_none_or(|text| text != "false")
    {
        ours.insert(names::METRICS_ENABLED.to_owned(), json!("true"));
    }
    if let Some(role) = node.name() {
        ours.insert(names::NODE_ROLE.to_owned(), json!(role));
    }
    let (mut labels, mut annotations) = with_theirs(graph, component, &ours);
    if let Some(extra) = &component.spec.extra_pod_metadata {
        for (name, value) in &extra.labels {
            labels.entry(name.clone()).or_insert_with(|| json!(value));
        }
        let more = extra
            .annotations
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)));
        annotations.extend(more);
    }
    if let Some(model) = &component.spec.model_ref {
        annotations.insert(names::BASE_MODEL.to_owned(), json!(model.name));
    }
    (labels, annotations)
}

/// Who the pods are to the API server, if they ask it.
fn service_account(
    graph: &Graph<'_>,
    component: &Component<'_>,
    settings: &Settings,
) -> Option<String> {
    if component.role == Role::Planner {
        return Some(access::planner_name(&graph.name));
    }
    let discovery = graph.discovery(settings.discovery_backend);
    (discovery == DiscoveryBackend::Kubernetes).then(|| access::discovery_name(&graph.name))
}

/// Size of the memory that processes share; `None` if there is none.
pub(super) fn shared_memory(spec: &ComponentSpec) -> Option<String> {
    let Some(shared) = &spec.shared_memory else {
        return Some(SHARED_MEMORY_SIZE.to_owned());
    };
    let size = shared
        .size
        .as_ref()
        .map_or(SHARED_MEMORY_SIZE, |size| &size.0);
    (shared.disabled != Some(true) && size != "0").then(|| size.to_owned())
}

fn volumes(spec: &ComponentSpec) -> Vec<Value> {
    let mut volumes = Vec::new();
    if let Some(size) = shared_memory(spec) {
        volumes.push(json!({
            "name": SHARED_MEMORY,
            "emptyDir": {"medium": "Memory", "sizeLimit": size},
        }));
    }
    let claims = spec.volume_mounts.iter().map(|mount| Some(&mount.name));
    let claims = claims.chain(spec.pvc.iter().map(|pvc| pvc.name.as_ref()));
    let mut seen = Vec::new();
    for claim in claims.flatten() {
        if seen.contains(&claim) {
            continue;
        }
        seen.push(claim);
        volumes.push(json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}));
    }
    volumes
}

/// Takes a list out of `object`.
fn take_list(object: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match object.remove(name) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}
