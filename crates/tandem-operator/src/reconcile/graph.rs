//! What has to be made, whichever resource asked for it: components, and what they share.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::EnvVar;
use kube::ResourceExt;

use super::invalid::{Invalid, Problems};
use super::names;
use super::settings::DiscoveryBackend;
use crate::crd::{
    BackendFramework, ComponentSpec, DynamoComponentDeployment, DynamoGraphDeployment, Pvc, Restart,
};

/// Longest name of a Service, and longest value of a label.
const MAX_NAME: usize = 63;

/// What a component does for the graph; it decides ports, probes and environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Answers clients.
    Frontend,
    /// Runs an engine.
    Worker,
    /// Says how many workers there are.
    Planner,
    /// Something else.
    Other,
}

impl Role {
    fn new(component_type: Option<&str>) -> Self {
        let name = component_type.unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "frontend" | "main" => Self::Frontend,
            "worker" | "prefill" | "decode" => Self::Worker,
            "planner" => Self::Planner,
            _ => Self::Other,
        }
    }
}

/// A component of a graph.
#[derive(Debug)]
pub(crate) struct Component<'a> {
    /// As the graph calls it.
    pub(crate) service: String,
    /// Name of the objects that are made for it.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) spec: &'a ComponentSpec,
}

impl Component<'_> {
    /// What it is, as processes and labels say it.
    pub(crate) fn component_type(&self) -> &str {
        match self.spec.component_type.as_deref() {
            Some("main") => "frontend",
            Some(name) if !name.is_empty() => name,
            _ => "default",
        }
    }

    /// Which half of a disaggregated model it serves.
    pub(crate) fn sub_component_type(&self) -> Option<&str> {
        let half = self.spec.sub_component_type.as_deref();
        half.or_else(|| {
            let name = self.spec.component_type.as_deref()?;
            ["prefill", "decode"].contains(&name).then_some(name)
        })
    }

    /// Whether a HorizontalPodAutoscaler says how many replicas there are.
    pub(crate) fn is_autoscaled(&self) -> bool {
        self.spec
            .autoscaling
            .as_ref()
            .is_some_and(|auto| auto.enabled)
    }
}

/// Components, and what they share.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) name: String,
    /// Namespace in Kubernetes.
    pub(crate) namespace: String,
    /// Namespace in which the processes find each other.
    pub(crate) dynamo_namespace: String,
    pub(crate) components: Vec<Component<'a>>,
    /// Of the resource itself.
    pub(crate) own_annotations: &'a BTreeMap<String, String>,
    pub(crate) annotations: Option<&'a BTreeMap<String, String>>,
    pub(crate) labels: Option<&'a BTreeMap<String, String>>,
    pub(crate) envs: &'a [EnvVar],
    pub(crate) backend_framework: Option<BackendFramework>,
    pub(crate) pvcs: &'a [Pvc],
    pub(crate) restart: Option<&'a Restart>,
}

impl<'a> Graph<'a> {
    /// # Errors
    /// Names cannot be those of objects, or the components do not agree.
    pub(crate) fn from_graph(graph: &'a DynamoGraphDeployment) -> Result<Self, Invalid> {
        let mut problems = Problems::default();
        let name = graph.name_any();
        if graph.spec.services.is_empty() {
            problems.add("spec.services", "a graph needs at least one component");
        }
        let mut components = Vec::new();
        let mut seen = BTreeSet::new();
        for (service, spec) in &graph.spec.services {
            let path = format!("spec.services.{service}");
            let object_name = format!("{name}-{}", service.to_lowercase());
            if let Err(reason) = check_name(&object_name) {
                problems.add(&path, &reason);
            }
            if !seen.insert(object_name.clone()) {
                problems.add(&path, "two components differ in upper and lower case only");
            }
            let component_type = spec.component_type.as_deref();
            components.push(Component {
                service: service.clone(),
                name: object_name,
                role: Role::new(component_type),
                spec,
            });
        }
        let dynamo_namespace = dynamo_namespace(&name, &components, &mut problems);
        check_labels(&components, &dynamo_namespace, &mut problems);
        problems.into_result()?;
        Ok(Self {
            namespace: graph.namespace().unwrap_or_default(),
            dynamo_namespace,
            components,
            own_annotations: graph.annotations(),
            annotations: Some(&graph.spec.annotations),
            labels: Some(&graph.spec.labels),
            envs: &graph.spec.envs,
            backend_framework: graph.spec.backend_framework,
            pvcs: &graph.spec.pvcs,
            restart: graph.spec.restart.as_ref(),
            name,
        })
    }

    /// A graph of one component.
    ///
    /// # Errors
    /// The name cannot be that of objects.
    pub(crate) fn from_component(
        component: &'a DynamoComponentDeployment,
    ) -> Result<Self, Invalid> {
        let mut problems = Problems::default();
        let object_name = component.name_any();
        if let Err(reason) = check_name(&object_name) {
            problems.add("metadata.name", &reason);
        }
        let spec = &component.spec.component;
        let name = component
            .labels()
            .get(names::GRAPH)
            .unwrap_or(&object_name)
            .clone();
        let components = vec![Component {
            service: spec
                .service_name
                .clone()
                .unwrap_or_else(|| object_name.clone()),
            name: object_name,
            role: Role::new(spec.component_type.as_deref()),
            spec,
        }];
        let dynamo_namespace = dynamo_namespace(&name, &components, &mut problems);
        check_labels(&components, &dynamo_namespace, &mut problems);
        problems.into_result()?;
        Ok(Self {
            name,
            namespace: component.namespace().unwrap_or_default(),
            dynamo_namespace,
            components,
            own_annotations: component.annotations(),
            annotations: None,
            labels: None,
            envs: &[],
            backend_framework: component.spec.backend_framework,
            pvcs: &[],
            restart: None,
        })
    }

    /// An annotation of the component, or else of the graph.
    pub(crate) fn setting<'b>(
        &'b self,
        component: &'b Component<'_>,
        name: &str,
    ) -> Option<&'b str> {
        let own = component.spec.annotations.get(name);
        own.or_else(|| self.annotation(name)).map(String::as_str)
    }

    /// Where the processes find each other.
    pub(crate) fn discovery(&self, default: DiscoveryBackend) -> DiscoveryBackend {
        match self
            .annotation(names::DISCOVERY_BACKEND)
            .map(String::as_str)
        {
            Some("kubernetes") => DiscoveryBackend::Kubernetes,
            Some("etcd") => DiscoveryBackend::Etcd,
            _ => default,
        }
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&String> {
        let shared = self.annotations.and_then(|shared| shared.get(name));
        self.own_annotations.get(name).or(shared)
    }
}

/// The namespace that all components agree on.
fn dynamo_namespace(graph: &str, components: &[Component<'_>], problems: &mut Problems) -> String {
    let mut named = components.iter().filter_map(|component| {
        let spec = component.spec;
        if spec.global_dynamo_namespace == Some(true) {
            return Some("dynamo");
        }
        spec.dynamo_namespace
            .as_deref()
            .filter(|name| !name.is_empty())
    });
    let Some(first) = named.next() else {
        return format!("dynamo-{graph}");
    };
    if let Some(other) = named.find(|name| *name != first) {
        let reason = format!(
            "all components of a graph need the same dynamoNamespace, not {first} and {other}"
        );
        problems.add("spec.services", &reason);
    }
    first.to_owned()
}

/// Names that people chose and that labels hold.
fn check_labels(components: &[Component<'_>], namespace: &str, problems: &mut Problems) {
    for component in components {
        let names = [
            ("serviceName", Some(component.service.as_str())),
            ("componentType", Some(component.component_type())),
            ("subComponentType", component.sub_component_type()),
            ("dynamoNamespace", Some(namespace)),
        ];
        for (field, name) in names {
            let Some(name) = name.filter(|name| !is_label(name)) else {
                continue;
            };
            let path = format!("spec.services.{}.{field}", component.service);
            let reason = format!(
                "{name} cannot be a label: at most {MAX_NAME} letters, digits, `-`, `_` and `.`, \
                 a letter or digit first and last"
            );
            problems.add(&path, &reason);
        }
    }
}

fn is_label(value: &str) -> bool {
    let edge = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    value.len() <= MAX_NAME
        && edge(value.chars().next())
        && edge(value.chars().last())
        && value.chars().all(allowed)
}

/// Whether `name` can be that of a Service.
fn check_name(name: &str) -> Result<(), String> {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    let ends = name.ends_with(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit());
    let allowed =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.len() > MAX_NAME {
        return Err(format!(
            "objects of it would be called {name}, which has {} characters; {MAX_NAME} are allowed",
            name.len()
        ));
    }
    if !starts || !ends || !name.chars().all(allowed) {
        return Err(format!(
            "objects of it would be called {name}; names are lower case letters, digits and \
             hyphens, with a letter first"
        ));
    }
    Ok(())
}
