//! What happens to graphs, as people use them.

use serde_json::json;

use crate::api_server::{ApiServer, Kind, NAMESPACE};
use crate::harness::{condition, events, graph, is_ready, start};

const DEPLOYMENTS: [&str; 3] = [
    "vllm-frontend",
    "vllm-vllmdecodeworker",
    "vllm-vllmprefillworker",
];

async fn ready(server: &ApiServer) {
    server
        .wait_for("the graph is ready", |server| is_ready(server, "vllm"))
        .await;
}

#[tokio::test]
async fn a_graph_becomes_deployments_and_services_and_goes_without_a_trace() {
    let server = ApiServer::start().await;
    let operator = start(
        &server,
        &[
            "--etcd-endpoints",
            "etcd:2379",
            "--nats-server",
            "nats://n:4222",
        ],
    );
    server.create(graph("vllm"));
    server
        .wait_for("all deployments are made", |server| {
            server.names(Kind::Deployment) == DEPLOYMENTS
        })
        .await;
    server
        .wait_for("the graph says what is missing", |server| {
            condition(server, "vllm", "Ready")
                .is_some_and(|ready| ready["reason"] == "some_resources_are_not_ready")
        })
        .await;
    assert_eq!(
        server.get(Kind::Graph, "vllm").unwrap()["status"]["state"],
        "pending"
    );
    server.make_pods_ready(true);
    ready(&server).await;
    assert_eq!(server.names(Kind::Service), DEPLOYMENTS);
    let status = server.get(Kind::Graph, "vllm").unwrap()["status"].clone();
    assert_eq!(
        status["services"]["Frontend"],
        json!({
            "componentKind": "Deployment", "componentName": "vllm-frontend", "replicas": 1,
            "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        })
    );
    server
        .wait_for("people are told", |server| {
            !events(server, "Created").is_empty() && !events(server, "Ready").is_empty()
        })
        .await;
    server.delete(Kind::Graph, "vllm");
    for kind in [
        Kind::Deployment,
        Kind::Service,
        Kind::ServiceAccount,
        Kind::Role,
    ] {
        assert_eq!(server.names(kind), Vec::<String>::new(), "{kind:?}");
    }
    let metrics = operator.metrics();
    assert!(metrics.contains("outcome=\"success\""), "{metrics}");
    assert!(metrics.contains("tandem_operator_writes_total{kind=\"Deployment\",verb=\"apply\"}"));
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn an_edit_rolls_out_and_back_and_a_removed_component_goes() {
    let server = ApiServer::start().await;
    server.make_pods_ready(true);
    let operator = start(&server, &[]);
    server.create(graph("vllm"));
    ready(&server).await;
    let template = |server: &ApiServer| {
        server.get(Kind::Deployment, "vllm-frontend").unwrap()["spec"]["template"].clone()
    };
    let before = template(&server);
    let strategy =
        server.get(Kind::Deployment, "vllm-frontend").unwrap()["spec"]["strategy"].clone();
    assert_eq!(
        strategy["rollingUpdate"],
        json!({"maxSurge": 1, "maxUnavailable": 0})
    );

    let image = "/spec/services/Frontend/extraPodSpec/mainContainer/image";
    server.edit(Kind::Graph, "vllm", |graph| {
        *graph.pointer_mut(image).unwrap() = json!("example.org/new:1");
    });
    server
        .wait_for("the new image is there", |server| {
            template(server)["spec"]["containers"][0]["image"] == "example.org/new:1"
        })
        .await;
    server.edit(Kind::Graph, "vllm", |graph| {
        *graph.pointer_mut(image).unwrap() =
            json!("nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.6.1.post1");
    });
    server
        .wait_for("the old one is back", |server| template(server) == before)
        .await;

    server.edit(Kind::Graph, "vllm", |graph| {
        graph["spec"]["services"]
            .as_object_mut()
            .unwrap()
            .remove("VllmPrefillWorker");
    });
    server
        .wait_for("its objects are gone", |server| {
            server.names(Kind::Deployment) == DEPLOYMENTS[..2]
                && server.names(Kind::Service) == DEPLOYMENTS[..2]
        })
        .await;
    server
        .wait_for("and its status", |server| {
            let graph = server.get(Kind::Graph, "vllm").unwrap();
            graph["status"]["services"]
                .as_object()
                .is_some_and(|services| services.len() == 2)
        })
        .await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn an_adapter_says_how_many_replicas_there_are() {
    let server = ApiServer::start().await;
    server.make_pods_ready(true);
    let operator = start(&server, &[]);
    let mut wanted = graph("vllm");
    wanted["spec"]["services"]["VllmDecodeWorker"]["scalingAdapter"] = json!({"enabled": true});
    wanted["spec"]["services"]["VllmDecodeWorker"]["replicas"] = json!(2);
    server.create(wanted);
    let name = "vllm-vllmdecodeworker";
    server
        .wait_for("the adapter is made", |server| {
            server.get(Kind::Adapter, name).is_some()
        })
        .await;
    assert_eq!(
        server.get(Kind::Adapter, name).unwrap()["spec"]["replicas"],
        2
    );
    let replicas = |server: &ApiServer| {
        server
            .get(Kind::Deployment, name)
            .map(|object| object["spec"]["replicas"].clone())
    };
    server.edit(Kind::Adapter, name, |adapter| {
        adapter["spec"]["replicas"] = json!(5);
    });
    server
        .wait_for("the deployment follows, and the adapter knows", |server| {
            let adapter = server.get(Kind::Adapter, name).unwrap();
            replicas(server) == Some(json!(5))
                && adapter["status"]["replicas"] == 5
                && adapter["status"]["selector"] == format!("nvidia.com/selector={name}")
                && !adapter["status"]["lastScaleTime"].is_null()
        })
        .await;
    // The graph's own number does not count while there is an adapter.
    server.edit(Kind::Graph, "vllm", |graph| {
        graph["spec"]["services"]["VllmDecodeWorker"]["replicas"] = json!(1);
        graph["spec"]["services"]["Frontend"]["replicas"] = json!(3);
    });
    server
        .wait_for("the rest of the edit is made", |server| {
            server.get(Kind::Deployment, "vllm-frontend").unwrap()["spec"]["replicas"] == 3
        })
        .await;
    assert_eq!(replicas(&server), Some(json!(5)));
    server
        .wait_for("people are told", |server| {
            events(server, "Scaled")
                .contains(&"scaled VllmDecodeWorker from 2 to 5 replicas".to_owned())
        })
        .await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn an_autoscaler_takes_over_without_a_loss_of_replicas() {
    let server = ApiServer::start().await;
    server.make_pods_ready(true);
    let operator = start(&server, &[]);
    let mut wanted = graph("vllm");
    wanted["spec"]["services"]["Frontend"]["replicas"] = json!(4);
    server.create(wanted);
    ready(&server).await;
    server.edit(Kind::Graph, "vllm", |graph| {
        graph["spec"]["services"]["Frontend"]["autoscaling"] =
            json!({"enabled": true, "minReplicas": 2, "maxReplicas": 8});
    });
    server
        .wait_for("the autoscaler is made", |server| {
            server.names(Kind::Autoscaler) == ["vllm-frontend"]
        })
        .await;
    let replicas =
        server.get(Kind::Deployment, "vllm-frontend").unwrap()["spec"]["replicas"].clone();
    assert_eq!(replicas, 4);
    // What the autoscaler does stays.
    server.edit(Kind::Deployment, "vllm-frontend", |object| {
        object["spec"]["replicas"] = json!(6);
    });
    server.edit(Kind::Graph, "vllm", |graph| {
        graph["spec"]["services"]["Frontend"]["envs"] = json!([{"name": "A", "value": "1"}]);
    });
    server
        .wait_for("the edit is made", |server| {
            let object = server.get(Kind::Deployment, "vllm-frontend").unwrap();
            object["spec"]["template"]
                .to_string()
                .contains("\"name\":\"A\"")
        })
        .await;
    assert_eq!(
        server.get(Kind::Deployment, "vllm-frontend").unwrap()["spec"]["replicas"],
        6
    );
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn components_restart_one_after_another() {
    let server = ApiServer::start().await;
    server.make_pods_ready(true);
    let operator = start(&server, &[]);
    server.create(graph("vllm"));
    ready(&server).await;
    server.make_pods_ready(false);
    server.edit(Kind::Graph, "vllm", |graph| {
        graph["spec"]["restart"] = json!({
            "id": "first", "strategy": {"type": "Sequential", "order": ["VllmDecodeWorker"]},
        });
    });
    let restarted = |server: &ApiServer| -> Vec<String> {
        let names = DEPLOYMENTS.iter().filter(|name| {
            let object = server.get(Kind::Deployment, name).unwrap();
            let annotations = &object["spec"]["template"]["metadata"]["annotations"];
            annotations["nvidia.com/restart-id"] == "first"
        });
        names.map(|name| (*name).to_owned()).collect()
    };
    server
        .wait_for("the first restarts", |server| {
            restarted(server) == ["vllm-vllmdecodeworker"]
        })
        .await;
    server
        .wait_for("the graph says what is not back", |server| {
            let graph = server.get(Kind::Graph, "vllm").unwrap();
            let restart = &graph["status"]["restart"];
            restart["observedID"] == "first"
                && restart["inProgress"]
                    .as_array()
                    .is_some_and(|names| names.len() == 3)
        })
        .await;
    // Nothing is back, so the others keep their pods.
    assert_eq!(restarted(&server), ["vllm-vllmdecodeworker"]);
    server.make_pods_ready(true);
    server
        .wait_for("all are back", |server| {
            let graph = server.get(Kind::Graph, "vllm").unwrap();
            restarted(server).len() == 3 && graph["status"]["restart"]["phase"] == "Completed"
        })
        .await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_component_alone_is_made_too() {
    let server = ApiServer::start().await;
    server.make_pods_ready(true);
    let operator = start(&server, &["--namespace", NAMESPACE]);
    server.create(json!({
        "apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoComponentDeployment",
        "metadata": {"name": "alone", "namespace": NAMESPACE},
        "spec": {"componentType": "frontend", "serviceName": "Frontend", "replicas": 2},
    }));
    server
        .wait_for("it is available", |server| {
            let status = server.get(Kind::Component, "alone").unwrap()["status"].clone();
            status["conditions"][0]["status"] == "True" && status["replicas"] == 2
        })
        .await;
    // Another namespace is none of its business.
    let mut other = graph("vllm");
    other["metadata"]["namespace"] = json!("elsewhere");
    server.create(other);
    server.edit(Kind::Component, "alone", |component| {
        component["spec"]["replicas"] = json!(3);
    });
    server
        .wait_for("the edit is made", |server| {
            server.get(Kind::Deployment, "alone").unwrap()["spec"]["replicas"] == 3
        })
        .await;
    assert_eq!(server.all(Kind::Deployment).len(), 1);
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn replicas_on_several_nodes_change_one_at_a_time() {
    let server = ApiServer::start().await;
    // Without LeaderWorkerSets, StatefulSets are made.
    server.hide(Kind::LeaderWorkerSet);
    server.make_pods_ready(true);
    let operator = start(&server, &[]);
    let mut wanted = graph("vllm");
    let worker = &mut wanted["spec"]["services"]["VllmDecodeWorker"];
    worker["multinode"] = json!({"nodeCount": 2});
    worker["replicas"] = json!(2);
    server.create(wanted);
    ready(&server).await;
    let sets = server.names(Kind::StatefulSet);
    assert_eq!(
        sets,
        ["0-ldr", "0-wkr", "1-ldr", "1-wkr"].map(|end| format!("vllm-vllmdecodeworker-{end}"))
    );
    server.make_pods_ready(false);
    server.edit(Kind::Graph, "vllm", |graph| {
        graph["spec"]["services"]["VllmDecodeWorker"]["envs"] =
            json!([{"name": "NEW", "value": "1"}]);
    });
    let changed = |server: &ApiServer| -> Vec<String> {
        let all = server.all(Kind::StatefulSet).into_iter();
        let changed = all.filter(|set| set["spec"]["template"].to_string().contains("\"NEW\""));
        changed
            .map(|set| set["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    server
        .wait_for("the first replica changes", |server| {
            changed(server).len() == 2
        })
        .await;
    assert_eq!(changed(&server), sets[..2]);
    server.make_pods_ready(true);
    server
        .wait_for("the other follows", |server| changed(server) == sets)
        .await;
    operator.stop().await.unwrap();
}
