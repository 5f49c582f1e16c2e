//! A server that behaves like the Kubernetes API as far as discovery uses it: lists and watches with
//! resource versions, server-side apply, garbage collection, outages and refusals.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tandem_runtime::Lifecycle;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// Most time that a watch lasts, so that every test resumes some.
const LONGEST_WATCH: Duration = Duration::from_secs(2);
/// Namespace of all pods.
pub(crate) const NAMESPACE: &str = "serving";

/// How the server says that the history a watch asks for is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// In the stream of changes.
    Event,
    /// Instead of one.
    Status,
}

/// The server, and the files that say how to reach it.
pub(crate) struct ApiServer {
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    store: Arc<Store>,
    running: Option<Lifecycle>,
    files: TempDir,
}

#[derive(Default)]
struct Store {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    /// What each manager has applied, by path and manager.
    applied: BTreeMap<(String, String), Value>,
    changes: Vec<Change>,
    compacted: u64,
    gone: Option<Gone>,
    next_uid: u64,
    /// Verb and resource of what is refused, and with which status.
    refused: Vec<(&'static str, &'static str, u16)>,
    /// Requests so far, as `verb resource`.
    requests: Vec<String>,
}

struct Change {
    version: u64,
    path: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(None, json!({})).await
    }

    /// Serves TLS if there is an acceptor; `cluster` is what clients must know beside the address.
    pub(crate) async fn start_with(tls: Option<TlsAcceptor>, cluster: Value) -> Self {
        let mut server = Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            tls,
            store: Arc::default(),
            running: None,
            files: tempfile::tempdir().unwrap(),
        };
        server.resume().await;
        let scheme = if server.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let mut cluster = cluster;
        cluster["server"] = format!("{scheme}://{}", server.address).into();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": "secret"}}],
        });
        std::fs::write(server.kubeconfig(), kubeconfig.to_string()).unwrap();
        server
    }

    pub(crate) fn kubeconfig(&self) -> std::path::PathBuf {
        self.files.path().join("kubeconfig")
    }

    /// Goes away; connections break off. Nothing is lost.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop(Duration::from_secs(5)).await.unwrap();
        }
    }

    /// Comes back at the same address.
    pub(crate) async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let running = Lifecycle::new();
        running.spawn(serve(
            listener,
            self.tls.clone(),
            Arc::clone(&self.store),
            running.clone(),
        ));
        self.running = Some(running);
    }

    /// Forgets how things have changed: watches cannot go on where they were.
    pub(crate) fn compact(&self, gone: Gone) {
        let mut state = self.store.state.lock();
        state.compacted = state.version;
        state.gone = Some(gone);
        state.changes.clear();
    }

    /// Forgets every object.
    pub(crate) fn lose_data(&self) {
        let mut state = self.store.state.lock();
        state.objects.clear();
        state.applied.clear();
        state.changes.clear();
        state.version += 1000;
        state.compacted = state.version;
    }

    /// Refuses to `verb` a `resource` with `status` from now on.
    pub(crate) fn refuse(&self, verb: &'static str, resource: &'static str, status: u16) {
        let mut state = self.store.state.lock();
        state.refused.push((verb, resource, status));
    }

    /// Refuses nothing any more.
    pub(crate) fn allow_all(&self) {
        self.store.state.lock().refused.clear();
    }

    /// How often clients have asked for `request`, such as `patch dynamoworkermetadatas`.
    pub(crate) fn count(&self, request: &str) -> usize {
        let state = self.store.state.lock();
        state.requests.iter().filter(|it| *it == request).count()
    }

    /// Creates a pod; returns its id.
    pub(crate) fn create_pod(&self, name: &str) -> String {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
        let created = self.store.change(&pod_path(name), Some(pod));
        created["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// Deletes a pod, and what it owns.
    pub(crate) fn delete_pod(&self, name: &str) {
        self.store.change(&pod_path(name), None);
    }

    /// Says in an EndpointSlice of the name which pods there are, with their ids, and whether each
    /// is ready.
    pub(crate) fn put_slice(&self, name: &str, pods: &[(&str, &str, bool)]) {
        let labels = json!({
            "nvidia.com/dynamo-discovery-backend": "kubernetes",
            "nvidia.com/dynamo-discovery-enabled": "true",
        });
        self.put_slice_with(name, &labels, pods);
    }

    pub(crate) fn put_slice_with(&self, name: &str, labels: &Value, pods: &[(&str, &str, bool)]) {
        let endpoints = pods.iter().map(|(pod, uid, ready)| {
            json!({
                "addresses": ["127.0.0.1"], "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": pod, "namespace": NAMESPACE, "uid": uid},
            })
        });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "endpoints": endpoints.collect::<Vec<_>>(),
        });
        let path =
            format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/{name}");
        self.store.change(&path, Some(slice));
    }

    /// The registrations of a pod.
    pub(crate) fn registration(&self, pod: &str) -> Option<Value> {
        let state = self.store.state.lock();
        state.objects.get(&registration_path(pod)).cloned()
    }

    /// Removes the registrations of a pod behind its back.
    pub(crate) fn remove_registration(&self, pod: &str) {
        self.store.change(&registration_path(pod), None);
    }

    /// Writes registrations that nobody of ours has written.
    pub(crate) fn put_registration(&self, pod: &str, spec: &Value) {
        let object = json!({
            "apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoWorkerMetadata",
            "metadata": {"name": pod, "namespace": NAMESPACE}, "spec": spec,
        });
        self.store.change(&registration_path(pod), Some(object));
    }
}

fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}")
}

fn registration_path(name: &str) -> String {
    format!("/apis/nvidia.com/v1alpha1/namespaces/{NAMESPACE}/dynamoworkermetadatas/{name}")
}

impl Store {
    /// Creates, replaces or removes an object; returns what is stored, or was.
    fn change(&self, path: &str, object: Option<Value>) -> Value {
        let mut state = self.state.lock();
        let changed = state.change(path, object);
        self.version.send_replace(state.version);
        changed
    }
}

impl State {
    fn change(&mut self, path: &str, object: Option<Value>) -> Value {
        let before = self.objects.get(path).cloned();
        let after = object.map(|mut object| {
            let metadata = &mut object["metadata"];
            let old = before.as_ref().map(|before| &before["metadata"]);
            metadata["uid"] = old.map_or_else(
                || {
                    self.next_uid += 1;
                    format!("uid-{}", self.next_uid).into()
                },
                |old| old["uid"].clone(),
            );
            metadata["resourceVersion"] =
                old.map_or(Value::Null, |old| old["resourceVersion"].clone());
            object
        });
        if before == after {
            // The version does not change either.
            return after.unwrap_or_default();
        }
        self.version += 1;
        let after = after.map(|mut object| {
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            object
        });
        let stored = after.clone().or_else(|| before.clone()).unwrap_or_default();
        match after.clone() {
            Some(object) => drop(self.objects.insert(path.to_owned(), object)),
            None => {
                self.objects.remove(path);
                self.applied.retain(|(of, _), _| of != path);
            }
        }
        let gone = after.is_none();
        self.changes.push(Change {
            version: self.version,
            path: path.to_owned(),
            before,
            after,
        });
        if gone {
            self.collect_garbage(&stored["metadata"]["uid"]);
        }
        stored
    }

    /// Removes what only the object with this id has owned.
    fn collect_garbage(&mut self, uid: &Value) {
        let owned = self.objects.iter().filter(|(_, object)| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|it| !it.is_empty() && it.iter().all(|owner| owner["uid"] == *uid))
        });
        for path in owned.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            self.change(&path, None);
        }
    }

    /// Server-side apply: what this manager applied before and does not now is removed.
    fn apply(&mut self, path: &str, manager: &str, config: &Value) -> Value {
        let key = (path.to_owned(), manager.to_owned());
        let before = self.applied.insert(key, config.clone()).unwrap_or_default();
        let mut object = self.objects.get(path).cloned().unwrap_or_default();
        withdraw(&mut object, &before, config);
        merge(&mut object, config);
        self.change(path, Some(as_go(object)))
    }

    /// The objects of a collection that are selected.
    fn list(&self, collection: &str, query: &Query) -> Vec<&Value> {
        let prefix = format!("{collection}/");
        let objects = self.objects.iter();
        objects
            .filter(|(path, object)| path.starts_with(&prefix) && query.selects(object))
            .map(|(_, object)| object)
            .collect()
    }
}

fn withdraw(object: &mut Value, before: &Value, now: &Value) {
    let (Some(fields), Some(before)) = (object.as_object_mut(), before.as_object()) else {
        return;
    };
    for (name, old) in before {
        if name == "ownerReferences" {
            let live = fields.get_mut(name).and_then(Value::as_array_mut);
            let (Some(live), Some(old)) = (live, old.as_array()) else {
                continue;
            };
            live.retain(|owner| !old.iter().any(|it| it["uid"] == owner["uid"]));
        } else if now.get(name).is_none() {
            fields.remove(name);
        } else if let Some(field) = fields.get_mut(name) {
            withdraw(field, old, &now[name]);
        }
    }
}

fn merge(object: &mut Value, config: &Value) {
    let Some(config) = config.as_object() else {
        *object = config.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in config {
        let field = &mut object[name];
        match (name.as_str(), value) {
            ("ownerReferences", Value::Array(owners)) if field.is_array() => {
                field.as_array_mut().unwrap().extend(owners.iter().cloned());
            }
            _ => merge(field, value),
        }
    }
}

/// Numbers and the order of members as a server has them that is written in Go.
fn as_go(value: Value) -> Value {
    match value {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "numbers of tests are small"
        )]
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => (float as i64).into(),
            _ => number.into(),
        },
        Value::Array(items) => items.into_iter().map(as_go).collect(),
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.into_iter().collect();
            let fields = sorted.into_iter().map(|(name, value)| (name, as_go(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    store: Arc<Store>,
    lifecycle: Lifecycle,
) {
    let answer = move |request| answer(Arc::clone(&store), request);
    let service = TowerToHyperService::new(Router::new().fallback(answer));
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let (service, tls) = (service.clone(), tls.clone());
        lifecycle.spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            // A client that goes away is no failure.
            match tls {
                None => drop(
                    builder
                        .serve_connection(TokioIo::new(connection), service)
                        .await,
                ),
                Some(tls) => {
                    if let Ok(connection) = tls.accept(connection).await {
                        drop(
                            builder
                                .serve_connection(TokioIo::new(connection), service)
                                .await,
                        );
                    }
                }
            }
        });
    }
}

/// What a request selects.
#[derive(Debug, Clone, Default)]
struct Query(BTreeMap<String, String>);

impl Query {
    fn parse(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let plain = |text: &str| {
            text.replace("%3D", "=")
                .replace("%2C", ",")
                .replace("%2F", "/")
        };
        Self(
            pairs
                .map(|(name, value)| (name.to_owned(), plain(value)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn selects(&self, object: &Value) -> bool {
        let requirements = |name| {
            self.get(name)
                .split(',')
                .filter_map(|it| it.split_once('='))
        };
        requirements("labelSelector")
            .all(|(label, value)| object["metadata"]["labels"][label] == value)
            && requirements("fieldSelector").all(|(field, value)| {
                let pointer = format!("/{}", field.replace('.', "/"));
                object.pointer(&pointer).is_some_and(|it| it == value)
            })
    }
}

async fn answer(store: Arc<Store>, request: Request) -> Response {
    let query = Query::parse(&request);
    let path = request.uri().path().to_owned();
    // `/apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE[/NAME]`, or `/api/VERSION/…`.
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    let names = if parts[0] == "api" { 5 } else { 6 };
    let name = parts.get(names).copied();
    parts.truncate(names);
    let resource = parts[names - 1];
    let verb = match (request.method(), name) {
        (&Method::GET, None) if query.get("watch") == "true" => "watch",
        (&Method::GET, None) => "list",
        (&Method::PATCH, Some(_)) => "patch",
        (&Method::DELETE, Some(_)) => "delete",
        _ => return failure(405, "MethodNotAllowed", "not supported here"),
    };
    let refused = {
        let mut state = store.state.lock();
        state.requests.push(format!("{verb} {resource}"));
        let refused = state
            .refused
            .iter()
            .find(|it| (it.0, it.1) == (verb, resource));
        refused.map(|it| it.2)
    };
    match refused {
        Some(403) => {
            let message = format!("User \"x\" cannot {verb} resource \"{resource}\"");
            return failure(403, "Forbidden", &message);
        }
        Some(404) => return (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
        Some(status) => return failure(status, "Refused", "as the test wants it"),
        None => {}
    }
    match verb {
        "watch" => watch_changes(&store, &path, query),
        "list" => list(&store, &path, &query),
        "patch" => {
            let config = to_bytes(request.into_body(), usize::MAX).await.unwrap();
            let config = serde_json::from_slice(&config).unwrap();
            assert_eq!(query.get("force"), "true");
            let mut state = store.state.lock();
            let object = state.apply(&path, query.get("fieldManager"), &config);
            store.version.send_replace(state.version);
            drop(state);
            json_response(&object)
        }
        _ => {
            let options = to_bytes(request.into_body(), usize::MAX).await.unwrap();
            let options: Value = serde_json::from_slice(&options).unwrap_or_default();
            delete(&store, &path, &options["preconditions"]["uid"])
        }
    }
}

fn delete(store: &Store, path: &str, uid: &Value) -> Response {
    let stored = store.state.lock().objects.get(path).cloned();
    match stored {
        None => failure(404, "NotFound", "not found"),
        Some(object) if !uid.is_null() && object["metadata"]["uid"] != *uid => failure(
            409,
            "Conflict",
            "the UID in the precondition does not match",
        ),
        Some(_) => json_response(&store.change(path, None)),
    }
}

fn list(store: &Store, path: &str, query: &Query) -> Response {
    let state = store.state.lock();
    let all = state.list(path, query);
    let start = query.get("continue").parse().unwrap_or(0_usize);
    let limit = query.get("limit").parse().unwrap_or(usize::MAX);
    let page: Vec<_> = all.iter().skip(start).take(limit).collect();
    let end = start + page.len();
    let more = if end < all.len() {
        end.to_string()
    } else {
        String::new()
    };
    json_response(&json!({
        "apiVersion": "v1", "kind": "List", "items": page,
        "metadata": {"resourceVersion": state.version.to_string(), "continue": more},
    }))
}

/// What one watch has told.
struct Watch {
    collection: String,
    query: Query,
    told: u64,
    untold: VecDeque<Value>,
    version: watch::Receiver<u64>,
    end: Instant,
    over: bool,
}

fn watch_changes(store: &Arc<Store>, path: &str, query: Query) -> Response {
    let told = query.get("resourceVersion").parse().unwrap_or(0);
    let mut untold = VecDeque::new();
    let mut over = false;
    let (compacted, gone) = {
        let state = store.state.lock();
        (state.compacted, state.gone.unwrap_or(Gone::Event))
    };
    if told < compacted {
        let message = "too old resource version";
        match gone {
            Gone::Status => return failure(410, "Expired", message),
            Gone::Event => {
                untold.push_back(event("ERROR", &status(410, "Expired", message)));
                over = true;
            }
        }
    }
    let watch = Watch {
        collection: format!("{path}/"),
        query,
        told,
        untold,
        version: store.version.subscribe(),
        end: Instant::now() + LONGEST_WATCH,
        over,
    };
    let lines = stream::unfold((Arc::clone(store), watch), |(store, mut watch)| async {
        let event = watch.next(&store).await?;
        let line = Bytes::from(format!("{event}\n"));
        Some((Ok::<_, Infallible>(line), (store, watch)))
    });
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::from_stream(lines),
    )
        .into_response()
}

impl Watch {
    async fn next(&mut self, store: &Store) -> Option<Value> {
        loop {
            if let Some(event) = self.untold.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            self.version.borrow_and_update();
            self.look(&store.state.lock());
            if !self.untold.is_empty() {
                continue;
            }
            if tokio::time::timeout_at(self.end, self.version.changed())
                .await
                .is_err()
            {
                self.over = true;
                let metadata = json!({"resourceVersion": self.told.to_string()});
                let kind = json!({"apiVersion": "v1", "kind": "Bookmark", "metadata": metadata});
                return Some(event("BOOKMARK", &kind));
            }
        }
    }

    fn look(&mut self, state: &State) {
        if self.told < state.compacted {
            // What it was about to tell is forgotten.
            self.over = true;
            return;
        }
        for change in state.changes.iter().filter(|it| it.version > self.told) {
            if !change.path.starts_with(&self.collection) {
                continue;
            }
            let selected =
                |object: &Option<Value>| object.clone().filter(|object| self.query.selects(object));
            let told = match (selected(&change.before), selected(&change.after)) {
                (None, Some(object)) => event("ADDED", &object),
                (Some(_), Some(object)) => event("MODIFIED", &object),
                (Some(mut object), None) => {
                    object["metadata"]["resourceVersion"] = change.version.to_string().into();
                    event("DELETED", &object)
                }
                (None, None) => continue,
            };
            self.untold.push_back(told);
        }
        self.told = state.version;
    }
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": message,
    })
}

fn failure(code: u16, reason: &str, message: &str) -> Response {
    let status = json_response(&status(code, reason, message));
    (StatusCode::from_u16(code).unwrap(), status).into_response()
}

fn json_response(value: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}
