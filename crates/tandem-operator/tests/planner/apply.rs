//! Scaling in Kubernetes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, patch};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tandem_operator::planner::apply::{Connector, Kubernetes};
use tandem_operator::planner::role::{PerRole, Role};
use tandem_runtime::Lifecycle;

use crate::start;

const ROOT: &str = "/apis/nvidia.com/v1alpha1/namespaces/ns";

/// An API server with one graph, whose decode workers have a scaling adapter.
#[derive(Debug, Default)]
struct Api {
    ready: bool,
    adapters: Vec<(String, Value)>,
    graphs: Vec<Value>,
}

type Shared = State<Arc<Mutex<Api>>>;

fn not_found() -> (StatusCode, Json<Value>) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "not found", "reason": "NotFound", "code": 404,
    });
    (StatusCode::NOT_FOUND, Json(status))
}

fn graph(ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g", "namespace": "ns"},
        "spec": {"services": {
            "Frontend": {"replicas": 1},
            "VllmPrefillWorker": {"subComponentType": "prefill", "replicas": 2},
            "VllmDecodeWorker": {"subComponentType": "decode"},
        }},
        "status": {"conditions": [{"type": "Ready", "status": status}]},
    })
}

fn api_server(api: &Arc<Mutex<Api>>) -> Router {
    let read = async |State(api): Shared, Path(name): Path<String>| {
        if name == "g" {
            Ok(Json(graph(api.lock().ready)))
        } else {
            Err(not_found())
        }
    };
    let change = async |State(api): Shared, Json(body): Json<Value>| {
        let mut api = api.lock();
        api.graphs.push(body);
        Json(graph(api.ready))
    };
    let scale = async |State(api): Shared, Path(name): Path<String>, Json(body): Json<Value>| {
        if name != "g-vllmdecodeworker" {
            return Err(not_found());
        }
        let replicas = body["spec"]["replicas"].clone();
        api.lock().adapters.push((name, body));
        Ok(Json(json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {},
            "spec": {"replicas": replicas},
        })))
    };
    let adapters = format!("{ROOT}/dynamographdeploymentscalingadapters");
    Router::new()
        .route(
            &format!("{ROOT}/dynamographdeployments/{{name}}"),
            get(read).patch(change),
        )
        .route(&format!("{adapters}/{{name}}/scale"), patch(scale))
        .with_state(Arc::clone(api))
}

async fn connector(api: &Arc<Mutex<Api>>, graph: &str, lifecycle: &Lifecycle) -> Connector {
    let address = start(api_server(api), lifecycle).await;
    let url = format!("http://{address}");
    let config = kube::Config::new(url.parse().expect("an address"));
    let client = kube::Client::try_from(config).expect("plain HTTP needs nothing");
    let planned = PerRole::of(|_| true);
    Connector::Kubernetes(Box::new(Kubernetes::new(client, "ns", graph, planned)))
}

#[tokio::test]
async fn adapters_are_scaled_and_services_without() {
    let lifecycle = Lifecycle::new();
    let api = Arc::new(Mutex::new(Api::default()));
    let connector = connector(&api, "g", &lifecycle).await;
    let standing = connector.standing().await.unwrap();
    assert!(!standing.settled, "the graph is not ready");
    assert_eq!(
        standing.replicas,
        PerRole {
            prefill: Some(2),
            decode: Some(1)
        }
    );
    api.lock().ready = true;
    assert!(connector.standing().await.unwrap().settled);

    let changes = [(Role::Prefill, 5), (Role::Decode, 3)];
    connector.scale(&changes).await.unwrap();
    let api = api.lock();
    let scaled = (
        "g-vllmdecodeworker".to_owned(),
        json!({"spec": {"replicas": 3}}),
    );
    assert_eq!(api.adapters, [scaled]);
    let services = json!({"VllmPrefillWorker": {"replicas": 5}});
    assert_eq!(api.graphs, [json!({"spec": {"services": services}})]);
}

#[tokio::test]
async fn a_graph_that_is_not_there_is_an_error() {
    let lifecycle = Lifecycle::new();
    let api = Arc::default();
    let connector = connector(&api, "absent", &lifecycle).await;
    let error = connector.standing().await.unwrap_err();
    assert_eq!(error.to_string(), "failed to read graph absent");
}
