//! The container of a component that serves: what Dynamo's processes expect, and over it what
//! people wrote.

use serde_json::{Map, Value, json};

use super::graph::{Component, Graph, Role};
use super::merge::lay_over;
use super::settings::{DiscoveryBackend, Settings};
use crate::crd::{ComponentSpec, ResourceItem};

/// Name of the container.
pub(super) const MAIN: &str = "main";
/// Where vLLM keeps what it compiled, unless told otherwise.
const COMPILATION_CACHE: &str = "/root/.cache/vllm";
/// Seconds between two looks at whether a worker has started.
const STARTUP_PERIOD: i32 = 10;
/// Looks that a worker gets to start: two hours, because models are downloaded meanwhile.
const STARTUP_ATTEMPTS: i32 = 720;

/// The port on which a component is asked how it is.
struct Port {
    name: &'static str,
    number: i64,
    /// Variable with which people move it.
    variable: &'static str,
}

const fn port_of(role: Role) -> Option<Port> {
    let (name, number, variable) = match role {
        Role::Frontend => ("http", 8000, "DYN_HTTP_PORT"),
        Role::Worker => ("system", 9090, "DYN_SYSTEM_PORT"),
        Role::Planner => ("metrics", 9085, "PLANNER_PROMETHEUS_PORT"),
        Role::Other => return None,
    };
    Some(Port {
        name,
        number,
        variable,
    })
}

/// Seconds that a workload may take to become ready before it counts as stuck.
pub(super) const fn progress_deadline(role: Role) -> i32 {
    match role {
        Role::Worker => STARTUP_PERIOD * STARTUP_ATTEMPTS + 600,
        Role::Frontend | Role::Planner | Role::Other => 600,
    }
}

/// The container of `component`.
pub(super) fn main(
    graph: &Graph<'_>,
    component: &Component<'_>,
    settings: &Settings,
) -> Map<String, Value> {
    let spec = component.spec;
    let extra = spec.extra_pod_spec.as_ref();
    let user = extra
        .and_then(|extra| extra.main_container.clone())
        .unwrap_or_default();
    let user: Map<_, _> = user
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect();

    let mut container = Map::new();
    container.insert("name".to_owned(), json!(MAIN));
    container.insert("image".to_owned(), json!(settings.default_image));
    add_env(&mut container, graph, component, settings, &user);
    add_ports(&mut container, component.role, &user);
    add_probes(&mut container, component);
    if let Some(secret) = &spec.env_from_secret {
        container.insert(
            "envFrom".to_owned(),
            json!([{"secretRef": {"name": secret}}]),
        );
    }
    let resources = resources(spec);
    if !resources.is_empty() {
        container.insert("resources".to_owned(), Value::Object(resources));
    }
    let mounts = volume_mounts(spec);
    if !mounts.is_empty() {
        container.insert("volumeMounts".to_owned(), json!(mounts));
    }
    let command = command(component.role, &user, settings);
    let mut rest = user;
    for done in ["name", "env", "ports", "command", "args"] {
        rest.remove(done);
    }
    append_env_from(&container, &mut rest);
    lay_over(&mut container, &rest);
    container.extend(command);
    container
}

/// `envFrom` has no names to merge by: the secret of the component comes first.
fn append_env_from(container: &Map<String, Value>, rest: &mut Map<String, Value>) {
    if let (Some(Value::Array(first)), Some(Value::Array(then))) =
        (container.get("envFrom"), rest.get_mut("envFrom"))
    {
        then.splice(0..0, first.iter().cloned());
    }
}

/// `command` and `args`: what people wrote, and what they left to us.
fn command(role: Role, user: &Map<String, Value>, settings: &Settings) -> Map<String, Value> {
    let words = |name: &str| {
        user.get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let (mut command, args) = (words("command"), words("args"));
    if command.is_empty() {
        let image = user.get("image").and_then(Value::as_str);
        let ours = image.is_none_or(|image| image == settings.default_image);
        let flags = args
            .first()
            .and_then(Value::as_str)
            .is_none_or(|arg| arg.starts_with('-'));
        command = if ours {
            match role {
                Role::Frontend => vec![json!("tandem"), json!("frontend")],
                Role::Worker => vec![json!("tandem"), json!("worker")],
                Role::Planner => vec![json!("tandem"), json!("planner")],
                Role::Other => Vec::new(),
            }
        } else if !flags {
            vec![json!("/bin/sh"), json!("-c")]
        } else if role == Role::Frontend {
            ["python3", "-m", "dynamo.frontend"]
                .map(Value::from)
                .to_vec()
        } else {
            Vec::new()
        };
    }
    let parts = [("command", command), ("args", args)];
    let parts = parts.into_iter().filter(|(_, words)| !words.is_empty());
    parts
        .map(|(name, words)| (name.to_owned(), json!(words)))
        .collect()
}

fn variable(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

/// The environment: ours, the graph's, the component's and the container's, of which the later
/// wins.
fn add_env(
    container: &mut Map<String, Value>,
    graph: &Graph<'_>,
    component: &Component<'_>,
    settings: &Settings,
    user: &Map<String, Value>,
) {
    let mut env = vec![
        variable("DYN_COMPONENT", component.component_type()),
        variable("DYN_NAMESPACE", &graph.dynamo_namespace),
        variable("DYN_PARENT_DGD_K8S_NAME", &graph.name),
        variable("DYN_PARENT_DGD_K8S_NAMESPACE", &graph.namespace),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_UID", "metadata.uid"),
    ];
    let configured = [
        ("ETCD_ENDPOINTS", &settings.etcd_endpoints),
        ("NATS_SERVER", &settings.nats_server),
        ("MODEL_EXPRESS_URL", &settings.model_express_url),
        ("PROMETHEUS_ENDPOINT", &settings.prometheus_endpoint),
    ];
    let configured = configured
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    env.extend(configured.map(|(name, value)| variable(name, value)));
    if settings.nats_server.is_none() {
        env.push(variable("DYN_EVENT_PLANE", "zmq"));
    }
    if graph.discovery(settings.discovery_backend) == DiscoveryBackend::Kubernetes {
        env.push(variable("DYN_DISCOVERY_BACKEND", "kubernetes"));
        env.push(field("POD_IP", "status.podIP"));
    }
    match component.role {
        Role::Frontend => {
            env.push(variable("DYNAMO_PORT", "8000"));
            env.push(variable("DYN_HTTP_PORT", "8000"));
        }
        Role::Worker => {
            env.push(variable("DYN_HEALTH_CHECK_ENABLED", "false"));
            env.push(variable("DYN_SYSTEM_ENABLED", "true"));
            env.push(variable("DYN_SYSTEM_PORT", "9090"));
            env.push(variable(
                "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS",
                "[\"generate\"]",
            ));
        }
        Role::Planner => env.push(variable("PLANNER_PROMETHEUS_PORT", "9085")),
        Role::Other => {}
    }
    env.sort_by(|one, other| one["name"].as_str().cmp(&other["name"].as_str()));
    container.insert("env".to_owned(), Value::Array(env));
    let cache =
        compilation_cache(component.spec).map(|path| json!([variable("VLLM_CACHE_ROOT", path)]));
    let layers = [
        cache,
        Some(json!(graph.envs)),
        Some(json!(component.spec.envs)),
        user.get("env").cloned(),
    ];
    for layer in layers.into_iter().flatten() {
        lay_over(container, &Map::from_iter([("env".to_owned(), layer)]));
    }
}

/// Ports: ours, unless people named another or say otherwise with a variable.
fn add_ports(container: &mut Map<String, Value>, role: Role, user: &Map<String, Value>) {
    let theirs = user
        .get("ports")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut ports = Vec::new();
    if let Some(port) = port_of(role) {
        let number = literal(container, port.variable).unwrap_or(port.number);
        let taken = theirs.iter().any(|other| {
            other["name"] == json!(port.name) || other["containerPort"] == json!(number)
        });
        if !taken {
            ports.push(json!({"name": port.name, "containerPort": number, "protocol": "TCP"}));
        }
    }
    ports.extend(theirs);
    if !ports.is_empty() {
        container.insert("ports".to_owned(), Value::Array(ports));
    }
}

/// Value of an environment variable, if it is a number.
fn literal(container: &Map<String, Value>, name: &str) -> Option<i64> {
    let env = container.get("env")?.as_array()?;
    let variable = env
        .iter()
        .find(|variable| variable["name"] == json!(name))?;
    variable["value"].as_str()?.parse().ok()
}

/// The number of the port on which a component of `role` listens.
pub(super) fn listens_on(
    container: &Map<String, Value>,
    role: Role,
) -> Option<(&'static str, i64)> {
    let port = port_of(role)?;
    let ports = container.get("ports").and_then(Value::as_array);
    let named = ports
        .into_iter()
        .flatten()
        .find(|other| other["name"] == json!(port.name));
    let number = named.and_then(|port| port["containerPort"].as_i64());
    let number = number.or_else(|| literal(container, port.variable));
    Some((port.name, number.unwrap_or(port.number)))
}

/// The probes of the role, each replaced by that of the component.
fn add_probes(container: &mut Map<String, Value>, component: &Component<'_>) {
    let port = listens_on(container, component.role).map(|(_, number)| number);
    let get = |path: &str| json!({"path": path, "port": port});
    let mut probes = match component.role {
        Role::Frontend => vec![
            (
                "livenessProbe",
                json!({
                    "httpGet": get("/live"), "initialDelaySeconds": 15,
                    "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3,
                }),
            ),
            (
                "readinessProbe",
                json!({
                    "httpGet": get("/health"), "initialDelaySeconds": 10,
                    "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 3,
                }),
            ),
        ],
        Role::Worker => vec![
            (
                "livenessProbe",
                json!({
                    "httpGet": get("/live"),
                    "periodSeconds": 5, "timeoutSeconds": 4, "failureThreshold": 1,
                }),
            ),
            (
                "readinessProbe",
                json!({
                    "httpGet": get("/health"),
                    "periodSeconds": 10, "timeoutSeconds": 4, "failureThreshold": 3,
                }),
            ),
            (
                "startupProbe",
                json!({
                    "httpGet": get("/live"), "periodSeconds": STARTUP_PERIOD,
                    "timeoutSeconds": 5, "failureThreshold": STARTUP_ATTEMPTS,
                }),
            ),
        ],
        Role::Planner | Role::Other => Vec::new(),
    };
    let own = [
        ("livenessProbe", &component.spec.liveness_probe),
        ("readinessProbe", &component.spec.readiness_probe),
    ];
    probes.extend(
        own.into_iter()
            .filter_map(|(name, probe)| Some((name, json!(probe.as_ref()?)))),
    );
    container.extend(
        probes
            .into_iter()
            .map(|(name, probe)| (name.to_owned(), probe)),
    );
}

/// Requests, limits and claims. Resources of devices have to be equal in both, so one that is
/// given only once is copied.
fn resources(spec: &ComponentSpec) -> Map<String, Value> {
    let Some(resources) = &spec.resources else {
        return Map::new();
    };
    let mut requests = amounts(resources.requests.as_ref());
    let mut limits = amounts(resources.limits.as_ref());
    let is_device = |name: &&String| name.contains('/');
    for name in requests
        .keys()
        .filter(is_device)
        .cloned()
        .collect::<Vec<_>>()
    {
        let amount = requests[&name].clone();
        limits.entry(name).or_insert(amount);
    }
    for name in limits.keys().filter(is_device).cloned().collect::<Vec<_>>() {
        let amount = limits[&name].clone();
        requests.entry(name).or_insert(amount);
    }
    let mut merged = Map::new();
    if !requests.is_empty() {
        merged.insert("requests".to_owned(), Value::Object(requests));
    }
    if !limits.is_empty() {
        merged.insert("limits".to_owned(), Value::Object(limits));
    }
    if !resources.claims.is_empty() {
        merged.insert("claims".to_owned(), json!(resources.claims));
    }
    merged
}

fn amounts(item: Option<&ResourceItem>) -> Map<String, Value> {
    let Some(item) = item else {
        return Map::new();
    };
    let gpu = item
        .gpu_type
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("nvidia.com/gpu");
    let known = [
        ("cpu", &item.cpu),
        ("memory", &item.memory),
        (gpu, &item.gpu),
    ];
    let known = known
        .into_iter()
        .filter_map(|(name, amount)| Some((name, amount.as_ref()?)));
    let others = item.custom.iter().chain(&item.other);
    let others = others.map(|(name, amount)| (name.as_str(), amount));
    known
        .chain(others)
        .map(|(name, amount)| (name.to_owned(), json!(amount)))
        .collect()
}

/// Where the container sees volumes; the shared memory is one of them.
fn volume_mounts(spec: &ComponentSpec) -> Vec<Value> {
    let mut mounts = Vec::new();
    if super::pod::shared_memory(spec).is_some() {
        mounts.push(json!({"name": super::pod::SHARED_MEMORY, "mountPath": "/dev/shm"}));
    }
    for mount in &spec.volume_mounts {
        let cache = mount.use_as_compilation_cache == Some(true);
        let path = mount
            .mount_point
            .as_deref()
            .or(cache.then_some(COMPILATION_CACHE));
        mounts.push(json!({"name": mount.name, "mountPath": path}));
    }
    if let Some(pvc) = &spec.pvc {
        mounts.push(json!({"name": pvc.name, "mountPath": pvc.mount_point}));
    }
    mounts
}

/// Where vLLM keeps what it compiled, if a volume is for that.
fn compilation_cache(spec: &ComponentSpec) -> Option<&str> {
    let mut mounts = spec.volume_mounts.iter();
    let mount = mounts.find(|mount| mount.use_as_compilation_cache == Some(true))?;
    Some(mount.mount_point.as_deref().unwrap_or(COMPILATION_CACHE))
}
