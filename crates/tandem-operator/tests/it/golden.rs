//! What graphs become, object by object.

use serde_json::{Value, json};
use tandem_operator::crd::DynamoGraphDeployment;
use tandem_operator::reconcile::{
    Capabilities, DiscoveryBackend, Facts, Plan, Settings, plan_graph,
};

use crate::api_server::Kind;

const DISAGGREGATED: &str = include_str!("manifests/disaggregated.yaml");
const PLANNED: &str = include_str!("manifests/planned.yaml");
const MULTINODE: &str = include_str!("manifests/multinode.yaml");

fn settings() -> Settings {
    Settings {
        default_image: "ghcr.io/example/tandem:0.1.0".to_owned(),
        discovery_backend: DiscoveryBackend::Etcd,
        etcd_endpoints: Some("http://etcd:2379".to_owned()),
        nats_server: Some("nats://nats:4222".to_owned()),
        ..Settings::default()
    }
}

fn parse(text: &str) -> DynamoGraphDeployment {
    let value: Value = serde_saphyr::from_str(text).expect("the manifest is YAML");
    Kind::Graph
        .check(&value)
        .expect("a strict API server takes the manifest");
    serde_json::from_value(value).expect("the manifest is a graph")
}

/// The plan of `text`; a strict API server takes all of it.
fn plan(text: &str, facts: &Facts, settings: &Settings) -> Plan {
    let plan = plan_graph(&parse(text), facts, settings).expect("the graph is valid");
    for object in &plan.objects {
        let kind = Kind::of(&object.value).expect("the kind exists");
        if let Err(error) = kind.check(&object.value) {
            panic!("{}: {error}", object.key);
        }
    }
    plan
}

fn objects(plan: &Plan) -> Value {
    plan.objects
        .iter()
        .map(|object| object.value.clone())
        .collect()
}

#[test]
fn stock_images_find_each_other_in_etcd() {
    let plan = plan(DISAGGREGATED, &Facts::default(), &settings());
    insta::assert_json_snapshot!(objects(&plan));
}

#[test]
fn our_image_is_planned_and_found_through_kubernetes() {
    let settings = Settings {
        discovery_backend: DiscoveryBackend::Kubernetes,
        etcd_endpoints: None,
        nats_server: None,
        prometheus_endpoint: Some("http://prometheus:9090".to_owned()),
        image_pull_secrets: vec!["registry".to_owned()],
        ..settings()
    };
    let plan = plan(PLANNED, &Facts::default(), &settings);
    insta::assert_json_snapshot!(objects(&plan));
}

#[test]
fn several_nodes_are_a_leader_worker_set() {
    let facts = Facts {
        capabilities: Capabilities {
            leader_worker_sets: true,
            virtual_services: false,
        },
        ..Facts::default()
    };
    let plan = plan(MULTINODE, &facts, &settings());
    insta::assert_json_snapshot!(objects(&plan));
}

#[test]
fn several_nodes_are_stateful_sets_where_there_is_nothing_better() {
    let plan = plan(MULTINODE, &Facts::default(), &settings());
    let names: Vec<String> = plan
        .objects
        .iter()
        .map(|object| object.key.to_string())
        .collect();
    assert_eq!(
        names,
        [
            "Service big-decode",
            "Service big-decode-nodes",
            "StatefulSet big-decode-0-ldr",
            "StatefulSet big-decode-0-wkr",
            "StatefulSet big-decode-1-ldr",
            "StatefulSet big-decode-1-wkr",
        ]
    );
    let pod = &plan.objects[3].value["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        pod["args"],
        json!(["ray start --address=$LWS_LEADER_ADDRESS:6379 --block"])
    );
    assert_eq!(
        pod["env"][0],
        json!({"name": "LWS_LEADER_ADDRESS", "value": "big-decode-0-ldr-0.big-decode-nodes.models.svc"})
    );
    assert!(pod.get("readinessProbe").is_none());
}

/// What is wrong with a graph in which `change` was made.
fn wrong(change: impl FnOnce(&mut Value)) -> String {
    let mut graph: Value = serde_saphyr::from_str(DISAGGREGATED).expect("the manifest is YAML");
    change(&mut graph);
    let graph = serde_json::from_value(graph).expect("the change keeps it a graph");
    match plan_graph(&graph, &Facts::default(), &settings()) {
        Ok(_) => "nothing".to_owned(),
        Err(invalid) => invalid.to_string(),
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let check = |change: &dyn Fn(&mut Value), expected: &str| {
        let wrong = wrong(change);
        assert!(wrong.contains(expected), "{wrong}");
    };
    check(
        &|graph| graph["metadata"]["name"] = json!("9vllm"),
        "with a letter first",
    );
    check(
        &|graph| graph["metadata"]["name"] = json!("v".repeat(60)),
        "63 are allowed",
    );
    check(
        &|graph| graph["spec"]["services"] = json!({}),
        "at least one component",
    );
    check(
        &|graph| graph["spec"]["services"]["frontend"] = json!({"dynamoNamespace": "dynamo-vllm"}),
        "spec.services.frontend: two components differ in upper and lower case only",
    );
    check(
        &|graph| {
            graph["spec"]["services"]["Frontend"]["componentType"] = json!("front end");
        },
        "spec.services.Frontend.componentType: front end cannot be a label",
    );
    check(
        &|graph| graph["spec"]["backendFramework"] = json!("sglang"),
        "the command runs dynamo.vllm, and backendFramework says dynamo.sglang",
    );
    check(
        &|graph| {
            let pod = &mut graph["spec"]["services"]["Frontend"]["extraPodSpec"];
            pod["mainContainer"]["ports"] = json!([{"containerPort": "eight"}]);
        },
        "spec.services.Frontend.extraPodSpec.mainContainer.ports",
    );
    check(
        &|graph| {
            graph["spec"]["services"]["Frontend"]["volumeMounts"] = json!([{"name": "data"}]);
        },
        "spec.services.Frontend.volumeMounts[0]: a volume needs a mountPoint",
    );
    check(
        &|graph| {
            graph["spec"]["services"]["Frontend"]["ingress"] =
                json!({"enabled": true, "host": "a", "useVirtualService": true});
        },
        "the cluster has no VirtualServices",
    );
    check(
        &|graph| graph["spec"]["pvcs"] = json!([{"name": "data", "create": true}]),
        "spec.pvcs[0]: a claim that is created needs a size",
    );
}
