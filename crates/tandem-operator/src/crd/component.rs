//! One component of a graph, and the resource that is one component alone.

#![expect(
    clippy::duplicated_attributes,
    reason = "two columns may have the same type"
)]
#![expect(
    unreachable_pub,
    reason = "`KubeSchema` makes public structs where nobody reaches them"
)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvVar, Probe, ResourceClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::free_form::{self, ExtraPodSpec, ResourceItem};

/// Which engine the workers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackendFramework {
    /// SGLang.
    Sglang,
    /// vLLM.
    Vllm,
    /// TensorRT-LLM.
    Trtllm,
}

/// One component: what runs, how many times, and what it needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentSpec {
    /// Annotations of the component's pods and Services.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the component's pods and Services.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Name of the component, which its pods are labelled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// What the component is: `frontend`, `worker`, `prefill`, `decode`, `planner`, `epp`, `main`
    /// (an old name of `frontend`) or `default`. It decides ports, probes and environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_type: Option<String>,
    /// Which half of a disaggregated model a worker serves: `prefill` or `decode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_component_type: Option<String>,
    /// Namespace in which the processes find each other, the same for all components of a graph;
    /// `dynamo-` and the name of the graph without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamo_namespace: Option<String>,
    /// Whether the processes find each other in the namespace `dynamo`, which graphs share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global_dynamo_namespace: Option<bool>,
    /// Resources that the main container asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Scales the component with a HorizontalPodAutoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Lets a DynamoGraphDeploymentScalingAdapter say how many replicas there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling_adapter: Option<ScalingAdapterSwitch>,
    /// Environment of the main container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub envs: Vec<EnvVar>,
    /// Secret whose keys become environment variables of the main container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_from_secret: Option<String>,
    /// Where the main container sees the volumes of `pvcs`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// One volume of the component, in an older form than `pvcs` and `volumeMounts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pvc: Option<MountedPvc>,
    /// Makes the component reachable from outside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSpec>,
    /// The model that the component serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_ref: Option<ModelReference>,
    /// Memory that the processes of a pod share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_memory: Option<SharedMemory>,
    /// Annotations and labels of pods only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_pod_metadata: Option<ExtraPodMetadata>,
    /// Fields of the pods, merged over what the operator would write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_pod_spec: Option<ExtraPodSpec>,
    /// When a container is restarted, in place of the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// When a pod gets traffic, in place of the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// How many there are; 1 without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Spreads each replica over several nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multinode: Option<Multinode>,
    /// Where pods may be placed together; accepted and not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form::object")]
    pub topology_constraint: Option<Map<String, Value>>,
}

/// Resources that a container asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// What has to be free on a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceItem>,
    /// What may be used at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceItem>,
    /// Claims of dynamic resource allocation, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ResourceClaim>,
}

/// Scales a component with a HorizontalPodAutoscaler.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas"
).message("minReplicas must not be greater than maxReplicas"))]
pub struct Autoscaling {
    /// Whether it does.
    #[serde(default)]
    pub enabled: bool,
    /// Fewest replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_replicas: Option<i32>,
    /// Most replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_replicas: Option<i32>,
    /// How fast it does (`autoscaling/v2` `HorizontalPodAutoscalerBehavior`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form::object")]
    pub behavior: Option<Map<String, Value>>,
    /// What it looks at (`autoscaling/v2` `MetricSpec`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "free_form::objects")]
    pub metrics: Vec<Map<String, Value>>,
}

/// Whether a scaling adapter is made for the component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingAdapterSwitch {
    /// Whether it is.
    pub enabled: bool,
}

/// Where the main container sees a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// Name of a claim in `pvcs`, or of one that exists.
    pub name: String,
    /// Path in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_point: Option<String>,
    /// Whether the engine keeps what it compiled there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_as_compilation_cache: Option<bool>,
}

/// A claim of storage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.create) || !self.create || has(self.size)"
).message("a claim that is created needs a size"))]
pub struct Pvc {
    /// Whether the operator creates it; otherwise it has to exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<bool>,
    /// Name of the PersistentVolumeClaim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Class of the storage; that of the cluster without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// How much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// Who may use it at a time; `ReadWriteOnce` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_access_mode: Option<String>,
}

/// A claim of storage and where it is seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MountedPvc {
    /// Whether the operator creates it; otherwise it has to exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<bool>,
    /// Name of the PersistentVolumeClaim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Class of the storage; that of the cluster without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// How much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// Who may use it at a time; `ReadWriteOnce` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_access_mode: Option<String>,
    /// Path in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_point: Option<String>,
}

/// Makes a component reachable from outside the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressSpec {
    /// Whether it is.
    pub enabled: bool,
    /// First label of the host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Whether a VirtualService of Istio is made in place of an Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_virtual_service: Option<bool>,
    /// Gateway of the VirtualService.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_service_gateway: Option<String>,
    /// What stands before `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_prefix: Option<String>,
    /// Annotations of the Ingress or VirtualService.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the Ingress or VirtualService.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Certificate of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTls>,
    /// Domain of the host; `local` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_suffix: Option<String>,
    /// Class of the Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_controller_class_name: Option<String>,
}

/// Certificate of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressTls {
    /// Secret that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// A model by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelReference {
    /// Name of the model, as clients say it.
    pub name: String,
    /// Revision of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Memory that the processes of a pod share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SharedMemory {
    /// Whether there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Most of it; `8Gi` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
}

/// Annotations and labels of pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtraPodMetadata {
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Spreads each replica over several nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Multinode {
    /// Nodes of one replica, each with one pod.
    #[schemars(range(min = 2))]
    pub node_count: i32,
}

/// One component of a graph, alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "nvidia.com",
    version = "v1alpha1",
    kind = "DynamoComponentDeployment",
    plural = "dynamocomponentdeployments",
    shortname = "dcd",
    category = "dynamo",
    namespaced,
    status = "DynamoComponentDeploymentStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "One component that serves models, alone: what runs, how many times, and what it needs.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Type",
        type_ = "string",
        description = "What the component is",
        json_path = ".spec.componentType"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        description = "Replicas that exist",
        json_path = ".status.replicas"
    ),
    printcolumn(
        name = "Available",
        type_ = "string",
        description = "Whether all replicas serve",
        json_path = ".status.conditions[?(@.type==\"Available\")].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        description = "Time since it was created",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", default)]
pub struct DynamoComponentDeploymentSpec {
    /// Which engine the component runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_framework: Option<BackendFramework>,
    /// Tag of a packaged graph; accepted and not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamo_tag: Option<String>,
    /// The component.
    #[serde(flatten)]
    pub component: ComponentSpec,
}

/// What became of a component.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DynamoComponentDeploymentStatus {
    /// Generation of the resource that this tells about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Available` and `DynamoComponentReady`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Labels of the component's pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_selector: BTreeMap<String, String>,
    /// The same as a label selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Replicas that exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
}
