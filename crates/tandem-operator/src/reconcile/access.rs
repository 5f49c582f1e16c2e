//! What the pods of a graph may ask the API server: to find each other, and to plan.

use serde_json::{Value, json};

use super::graph::{Graph, Role};
use super::names;
use super::object::{DesiredObject, ObjectKey, ObjectKind};
use super::settings::{DiscoveryBackend, Settings};

/// Name of the identity of pods that find each other through Kubernetes.
pub(super) fn discovery_name(graph: &str) -> String {
    format!("{graph}-k8s-service-discovery")
}

/// Name of the identity of the planner.
pub(super) fn planner_name(graph: &str) -> String {
    format!("{graph}-planner")
}

/// Identities, roles and bindings of `graph`.
pub(super) fn objects(graph: &Graph<'_>, settings: &Settings) -> Vec<DesiredObject> {
    let mut objects = Vec::new();
    let discovers = graph.discovery(settings.discovery_backend) == DiscoveryBackend::Kubernetes;
    let plans = graph
        .components
        .iter()
        .any(|component| component.role == Role::Planner);
    if discovers {
        let name = discovery_name(&graph.name);
        objects.extend(identity(graph, &name, &discovery_rules(), &name));
    }
    if plans {
        let name = planner_name(&graph.name);
        objects.extend(identity(graph, &name, &planner_rules(&graph.name), &name));
        if discovers {
            // The planner finds workers like everybody else.
            let role = discovery_name(&graph.name);
            objects.push(binding(graph, &format!("{name}-discovery"), &role, &name));
        }
    }
    objects
}

/// Pods say what they serve in a resource of their own, and see those of the others.
fn discovery_rules() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["pods", "endpoints"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": ["nvidia.com"], "resources": ["dynamoworkermetadatas"],
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
        },
    ])
}

/// The planner reads its own graph and says how many replicas it has.
fn planner_rules(graph: &str) -> Value {
    json!([
        {
            "apiGroups": ["nvidia.com"], "resources": ["dynamographdeployments"],
            "resourceNames": [graph], "verbs": ["get", "patch"],
        },
        {
            "apiGroups": ["nvidia.com"], "resources": ["dynamographdeploymentscalingadapters"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": ["nvidia.com"],
            "resources": ["dynamographdeploymentscalingadapters/scale"],
            "verbs": ["get", "patch", "update"],
        },
    ])
}

fn identity(graph: &Graph<'_>, name: &str, rules: &Value, role: &str) -> [DesiredObject; 3] {
    let mut account = object(graph, ObjectKind::ServiceAccount, name);
    account.value["automountServiceAccountToken"] = json!(true);
    let mut rights = object(graph, ObjectKind::Role, role);
    rights.value["rules"] = rules.clone();
    [account, rights, binding(graph, name, role, name)]
}

fn binding(graph: &Graph<'_>, name: &str, role: &str, account: &str) -> DesiredObject {
    let mut binding = object(graph, ObjectKind::RoleBinding, name);
    binding.value["roleRef"] = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role,
    });
    binding.value["subjects"] = json!([{
        "kind": "ServiceAccount", "name": account, "namespace": graph.namespace,
    }]);
    binding
}

/// An object that belongs to the whole graph, without what its kind adds.
pub(super) fn object(graph: &Graph<'_>, kind: ObjectKind, name: &str) -> DesiredObject {
    DesiredObject {
        key: ObjectKey {
            kind,
            name: name.to_owned(),
        },
        service: None,
        value: json!({
            "apiVersion": kind.api_version(), "kind": kind.name(),
            "metadata": {
                "name": name, "namespace": graph.namespace,
                "labels": {names::MANAGED_BY: names::OPERATOR, names::GRAPH: graph.name},
            },
        }),
        after: Vec::new(),
    }
}
