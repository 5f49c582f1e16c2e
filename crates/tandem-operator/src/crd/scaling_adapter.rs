//! The number of replicas of one component of a graph, as a resource of its own, so that whatever
//! scales Deployments can scale it.

#![expect(
    clippy::duplicated_attributes,
    reason = "two columns may have the same type"
)]
#![expect(
    unreachable_pub,
    reason = "`KubeSchema` makes public structs where nobody reaches them"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many replicas of a component there are. It wins over what the graph says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema, CustomResource)]
#[kube(
    group = "nvidia.com",
    version = "v1alpha1",
    kind = "DynamoGraphDeploymentScalingAdapter",
    plural = "dynamographdeploymentscalingadapters",
    shortname = "dgdsa",
    category = "dynamo",
    namespaced,
    status = "DynamoGraphDeploymentScalingAdapterStatus",
    derive = "PartialEq",
    doc = "The number of replicas of one component of a graph, for whatever scales Deployments.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Graph",
        type_ = "string",
        description = "The graph",
        json_path = ".spec.dgdRef.name"
    ),
    printcolumn(
        name = "Service",
        type_ = "string",
        description = "The component of the graph",
        json_path = ".spec.dgdRef.serviceName"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        description = "Replicas that exist",
        json_path = ".status.replicas"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        description = "Time since it was created",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct DynamoGraphDeploymentScalingAdapterSpec {
    /// How many there should be.
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// Of what.
    #[x_kube(validation = Rule::new("self == oldSelf").message(
        "dgdRef cannot change: make another adapter for another component"
    ))]
    pub dgd_ref: GraphServiceReference,
}

/// A component of a graph in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphServiceReference {
    /// Name of the DynamoGraphDeployment.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of the component in the graph's `services`.
    #[schemars(length(min = 1, max = 253))]
    pub service_name: String,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DynamoGraphDeploymentScalingAdapterStatus {
    /// Replicas that exist.
    pub replicas: i32,
    /// Label selector of the component's pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// When `spec.replicas` last took effect with another value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Time>,
}
