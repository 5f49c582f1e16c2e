//! What the operator makes of everything that goes wrong around it.

use serde_json::json;

use crate::api_server::{ApiServer, Fault, Kind, NAMESPACE};
use crate::harness::{condition, events, graph, is_ready, start};

async fn ready(server: &ApiServer) {
    server
        .wait_for("the graph is ready", |server| is_ready(server, "vllm"))
        .await;
}

async fn running() -> ApiServer {
    let server = ApiServer::start().await;
    server.make_pods_ready(true);
    server
}

#[tokio::test]
async fn one_refused_object_does_not_stop_the_others() {
    let server = running().await;
    server.fail(Fault {
        method: "PATCH",
        path: "/deployments/vllm-vllmdecodeworker".to_owned(),
        code: 403,
        message: "exceeded quota: gpus",
        times: 3,
    });
    let operator = start(&server, &[]);
    server.create(graph("vllm"));
    server
        .wait_for("the graph says which one", |server| {
            condition(server, "vllm", "Failed").is_some_and(|failed| {
                failed["status"] == "True"
                    && failed["message"].as_str().is_some_and(|message| {
                        message.contains("Deployment vllm-vllmdecodeworker: exceeded quota: gpus")
                    })
            })
        })
        .await;
    assert!(server.get(Kind::Deployment, "vllm-frontend").is_some());
    assert!(
        server
            .get(Kind::Deployment, "vllm-vllmprefillworker")
            .is_some()
    );
    assert_eq!(
        server.get(Kind::Graph, "vllm").unwrap()["status"]["state"],
        "failed"
    );
    // It is tried again, and the third failure is the last.
    ready(&server).await;
    assert_eq!(
        condition(&server, "vllm", "Failed").unwrap()["status"],
        "False"
    );
    // Three failures are one event.
    assert_eq!(events(&server, "ApplyFailed").len(), 1);
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_not_valid_changes_nothing_and_says_why() {
    let server = running().await;
    let operator = start(&server, &[]);
    server.create(graph("vllm"));
    ready(&server).await;
    let before = server.all(Kind::Deployment);
    server.edit(Kind::Graph, "vllm", |graph| {
        graph["spec"]["services"]["Frontend"]["dynamoNamespace"] = json!("another");
        graph["spec"]["services"]["VllmDecodeWorker"]["replicas"] = json!(7);
    });
    server
        .wait_for("the graph says why", |server| {
            condition(server, "vllm", "Ready").is_some_and(|ready| {
                ready["reason"] == "ValidationFailed"
                    && ready["message"].as_str().is_some_and(|message| {
                        message.contains("the same dynamoNamespace, not another and dynamo-vllm")
                    })
            })
        })
        .await;
    assert_eq!(server.all(Kind::Deployment), before);
    assert_eq!(events(&server, "ValidationFailed").len(), 1);
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn drift_is_repaired() {
    let server = running().await;
    let operator = start(&server, &[]);
    server.create(graph("vllm"));
    ready(&server).await;
    server.edit(Kind::Deployment, "vllm-frontend", |object| {
        object["spec"]["replicas"] = json!(9);
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("evil");
    });
    server.edit(Kind::Service, "vllm-frontend", |object| {
        object["spec"]["selector"] = json!({"app": "other"});
    });
    server.delete(Kind::Deployment, "vllm-vllmdecodeworker");
    // Without its label, it is out of the operator's sight.
    server.edit(Kind::Service, "vllm-vllmdecodeworker", |object| {
        object["metadata"]["labels"]
            .as_object_mut()
            .unwrap()
            .clear();
    });
    server
        .wait_for("everything is back", |server| {
            let frontend = server.get(Kind::Deployment, "vllm-frontend").unwrap();
            let service = server.get(Kind::Service, "vllm-frontend").unwrap();
            let worker = server.get(Kind::Service, "vllm-vllmdecodeworker").unwrap();
            frontend["spec"]["replicas"] == 1
                && frontend["spec"]["template"]["spec"]["containers"][0]["image"] != "evil"
                && service["spec"]["selector"] == json!({"nvidia.com/selector": "vllm-frontend"})
                && server
                    .get(Kind::Deployment, "vllm-vllmdecodeworker")
                    .is_some()
                && worker["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tandem-operator"
        })
        .await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn writes_that_lose_a_race_are_made_again() {
    let server = running().await;
    let operator = start(&server, &[]);
    for path in [
        "/dynamographdeployments/vllm/status",
        "/deployments/vllm-frontend",
    ] {
        server.fail(Fault {
            method: "PATCH",
            path: path.to_owned(),
            code: 409,
            message: "the object has been modified",
            times: 2,
        });
    }
    server.create(graph("vllm"));
    ready(&server).await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_fails_or_forgets_is_asked_again() {
    let server = running().await;
    let operator = start(&server, &[]);
    server.create(graph("vllm"));
    ready(&server).await;
    // The watches end, what happened meanwhile is forgotten, and some lists fail.
    server.fail(Fault {
        method: "GET",
        path: "/deployments".to_owned(),
        code: 500,
        message: "etcdserver: leader changed",
        times: 2,
    });
    server.cut_watches();
    server.delete(Kind::Deployment, "vllm-frontend");
    server.edit(Kind::Graph, "vllm", |graph| {
        graph["spec"]["services"]["VllmDecodeWorker"]["replicas"] = json!(3);
    });
    server.cut_watches();
    server
        .wait_for("everything is back", |server| {
            let worker = server
                .get(Kind::Deployment, "vllm-vllmdecodeworker")
                .unwrap();
            worker["spec"]["replicas"] == 3
                && server.get(Kind::Deployment, "vllm-frontend").is_some()
                && is_ready(server, "vllm")
        })
        .await;
    operator.stop().await.unwrap();
}

/// The operator has not seen its own writes yet, and does not make anything of it.
#[tokio::test]
async fn a_status_about_an_earlier_generation_is_not_readiness() {
    let server = running().await;
    let operator = start(&server, &[]);
    server.create(graph("vllm"));
    ready(&server).await;
    server.make_pods_ready(false);
    server.edit(Kind::Graph, "vllm", |graph| {
        graph["spec"]["services"]["Frontend"]["envs"] = json!([{"name": "A", "value": "1"}]);
    });
    // The Deployment's status still says that all replicas are available.
    server
        .wait_for("the graph is not ready", |server| {
            let graph = server.get(Kind::Graph, "vllm").unwrap();
            graph["status"]["observedGeneration"] == graph["metadata"]["generation"]
                && graph["status"]["state"] == "pending"
        })
        .await;
    let deployment = server.get(Kind::Deployment, "vllm-frontend").unwrap();
    assert_eq!(deployment["status"]["availableReplicas"], 1);
    server.make_pods_ready(true);
    ready(&server).await;
    operator.stop().await.unwrap();
}

#[tokio::test]
async fn an_operator_that_is_killed_in_between_is_followed_by_one_that_finishes() {
    let server = running().await;
    for after in 1..=6 {
        let name = format!("graph{after}");
        let operator = start(&server, &[]);
        let writes = |server: &ApiServer| {
            let requests = server.requests();
            requests
                .iter()
                .filter(|request| request.starts_with("PATCH"))
                .count()
        };
        let before = writes(&server);
        server.create(graph(&name));
        server
            .wait_for("some objects are made", |server| {
                writes(server) >= before + after
            })
            .await;
        operator.kill().await;
        let operator = start(&server, &[]);
        server
            .wait_for("the graph is ready", |server| is_ready(server, &name))
            .await;
        operator.stop().await.unwrap();
    }
    assert_eq!(server.names(Kind::Deployment).len(), 18);
}

#[tokio::test]
async fn nothing_is_written_while_nothing_changes() {
    let server = running().await;
    let operator = start(&server, &[]);
    server.create(graph("vllm"));
    ready(&server).await;
    let writes = |server: &ApiServer| {
        let requests = server.requests();
        requests
            .iter()
            .filter(|request| !request.starts_with("GET"))
            .count()
    };
    operator.stop().await.unwrap();
    let versions = |server: &ApiServer| {
        let objects = [Kind::Graph, Kind::Deployment, Kind::Service].map(|kind| server.all(kind));
        objects
            .concat()
            .into_iter()
            .map(|object| object["metadata"]["resourceVersion"].clone())
            .collect::<Vec<_>>()
    };
    let (before, asked) = (versions(&server), writes(&server));
    // One that starts anew applies everything once, and changes nothing by it.
    let operator = start(&server, &[]);
    server
        .wait_for("it looked at the graph", |server| {
            writes(server) >= asked + 6
        })
        .await;
    operator.stop().await.unwrap();
    assert_eq!(versions(&server), before);
}

#[tokio::test]
async fn what_somebody_else_made_is_left_alone() {
    let server = running().await;
    server.create(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "vllm-frontend", "namespace": NAMESPACE},
        "spec": {"ports": [{"port": 8000}], "selector": {"app": "mine"}},
    }));
    server.create(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "vllm-vllmdecodeworker", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": "mine"}},
            "template": {"metadata": {"labels": {"app": "mine"}}},
        },
    }));
    let operator = start(&server, &[]);
    server.create(graph("vllm"));
    server
        .wait_for("the graph says what is in its way", |server| {
            condition(server, "vllm", "Failed").is_some_and(|failed| {
                failed["message"].as_str().is_some_and(|message| {
                    message
                        .contains("vllm-vllmdecodeworker: it exists and was made by somebody else")
                })
            })
        })
        .await;
    let service = server.get(Kind::Service, "vllm-frontend").unwrap();
    assert_eq!(service["spec"]["selector"], json!({"app": "mine"}));
    assert_eq!(events(&server, "NotOwned").len(), 1);
    server.delete(Kind::Deployment, "vllm-vllmdecodeworker");
    ready(&server).await;
    operator.stop().await.unwrap();
}
