//! The server's HTTP side: paths, queries, watches.

use std::collections::HashMap;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use serde_json::{Value, json};

use super::ApiServer;
use super::kinds::Kind;
use super::store::{Apply, Change, Refusal};

type Queries = HashMap<String, String>;

pub(super) fn router(server: ApiServer) -> Router {
    Router::new().fallback(handle).with_state(server)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": self.code,
            "reason": self.reason, "message": self.message, "metadata": {},
        });
        let code = StatusCode::from_u16(self.code).expect("a code of HTTP");
        (code, axum::Json(status)).into_response()
    }
}

/// What a path names.
struct Target {
    kind: Kind,
    /// Empty for all.
    namespace: String,
    name: Option<String>,
    part: Option<String>,
}

async fn handle(
    State(server): State<ApiServer>,
    method: Method,
    uri: Uri,
    Query(query): Query<Queries>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    server
        .shared
        .requests
        .lock()
        .push(format!("{method} {path}"));
    if let Some(refusal) = fault(&server, method.as_str(), &path) {
        return refusal.into_response();
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ((*version).to_owned(), rest),
        ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
        _ => return Refusal::new(404, "NotFound", "no such path").into_response(),
    };
    if rest.is_empty() {
        return resources(&server, &version);
    }
    if let Some(refusal) = forbidden(&server, (&version, rest), (&method, &query, &headers)) {
        return refusal.into_response();
    }
    match target(&version, rest) {
        Some(target) => act(&server, &target, &method, &query, &headers, &body),
        None => Refusal::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .into_response(),
    }
}

/// What a server says to those who may not do what they ask for.
fn forbidden(
    server: &ApiServer,
    (version, rest): (&str, &[&str]),
    (method, query, headers): (&Method, &Queries, &HeaderMap),
) -> Option<Refusal> {
    let rights = server.shared.rights.lock();
    let rights = rights.as_ref()?;
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let resource = match rest {
        [resource, _, part, ..] => format!("{resource}/{part}"),
        [resource, ..] => (*resource).to_owned(),
        [] => return None,
    };
    let named = rest.len() > 1;
    let watches = query
        .get("watch")
        .is_some_and(|watch| watch == "true" || watch == "1");
    let verb = match (method.as_str(), named) {
        ("GET", true) => "get",
        ("GET", false) if watches => "watch",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        _ => "deletecollection",
    };
    let mut verbs = vec![verb];
    // What is applied and is not there is created.
    let kind_of_patch = headers.get(header::CONTENT_TYPE);
    let applies =
        kind_of_patch.is_some_and(|kind| kind.as_bytes().starts_with(b"application/apply"));
    if let ([plural, name], true) = (rest, applies)
        && let Some(kind) = Kind::by_plural(version, plural)
        && server
            .shared
            .store
            .lock()
            .get(kind, namespace, name)
            .is_none()
    {
        verbs.push("create");
    }
    let refusal = verbs
        .iter()
        .find_map(|verb| rights.refusal(version, &resource, verb))?;
    server.shared.forbidden.lock().push(refusal.clone());
    Some(Refusal::new(403, "Forbidden", refusal))
}

fn fault(server: &ApiServer, method: &str, path: &str) -> Option<Refusal> {
    let mut faults = server.shared.faults.lock();
    let fault = faults
        .iter_mut()
        .find(|fault| fault.times > 0 && fault.method == method && path.contains(&fault.path))?;
    fault.times -= 1;
    let reason = match fault.code {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        _ => "InternalError",
    };
    Some(Refusal::new(fault.code, reason, fault.message))
}

fn resources(server: &ApiServer, version: &str) -> Response {
    let hidden = server.shared.hidden.lock().clone();
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| kind.parts()[0] == version && !hidden.contains(kind));
    let resources: Vec<Value> = kinds
        .map(|kind| {
            let [_, name, plural] = kind.parts();
            json!({"name": plural, "kind": name, "namespaced": true, "singularName": "", "verbs": ["get"]})
        })
        .collect();
    if resources.is_empty() {
        return Refusal::new(404, "NotFound", "no such group").into_response();
    }
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
        "resources": resources,
    });
    axum::Json(list).into_response()
}

fn target(version: &str, rest: &[&str]) -> Option<Target> {
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] => (*namespace, rest),
        rest => ("", rest),
    };
    let owned = |part: Option<&&str>| part.map(|part| (*part).to_owned());
    Some(Target {
        kind: Kind::by_plural(version, rest.first()?)?,
        namespace: namespace.to_owned(),
        name: owned(rest.get(1)),
        part: owned(rest.get(2)),
    })
}

fn act(
    server: &ApiServer,
    target: &Target,
    method: &Method,
    query: &Queries,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let metadata_only = accept.is_some_and(|accept| accept.contains("PartialObjectMetadata"));
    let Some(name) = &target.name else {
        return match *method {
            Method::GET
                if query
                    .get("watch")
                    .is_some_and(|watch| watch == "true" || watch == "1") =>
            {
                watch(server, target, query, metadata_only)
            }
            Method::GET => list(server, target, query, metadata_only),
            Method::POST => answer(server.write(|store| {
                let mut object: Value = serde_json::from_slice(body).map_err(bad)?;
                let [version, kind, _] = target.kind.parts();
                object["apiVersion"] = json!(version);
                object["kind"] = json!(kind);
                object["metadata"]["namespace"] = json!(target.namespace);
                target.kind.check(&object).map_err(bad)?;
                store.create(object)
            })),
            _ => Refusal::new(405, "MethodNotAllowed", "not allowed").into_response(),
        };
    };
    let status = target.part.as_deref() == Some("status");
    let (kind, namespace) = (target.kind, target.namespace.as_str());
    match *method {
        Method::GET => {
            let store = server.shared.store.lock();
            match store.get(kind, namespace, name) {
                Some(object) if metadata_only => axum::Json(metadata(object)).into_response(),
                Some(object) => axum::Json(object).into_response(),
                None => {
                    let message = format!("{} \"{name}\" not found", kind.parts()[2]);
                    Refusal::new(404, "NotFound", message).into_response()
                }
            }
        }
        Method::PUT => answer(server.write(|store| {
            let mut object: Value = serde_json::from_slice(body).map_err(bad)?;
            let [version, own, _] = kind.parts();
            object["apiVersion"] = json!(version);
            object["kind"] = json!(own);
            object["metadata"]["namespace"] = json!(namespace);
            store.replace(object, status.then_some(()))
        })),
        Method::PATCH => answer(patch(server, target, name, query, headers, body)),
        Method::DELETE => answer(server.write(|store| {
            let options: Value = serde_json::from_slice(body).unwrap_or_default();
            store.delete(
                kind,
                namespace,
                name,
                options["preconditions"]["uid"].as_str(),
            )
        })),
        _ => Refusal::new(405, "MethodNotAllowed", "not allowed").into_response(),
    }
}

fn bad(error: impl Into<BoxError>) -> Refusal {
    Refusal::new(400, "BadRequest", error.into().to_string())
}

fn patch(
    server: &ApiServer,
    target: &Target,
    name: &str,
    query: &Queries,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Value, Refusal> {
    let (kind, namespace) = (target.kind, target.namespace.as_str());
    let patch: Value = serde_json::from_slice(body).map_err(bad)?;
    let status = target.part.as_deref() == Some("status");
    let content = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if content != Some("application/apply-patch+yaml") {
        return server.write(|store| store.merge(kind, namespace, name, &patch, status));
    }
    let flag = |name: &str| query.get(name).is_some_and(|value| value == "true");
    let how = Apply {
        manager: query.get("fieldManager").cloned().unwrap_or_default(),
        force: flag("force"),
        strict: query
            .get("fieldValidation")
            .is_some_and(|value| value == "Strict"),
        status,
    };
    if how.manager.is_empty() {
        return Err(bad(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value",
        ));
    }
    server.write(|store| store.apply(kind, namespace, name, &patch, &how))
}

fn answer(result: Result<Value, Refusal>) -> Response {
    match result {
        Ok(object) => axum::Json(object).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

fn metadata(object: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": object["metadata"],
    })
}

/// Whether a watch or list of `target` shows `object`.
fn shows(target: &Target, query: &Queries, namespace: &str, object: &Value) -> bool {
    if !target.namespace.is_empty() && target.namespace != namespace {
        return false;
    }
    let Some(selector) = query
        .get("labelSelector")
        .filter(|selector| !selector.is_empty())
    else {
        return true;
    };
    selector.split(',').all(|term| {
        let (name, value) = term.split_once('=').unwrap_or((term, ""));
        object["metadata"]["labels"][name] == value
    })
}

fn list(server: &ApiServer, target: &Target, query: &Queries, metadata_only: bool) -> Response {
    let store = server.shared.store.lock();
    let shown = store.all(target.kind).into_iter().filter(|object| {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        shows(target, query, namespace, object)
    });
    let limit = query
        .get("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(usize::MAX);
    let start = query
        .get("continue")
        .and_then(|start| start.parse().ok())
        .unwrap_or(0_usize);
    let shown: Vec<Value> = shown.collect();
    let page = shown.iter().skip(start).take(limit);
    let items: Vec<Value> = page
        .map(|object| {
            if metadata_only {
                metadata(object)
            } else {
                object.clone()
            }
        })
        .collect();
    let [version, kind, _] = target.kind.parts();
    let (version, kind) = if metadata_only {
        ("meta.k8s.io/v1", "PartialObjectMetadataList".to_owned())
    } else {
        (version, format!("{kind}List"))
    };
    let mut meta = json!({"resourceVersion": store.version().to_string()});
    let end = start.saturating_add(items.len());
    if end < shown.len() {
        meta["continue"] = json!(end.to_string());
    }
    let list = json!({"apiVersion": version, "kind": kind, "metadata": meta, "items": items});
    axum::Json(list).into_response()
}

fn watch(server: &ApiServer, target: &Target, query: &Queries, metadata_only: bool) -> Response {
    let from = query
        .get("resourceVersion")
        .and_then(|version| version.parse().ok())
        .unwrap_or(0);
    let mut cut = server.shared.cut.subscribe();
    cut.mark_unchanged();
    let watching = Watching {
        server: server.clone(),
        kind: target.kind,
        namespace: target.namespace.clone(),
        query: query.clone(),
        metadata_only,
        seen: from,
        ended: false,
    };
    let version = server.shared.version.subscribe();
    let stream = futures::stream::unfold((watching, version, cut), async |state| {
        let (mut watching, mut version, mut cut) = state;
        loop {
            if watching.ended {
                return None;
            }
            let lines = watching.lines();
            if !lines.is_empty() {
                return Some((Ok::<_, std::io::Error>(lines), (watching, version, cut)));
            }
            tokio::select! {
                changed = version.changed() => changed.ok()?,
                _ = cut.changed() => return None,
            }
        }
    });
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::from_stream(stream),
    )
        .into_response()
}

/// A watch that goes on.
struct Watching {
    server: ApiServer,
    kind: Kind,
    namespace: String,
    query: Queries,
    metadata_only: bool,
    seen: u64,
    ended: bool,
}

impl Watching {
    /// What happened since it was last asked, a line each.
    fn lines(&mut self) -> String {
        let store = self.server.shared.store.lock();
        let target = Target {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: None,
            part: None,
        };
        let Some(changes) = store.since(self.seen) else {
            self.ended = true;
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                "reason": "Expired", "message": "too old resource version", "metadata": {},
            });
            return format!("{}\n", json!({"type": "ERROR", "object": status}));
        };
        let mut lines = String::new();
        for change in changes.filter(|change| change.kind == self.kind) {
            if let Some((kind, object)) = self.event(&target, change) {
                let object = if self.metadata_only {
                    metadata(&object)
                } else {
                    object
                };
                lines.push_str(&json!({"type": kind, "object": object}).to_string());
                lines.push('\n');
            }
        }
        self.seen = store.version().max(self.seen);
        lines
    }

    fn event(&self, target: &Target, change: &Change) -> Option<(&'static str, Value)> {
        let shown = |object: &Option<Value>| {
            object
                .as_ref()
                .is_some_and(|object| shows(target, &self.query, &change.namespace, object))
        };
        let event = match (shown(&change.before), shown(&change.after)) {
            (false, false) => return None,
            (false, true) => ("ADDED", change.after.clone()?),
            (true, true) => ("MODIFIED", change.after.clone()?),
            (true, false) => {
                let mut last = change.before.clone()?;
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                ("DELETED", last)
            }
        };
        Some(event)
    }
}
