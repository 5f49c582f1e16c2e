//! An operator in this process, and graphs for it.

use std::time::Duration;

use clap::Parser;
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tandem_operator::{Operator, OperatorArgs, OperatorError};
use tandem_runtime::Lifecycle;
use tandem_runtime::openmetrics;
use tandem_runtime::system::Health;
use tokio::task::JoinHandle;

use crate::api_server::{ApiServer, Kind, NAMESPACE};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// A running operator.
pub(crate) struct Running {
    lifecycle: Lifecycle,
    task: JoinHandle<Result<(), OperatorError>>,
    registry: std::sync::Arc<Registry>,
    server: ApiServer,
}

/// A client of `server`.
pub(crate) fn client(server: &ApiServer) -> Client {
    let uri = format!("http://{}", server.address)
        .parse()
        .expect("an address is a URI");
    Client::try_from(Config::new(uri)).expect("plain HTTP needs no certificate")
}

/// Starts an operator of `server` with `flags`.
pub(crate) fn start(server: &ApiServer, flags: &[&str]) -> Running {
    let flags = ["operator"].iter().chain(flags);
    let Command { operator } = Command::try_parse_from(flags).expect("the flags are valid");
    let mut registry = Registry::default();
    let operator = Operator::new(operator, &mut registry);
    let (client, lifecycle) = (client(server), Lifecycle::new());
    let own = lifecycle.clone();
    let health = Health::new(&["operator"]);
    let task =
        Lifecycle::new().spawn_to_end(async move { operator.run(client, health, &own).await });
    Running {
        lifecycle,
        task,
        registry: std::sync::Arc::new(registry),
        server: server.clone(),
    }
}

impl Running {
    /// Asks it to stop and waits for it.
    pub(crate) async fn stop(self) -> Result<(), OperatorError> {
        self.lifecycle.stopping().cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.task).await;
        self.server.assert_rights();
        ended.expect("it stops in time").expect("it does not panic")
    }

    /// Waits until it ends by itself.
    pub(crate) async fn end(self) -> Result<(), OperatorError> {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.task).await;
        self.server.assert_rights();
        ended.expect("it ends").expect("it does not panic")
    }

    /// Ends it in the middle of whatever it does, as a kill would.
    pub(crate) async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
        self.lifecycle
            .stop(Duration::from_secs(5))
            .await
            .expect("its tasks end");
        self.server.assert_rights();
    }

    /// Its metrics.
    pub(crate) fn metrics(&self) -> String {
        openmetrics::text(&self.registry)
    }
}

/// A graph as the install guide has it: a frontend, a prefill and a decode worker.
pub(crate) fn graph(name: &str) -> Value {
    let worker = |half: &str| {
        json!({
            "componentType": "worker", "subComponentType": half, "replicas": 1,
            "dynamoNamespace": "dynamo-vllm",
            "resources": {"limits": {"gpu": "1"}},
            "extraPodSpec": {"mainContainer": {
                "image": "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.6.1.post1",
                "command": ["/bin/sh", "-c"],
                "args": ["python3 -m dynamo.vllm --model TinyLlama/TinyLlama-1.1B-Chat-v1.0"],
            }},
        })
    };
    json!({
        "apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"services": {
            "Frontend": {
                "componentType": "frontend", "replicas": 1, "dynamoNamespace": "dynamo-vllm",
                "extraPodSpec": {"mainContainer": {
                    "image": "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.6.1.post1",
                    "command": ["python3"],
                    "args": ["-m", "dynamo.frontend", "--http-port", "8000"],
                }},
            },
            "VllmPrefillWorker": worker("prefill"),
            "VllmDecodeWorker": worker("decode"),
        }},
    })
}

/// Status of a condition of a graph.
pub(crate) fn condition(server: &ApiServer, graph: &str, kind: &str) -> Option<Value> {
    let graph = server.get(Kind::Graph, graph)?;
    let conditions = graph["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
        .cloned()
}

/// Whether all components of a graph serve, as it was last changed.
pub(crate) fn is_ready(server: &ApiServer, name: &str) -> bool {
    let Some(graph) = server.get(Kind::Graph, name) else {
        return false;
    };
    graph["status"]["state"] == "successful"
        && graph["status"]["observedGeneration"] == graph["metadata"]["generation"]
}

/// Texts of all events with `reason`.
pub(crate) fn events(server: &ApiServer, reason: &str) -> Vec<String> {
    let events = server
        .all(Kind::Event)
        .into_iter()
        .filter(|event| event["reason"] == reason);
    events
        .map(|event| event["note"].as_str().unwrap_or_default().to_owned())
        .collect()
}
