//! How components are reached: Services, and what leads to them from outside the cluster.

use serde_json::{Map, Value, json};

use super::container;
use super::graph::{Component, Graph, Role};
use super::invalid::Problems;
use super::multinode::Node;
use super::names;
use super::object::{DesiredObject, ObjectKey, ObjectKind};
use super::pod;
use super::settings::{Capabilities, DiscoveryBackend, Settings};
use super::workload::nodes_service;
use crate::crd::IngressSpec;

/// Port of a Service of a frontend.
const HTTP_PORT: i64 = 8000;

/// What a component's Service is made of.
pub(super) struct Reach<'a> {
    pub(super) graph: &'a Graph<'a>,
    pub(super) component: &'a Component<'a>,
    pub(super) settings: &'a Settings,
    pub(super) capabilities: Capabilities,
}

impl Reach<'_> {
    /// The objects through which the component is reached; `main` is the container that serves.
    pub(super) fn objects(
        &self,
        main: &Map<String, Value>,
        problems: &mut Problems,
    ) -> Vec<DesiredObject> {
        let component = self.component;
        let ports = self.ports(main);
        let mut objects = Vec::new();
        if !ports.is_empty() {
            objects.push(self.service(&ports));
        }
        if component.spec.multinode.is_some() && !self.capabilities.leader_worker_sets {
            objects.push(self.nodes_service());
        }
        if let Some(ingress) = component
            .spec
            .ingress
            .as_ref()
            .filter(|ingress| ingress.enabled)
        {
            objects.extend(self.outside(ingress, &ports, problems));
        }
        objects
    }

    /// Ports of the Service: that of the role; those that people named for what has no role.
    fn ports(&self, main: &Map<String, Value>) -> Vec<Value> {
        let role = self.component.role;
        match (role, container::listens_on(main, role)) {
            (Role::Frontend, Some((name, target))) => {
                vec![
                    json!({"name": name, "port": HTTP_PORT, "targetPort": target, "protocol": "TCP"}),
                ]
            }
            (Role::Worker, Some((name, target))) => {
                vec![json!({"name": name, "port": 9090, "targetPort": target, "protocol": "TCP"})]
            }
            (Role::Planner, _) => Vec::new(),
            _ => {
                let ports = main.get("ports").and_then(Value::as_array);
                let named = ports
                    .into_iter()
                    .flatten()
                    .filter(|port| port["name"].is_string());
                let service = named.map(|port| {
                    let number = &port["containerPort"];
                    json!({
                        "name": port["name"], "port": number, "targetPort": number,
                        "protocol": port.get("protocol").cloned().unwrap_or(json!("TCP")),
                    })
                });
                service.collect()
            }
        }
    }

    fn service(&self, ports: &[Value]) -> DesiredObject {
        let mut selector = pod::selector(self.component);
        if self.component.spec.multinode.is_some() {
            selector[names::NODE_ROLE] = json!(Node::Leader.name());
        }
        let mut labels = pod::labels(self.graph, self.component);
        let discovery = self.graph.discovery(self.settings.discovery_backend);
        if discovery == DiscoveryBackend::Kubernetes {
            labels.insert(names::DISCOVERY_ENABLED.to_owned(), json!("true"));
            labels.insert(names::DISCOVERY_BACKEND.to_owned(), json!(discovery.name()));
        }
        let spec = json!({"type": "ClusterIP", "ports": ports, "selector": selector});
        self.object(ObjectKind::Service, &self.component.name, &labels, &spec)
    }

    /// Gives the pods of StatefulSets names, before they are ready: they have to meet first.
    fn nodes_service(&self) -> DesiredObject {
        let spec = json!({
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": pod::selector(self.component),
        });
        let labels = pod::labels(self.graph, self.component);
        self.object(
            ObjectKind::Service,
            &nodes_service(self.component),
            &labels,
            &spec,
        )
    }

    fn object(
        &self,
        kind: ObjectKind,
        name: &str,
        labels: &Map<String, Value>,
        spec: &Value,
    ) -> DesiredObject {
        let (labels, annotations) = pod::with_theirs(self.graph, self.component, labels);
        let mut metadata = json!({
            "name": name, "namespace": self.graph.namespace, "labels": labels,
        });
        if !annotations.is_empty() {
            metadata["annotations"] = json!(annotations);
        }
        DesiredObject {
            key: ObjectKey {
                kind,
                name: name.to_owned(),
            },
            service: Some(self.component.service.clone()),
            value: json!({
                "apiVersion": kind.api_version(), "kind": kind.name(),
                "metadata": metadata, "spec": spec,
            }),
            after: Vec::new(),
        }
    }

    /// The Ingress or VirtualService of the component.
    fn outside(
        &self,
        ingress: &IngressSpec,
        ports: &[Value],
        problems: &mut Problems,
    ) -> Option<DesiredObject> {
        let path = format!("spec.services.{}.ingress", self.component.service);
        let Some(port) = ports.first().map(|port| port["port"].clone()) else {
            problems.add(&path, "the component has no port that could be reached");
            return None;
        };
        let Some(host) = ingress.host.as_deref().filter(|host| !host.is_empty()) else {
            problems.add(&path, "an ingress needs a host");
            return None;
        };
        let host = format!(
            "{}{host}.{}",
            ingress.host_prefix.as_deref().unwrap_or_default(),
            ingress.host_suffix.as_deref().unwrap_or("local"),
        );
        let (kind, spec) = if ingress.use_virtual_service == Some(true) {
            if !self.capabilities.virtual_services {
                problems.add(&path, "the cluster has no VirtualServices; install Istio or leave out useVirtualService");
                return None;
            }
            let Some(gateway) = &ingress.virtual_service_gateway else {
                problems.add(&path, "a VirtualService needs virtualServiceGateway");
                return None;
            };
            let spec = json!({
                "hosts": [host],
                "gateways": [gateway],
                "http": [{
                    "match": [{"uri": {"prefix": "/"}}],
                    // Answers are streamed for as long as tokens come.
                    "timeout": "0s",
                    "route": [{"destination": {"host": self.component.name, "port": {"number": port}}}],
                }],
            });
            (ObjectKind::VirtualService, spec)
        } else {
            (
                ObjectKind::Ingress,
                self.ingress_spec(ingress, &host, &port),
            )
        };
        let mut labels: Map<_, _> = ingress
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        labels.extend(pod::labels(self.graph, self.component));
        let mut object = self.object(kind, &self.component.name, &labels, &spec);
        if !ingress.annotations.is_empty() {
            object.value["metadata"]["annotations"] = json!(ingress.annotations);
        }
        Some(object)
    }

    fn ingress_spec(&self, ingress: &IngressSpec, host: &str, port: &Value) -> Value {
        let backend = json!({"service": {"name": self.component.name, "port": {"number": port}}});
        let mut spec = json!({
            "rules": [{
                "host": host,
                "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
            }],
        });
        if let Some(class) = &ingress.ingress_controller_class_name {
            spec["ingressClassName"] = json!(class);
        }
        if let Some(secret) = ingress
            .tls
            .as_ref()
            .and_then(|tls| tls.secret_name.as_ref())
        {
            spec["tls"] = json!([{"hosts": [host], "secretName": secret}]);
        }
        spec
    }
}

/// A name of a model that labels can hold.
pub(super) fn model_hash(model: &str) -> String {
    // FNV-1a: the same in every version and on every machine.
    let hash = model.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// For each model that components name, a Service without an address whose pods serve it, on the
/// port at which adapters are loaded.
pub(super) fn model_services(graph: &Graph<'_>) -> Vec<DesiredObject> {
    let models = graph
        .components
        .iter()
        .filter_map(|component| component.spec.model_ref.as_ref());
    let names: std::collections::BTreeSet<&str> = models.map(|model| model.name.as_str()).collect();
    let service = |model: &str| {
        let hash = model_hash(model);
        let name = format!("{}-model-{}", graph.name, &hash[..8]);
        DesiredObject {
            key: ObjectKey {
                kind: ObjectKind::Service,
                name: name.clone(),
            },
            service: None,
            value: json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "name": name, "namespace": graph.namespace,
                    "labels": {
                        names::MANAGED_BY: names::OPERATOR,
                        names::GRAPH: graph.name,
                        names::BASE_MODEL_HASH: hash,
                    },
                    "annotations": {names::BASE_MODEL: model},
                },
                "spec": {
                    "clusterIP": "None",
                    "publishNotReadyAddresses": true,
                    "ports": [{"name": "system", "port": 9090, "targetPort": 9090, "protocol": "TCP"}],
                    "selector": {names::GRAPH: graph.name, names::BASE_MODEL_HASH: hash},
                },
            }),
            after: Vec::new(),
        }
    };
    names.into_iter().map(service).collect()
}
