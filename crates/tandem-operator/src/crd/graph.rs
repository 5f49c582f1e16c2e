//! A graph: the components that serve models together.

#![expect(
    clippy::duplicated_attributes,
    reason = "two columns may have the same type"
)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::EnvVar;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::component::{BackendFramework, ComponentSpec, Pvc};
use super::free_form;

/// The components that serve models together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "nvidia.com",
    version = "v1alpha1",
    kind = "DynamoGraphDeployment",
    plural = "dynamographdeployments",
    shortname = "dgd",
    category = "dynamo",
    namespaced,
    status = "DynamoGraphDeploymentStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "A graph of components that serve models together: frontends, workers and planners.",
    printcolumn(
        name = "State",
        type_ = "string",
        description = "pending, successful or failed",
        json_path = ".status.state"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        description = "Whether all components serve",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        description = "What is missing",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        description = "Time since it was created",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", default)]
pub struct DynamoGraphDeploymentSpec {
    /// The components by name. Objects made for one are called after the graph and the name in
    /// lower case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 25))]
    pub services: BTreeMap<String, ComponentSpec>,
    /// Environment of all components; one of a component wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub envs: Vec<EnvVar>,
    /// Which engine the workers run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_framework: Option<BackendFramework>,
    /// Claims of storage that components mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 100))]
    pub pvcs: Vec<Pvc>,
    /// Tag of a packaged graph; accepted and not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamo_graph: Option<String>,
    /// Annotations of all components' pods and Services.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of all components' pods and Services.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Restarts the components, without a change of anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Where pods may be placed together; accepted and not acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form::object")]
    pub topology_constraint: Option<Map<String, Value>>,
}

/// Restarts components.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// Any text; a new one restarts the components.
    #[schemars(length(min = 1, max = 63))]
    pub id: String,
    /// In which order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<RestartStrategy>,
}

/// In which order components are restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartStrategy {
    /// All at once or one after another.
    #[serde(rename = "type")]
    pub kind: RestartOrder,
    /// Names of components, for `Sequential`; those that are not named come last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
}

/// Whether components are restarted at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartOrder {
    /// One after another, when the one before is ready.
    #[default]
    Sequential,
    /// All at once.
    Parallel,
}

/// What became of a graph, in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something is not ready yet.
    #[default]
    Pending,
    /// All components serve.
    Successful,
    /// Somebody has to change something.
    Failed,
}

/// What became of a graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DynamoGraphDeploymentStatus {
    /// In one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// `Ready`, `Progressing` and `Failed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The components by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, ServiceStatus>,
    /// How far a restart has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartStatus>,
    /// Generation of the resource that this tells about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What became of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Kind of the object that runs it.
    pub component_kind: String,
    /// Name of that object.
    pub component_name: String,
    /// Replicas that exist, old ones too.
    pub replicas: i32,
    /// Replicas that run what the graph asks for.
    pub updated_replicas: i32,
    /// Replicas whose pods are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Replicas that can be counted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_replicas: Option<i32>,
}

/// How far a restart has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartStatus {
    /// The `id` that asked for it.
    #[serde(rename = "observedID")]
    pub observed_id: String,
    /// Whether it goes on.
    pub phase: RestartPhase,
    /// Names of components that are not back yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_progress: Vec<String>,
}

/// Whether a restart goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPhase {
    /// Some components are not back yet.
    #[default]
    Restarting,
    /// All are.
    Completed,
}
