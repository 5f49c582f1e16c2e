//! What holds for the objects of every graph.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tandem_operator::reconcile::{Capabilities, Facts, Settings, plan_graph};

use crate::api_server::Kind;

fn component() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec![
        "frontend", "worker", "prefill", "planner", "main", "", "other",
    ]);
    let nodes = prop::option::of(2..4_i32);
    let port = prop::option::of(1..9_i64);
    (kind, 0..4_i32, nodes, any::<bool>(), any::<bool>(), port).prop_map(
        |(kind, replicas, nodes, scaled, by_hand, port)| {
            let mut spec = json!({"componentType": kind, "replicas": replicas});
            if let Some(nodes) = nodes {
                spec["multinode"] = json!({"nodeCount": nodes});
            } else if scaled {
                spec["autoscaling"] = json!({"enabled": true, "maxReplicas": 3});
            }
            if by_hand {
                spec["scalingAdapter"] = json!({"enabled": true});
            }
            if let Some(port) = port {
                spec["extraPodSpec"] = json!({"mainContainer": {
                    "ports": [{"containerPort": 8000 + port, "name": "http"}],
                    "env": [{"name": "DYN_SYSTEM_PORT", "value": (9000 + port).to_string()}],
                }});
            }
            spec
        },
    )
}

fn graph() -> impl Strategy<Value = Value> {
    let services = prop::collection::btree_map("[A-Z][a-z0-9]{0,5}", component(), 1..5);
    services.prop_map(|services| {
        json!({
            "apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeployment",
            "metadata": {"name": "graph", "namespace": "models"},
            "spec": {"services": services, "restart": {"id": "one"}},
        })
    })
}

fn includes(labels: &Value, selector: &Map<String, Value>) -> bool {
    selector.iter().all(|(name, value)| labels[name] == *value)
}

/// Labels of the pods that `object` makes.
fn pods(object: &Value) -> Vec<Value> {
    let spec = &object["spec"];
    let group = &spec["leaderWorkerTemplate"];
    let templates = [
        &spec["template"],
        &group["leaderTemplate"],
        &group["workerTemplate"],
    ];
    let labels = templates.map(|template| template["metadata"]["labels"].clone());
    labels.into_iter().filter(Value::is_object).collect()
}

proptest! {
    #[test]
    fn every_graph_becomes_objects_that_fit_together(
        graph in graph(),
        leader_worker_sets in any::<bool>(),
        adapted in prop::option::of(0..6_i32),
    ) {
        let typed = serde_json::from_value(graph.clone()).expect("it is a graph");
        let services = graph["spec"]["services"].as_object().expect("it has components").clone();
        let first = services.keys().next().expect("it has one").clone();
        let facts = Facts {
            adapters: adapted.map(|replicas| (first.clone(), replicas)).into_iter().collect(),
            capabilities: Capabilities { leader_worker_sets, virtual_services: false },
            ..Facts::default()
        };
        let settings = Settings { default_image: "tandem".to_owned(), ..Settings::default() };
        let plan = plan_graph(&typed, &facts, &settings).expect("it is valid");
        prop_assert_eq!(&plan, &plan_graph(&typed, &facts, &settings).expect("it still is"));

        let keys: BTreeSet<_> = plan.objects.iter().map(|object| object.key.clone()).collect();
        prop_assert_eq!(keys.len(), plan.objects.len());
        for component in &plan.components {
            prop_assert!(component.workloads.iter().all(|key| keys.contains(key)));
        }
        let planned: usize = plan.components.iter().map(|component| component.workloads.len()).sum();
        let workloads = plan.objects.iter().filter(|object| object.key.kind.is_workload());
        prop_assert_eq!(planned, workloads.count());

        let all_pods: Vec<Value> = plan.objects.iter().flat_map(|object| pods(&object.value)).collect();
        let mut replicas = BTreeMap::new();
        for object in &plan.objects {
            let kind = Kind::of(&object.value).expect("the kind exists");
            if let Err(error) = kind.check(&object.value) {
                return Err(TestCaseError::fail(format!("{}: {error}", object.key)));
            }
            let spec = &object.value["spec"];
            if let Some(selector) = spec["selector"]["matchLabels"].as_object() {
                prop_assert!(pods(&object.value).iter().all(|labels| includes(labels, selector)));
            }
            if kind == Kind::Service {
                let selector = spec["selector"].as_object().expect("a Service selects");
                let no_pods = plan.components.iter().any(|component| {
                    object.service.as_ref() == Some(&component.service)
                        && component.workloads.is_empty()
                });
                let some = all_pods.iter().any(|labels| includes(labels, selector));
                prop_assert!(some || no_pods, "{} selects nothing", object.key);
            }
            if let Some(service) = object.service.as_ref().filter(|_| object.key.kind.is_workload()) {
                replicas.insert(service.clone(), spec["replicas"].clone());
            }
        }
        // An adapter wins over the graph, and an autoscaler over both.
        for (service, spec) in &services {
            let said = adapted.filter(|_| *service == first).map_or(spec["replicas"].clone(), Value::from);
            match (spec["multinode"].is_object(), spec["autoscaling"].is_object()) {
                (true, _) => {}
                (false, true) => prop_assert_eq!(&replicas[service], &Value::Null),
                (false, false) => prop_assert_eq!(&replicas[service], &said),
            }
        }
    }
}
