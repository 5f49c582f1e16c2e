//! What runs the pods of a component: a Deployment, or for replicas on several nodes a
//! LeaderWorkerSet, or StatefulSets where the cluster has none.

use serde_json::{Value, json};

use super::container;
use super::graph::{Component, Graph, Role};
use super::invalid::Problems;
use super::multinode::Node;
use super::names;
use super::object::{DesiredObject, ObjectKey, ObjectKind};
use super::pod::{self, Template};
use super::settings::Settings;

/// How a component is run now, besides what its resource says.
pub(super) struct Run<'a> {
    pub(super) graph: &'a Graph<'a>,
    pub(super) component: &'a Component<'a>,
    pub(super) settings: &'a Settings,
    /// `None`: an autoscaler says it.
    pub(super) replicas: Option<i32>,
    /// The restart that its pods belong to.
    pub(super) restart: Option<String>,
}

impl Run<'_> {
    fn object(&self, kind: ObjectKind, name: &str, spec: &Value) -> DesiredObject {
        let mut labels = pod::labels(self.graph, self.component);
        labels.insert(
            "app.kubernetes.io/part-of".to_owned(),
            json!(self.graph.name),
        );
        let (labels, _) = pod::with_theirs(self.graph, self.component, &labels);
        DesiredObject {
            key: ObjectKey {
                kind,
                name: name.to_owned(),
            },
            service: Some(self.component.service.clone()),
            value: json!({
                "apiVersion": kind.api_version(),
                "kind": kind.name(),
                "metadata": {
                    "name": name,
                    "namespace": self.graph.namespace,
                    "labels": labels,
                },
                "spec": spec,
            }),
            after: Vec::new(),
        }
    }

    fn template(&self, node: Node, problems: &mut Problems) -> Template {
        let Self {
            graph,
            component,
            settings,
            ..
        } = self;
        let mut template = pod::template(graph, component, settings, node, problems);
        if let Some(restart) = &self.restart {
            let restart = json!(restart);
            template
                .annotations
                .insert(names::RESTART.to_owned(), restart);
        }
        template
    }
}

/// The objects that run `run.component`.
pub(super) fn objects(
    run: &Run<'_>,
    leader_worker_sets: bool,
    problems: &mut Problems,
) -> Vec<DesiredObject> {
    match &run.component.spec.multinode {
        None => vec![deployment(run, problems)],
        Some(multinode) if leader_worker_sets => {
            vec![leader_worker_set(run, multinode.node_count, problems)]
        }
        Some(multinode) => stateful_sets(run, multinode.node_count, problems),
    }
}

/// What runs the pods of `component`, by name.
pub(super) fn keys(
    component: &Component<'_>,
    replicas: Option<i32>,
    leader_worker_sets: bool,
) -> Vec<ObjectKey> {
    let key = |kind, name| ObjectKey { kind, name };
    match &component.spec.multinode {
        None => vec![key(ObjectKind::Deployment, component.name.clone())],
        Some(_) if leader_worker_sets => {
            vec![key(ObjectKind::LeaderWorkerSet, component.name.clone())]
        }
        Some(_) => {
            let nodes = [Node::Leader, Node::Follower];
            let replicas = 0..replicas.unwrap_or(1);
            let names =
                replicas.flat_map(|replica| nodes.map(|node| set_name(component, replica, node)));
            names
                .map(|name| key(ObjectKind::StatefulSet, name))
                .collect()
        }
    }
}

fn set_name(component: &Component<'_>, replica: i32, node: Node) -> String {
    let role = match node {
        Node::Only | Node::Leader => "ldr",
        Node::Follower => "wkr",
    };
    format!("{}-{replica}-{role}", component.name)
}

fn deployment(run: &Run<'_>, problems: &mut Problems) -> DesiredObject {
    let component = run.component;
    let mut spec = json!({
        "selector": {"matchLabels": pod::selector(component)},
        "strategy": strategy(run),
        "progressDeadlineSeconds": container::progress_deadline(component.role),
        "template": run.template(Node::Only, problems).json(),
    });
    if let Some(replicas) = run.replicas {
        spec["replicas"] = json!(replicas);
    }
    run.object(ObjectKind::Deployment, &component.name, &spec)
}

/// How old pods make room for new ones: a new one is ready before an old one goes, unless the
/// graph says that there is no room for both. Two planners would undo each other's decisions.
fn strategy(run: &Run<'_>) -> Value {
    let said = run.graph.setting(run.component, names::STRATEGY);
    let planner = run.component.role == Role::Planner;
    if said == Some("Recreate") || (said.is_none() && planner) {
        return json!({"type": "Recreate"});
    }
    json!({"type": "RollingUpdate", "rollingUpdate": rolling(run)})
}

fn rolling(run: &Run<'_>) -> Value {
    let amount = |name: &str, default: i64| {
        let text = run.graph.setting(run.component, name);
        text.map_or(json!(default), |text| {
            text.parse::<i64>()
                .map_or(json!(text), |number| json!(number))
        })
    };
    json!({
        "maxSurge": amount(names::MAX_SURGE, 1),
        "maxUnavailable": amount(names::MAX_UNAVAILABLE, 0),
    })
}

fn leader_worker_set(run: &Run<'_>, nodes: i32, problems: &mut Problems) -> DesiredObject {
    let spec = json!({
        "replicas": run.replicas.unwrap_or(1),
        "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": rolling(run)},
        "leaderWorkerTemplate": {
            "size": nodes,
            // What computes together cannot go on without one of its parts.
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": run.template(Node::Leader, problems).json(),
            "workerTemplate": run.template(Node::Follower, problems).json(),
        },
    });
    run.object(ObjectKind::LeaderWorkerSet, &run.component.name, &spec)
}

/// For each replica one set of the leader and one of its followers. A replica is changed when those
/// before it are ready again, so that only one is away at a time.
fn stateful_sets(run: &Run<'_>, nodes: i32, problems: &mut Problems) -> Vec<DesiredObject> {
    let mut objects = Vec::new();
    let mut before: Vec<ObjectKey> = Vec::new();
    for replica in 0..run.replicas.unwrap_or(1) {
        let pair = [
            stateful_set(run, replica, nodes, Node::Leader, problems),
            stateful_set(run, replica, nodes, Node::Follower, problems),
        ];
        let keys = pair.iter().map(|object| object.key.clone()).collect();
        for mut object in pair {
            object.after.clone_from(&before);
            objects.push(object);
        }
        before = keys;
    }
    objects
}

/// Name of the Service that gives pods of StatefulSets their names.
pub(super) fn nodes_service(component: &Component<'_>) -> String {
    format!("{}-nodes", component.name)
}

fn stateful_set(
    run: &Run<'_>,
    replica: i32,
    nodes: i32,
    node: Node,
    problems: &mut Problems,
) -> DesiredObject {
    let component = run.component;
    let service = nodes_service(component);
    let leader = set_name(component, replica, Node::Leader);
    let name = set_name(component, replica, node);
    let (pods, first) = match node {
        Node::Only | Node::Leader => (1, 0),
        Node::Follower => (nodes - 1, 1),
    };
    let mut template = run.template(node, problems);
    let set = json!(name);
    template
        .labels
        .insert("nvidia.com/dynamo-node-set".to_owned(), set.clone());
    // The variables that LeaderWorkerSets set.
    let index = "metadata.labels['apps.kubernetes.io/pod-index']";
    template.add_env(json!({
        "name": "LWS_WORKER_INDEX", "valueFrom": {"fieldRef": {"fieldPath": index}},
    }));
    template.add_env(json!({"name": "LWS_GROUP_SIZE", "value": nodes.to_string()}));
    template.add_env(json!({
        "name": "LWS_LEADER_ADDRESS",
        "value": format!("{leader}-0.{service}.{}.svc", run.graph.namespace),
    }));
    let mut selector = pod::selector(component);
    selector["nvidia.com/dynamo-node-set"] = set;
    let spec = json!({
        "replicas": pods,
        "serviceName": service,
        "podManagementPolicy": "Parallel",
        "ordinals": {"start": first},
        "selector": {"matchLabels": selector},
        "updateStrategy": {"type": "RollingUpdate"},
        "template": template.json(),
    });
    run.object(ObjectKind::StatefulSet, &name, &spec)
}
