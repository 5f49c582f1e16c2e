//! Objects that belong to the whole graph or beside a component: storage and autoscalers.

use serde_json::{Value, json};

use super::access;
use super::graph::{Component, Graph};
use super::invalid::Problems;
use super::object::{DesiredObject, ObjectKind};
use super::pod;
use crate::crd::{Autoscaling, Pvc};

/// The claims of storage that the graph creates.
pub(super) fn claims(graph: &Graph<'_>, problems: &mut Problems) -> Vec<DesiredObject> {
    let shared = graph.pvcs.iter().enumerate();
    let shared = shared.map(|(number, pvc)| (format!("spec.pvcs[{number}]"), pvc.clone()));
    let single = graph.components.iter().filter_map(|component| {
        let pvc = component.spec.pvc.clone()?;
        let claim = Pvc {
            create: pvc.create,
            name: pvc.name,
            storage_class: pvc.storage_class,
            size: pvc.size,
            volume_access_mode: pvc.volume_access_mode,
        };
        Some((format!("spec.services.{}.pvc", component.service), claim))
    });
    let mut claims: Vec<DesiredObject> = Vec::new();
    for (path, pvc) in shared.chain(single) {
        let Some(name) = pvc.name.as_deref().filter(|name| !name.is_empty()) else {
            problems.add(&path, "a claim needs a name");
            continue;
        };
        let known = claims.iter().any(|claim| claim.key.name == name);
        if pvc.create != Some(true) || known {
            continue;
        }
        let Some(size) = &pvc.size else {
            problems.add(&path, "a claim that is created needs a size");
            continue;
        };
        let mut spec = json!({
            "accessModes": [pvc.volume_access_mode.as_deref().unwrap_or("ReadWriteOnce")],
            "resources": {"requests": {"storage": size}},
        });
        if let Some(class) = pvc
            .storage_class
            .as_deref()
            .filter(|class| !class.is_empty())
        {
            spec["storageClassName"] = json!(class);
        }
        claims.push(object(graph, ObjectKind::PersistentVolumeClaim, name, spec));
    }
    claims
}

fn object(graph: &Graph<'_>, kind: ObjectKind, name: &str, spec: Value) -> DesiredObject {
    let mut object = access::object(graph, kind, name);
    object.value["spec"] = spec;
    object
}

/// The autoscaler of `component`, if it has one.
pub(super) fn autoscaler(
    graph: &Graph<'_>,
    component: &Component<'_>,
    problems: &mut Problems,
) -> Option<DesiredObject> {
    let auto = component
        .spec
        .autoscaling
        .as_ref()
        .filter(|auto| auto.enabled)?;
    let path = format!("spec.services.{}.autoscaling", component.service);
    if component.spec.multinode.is_some() {
        problems.add(
            &path,
            "replicas on several nodes are not autoscaled; use a scaling adapter",
        );
        return None;
    }
    let Some(most) = auto.max_replicas else {
        problems.add(&path, "autoscaling needs maxReplicas");
        return None;
    };
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": component.name},
        "minReplicas": auto.min_replicas.unwrap_or(1),
        "maxReplicas": most,
        "metrics": metrics(auto),
    });
    if let Some(behavior) = &auto.behavior {
        spec["behavior"] = json!(behavior);
    }
    let mut object = object(
        graph,
        ObjectKind::HorizontalPodAutoscaler,
        &component.name,
        spec,
    );
    object.value["metadata"]["labels"] = json!(pod::labels(graph, component));
    object.service = Some(component.service.clone());
    Some(object)
}

/// What it looks at; the use of CPU without more.
fn metrics(auto: &Autoscaling) -> Value {
    if !auto.metrics.is_empty() {
        return json!(auto.metrics);
    }
    json!([{
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }])
}
