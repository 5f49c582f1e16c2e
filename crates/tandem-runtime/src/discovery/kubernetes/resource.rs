//! The custom resource that a pod registers with, in the form of Dynamo 1.6.1.

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Label of the Services, and with them the EndpointSlices, whose pods are found.
pub const DISCOVERY_BACKEND_LABEL: &str = "nvidia.com/dynamo-discovery-backend";
/// Value of [`DISCOVERY_BACKEND_LABEL`].
pub const DISCOVERY_BACKEND: &str = "kubernetes";
/// Label that turns discovery on for a Service.
pub const DISCOVERY_ENABLED_LABEL: &str = "nvidia.com/dynamo-discovery-enabled";
/// Value of [`DISCOVERY_ENABLED_LABEL`].
pub const DISCOVERY_ENABLED: &str = "true";

/// What one pod has registered. The object has the pod's name, and the pod owns it.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "nvidia.com",
    version = "v1alpha1",
    kind = "DynamoWorkerMetadata",
    plural = "dynamoworkermetadatas",
    singular = "dynamoworkermetadata",
    namespaced,
    doc = "What one pod of a serving graph has registered, for the other pods to find"
)]
#[serde(rename_all = "camelCase")]
pub struct DynamoWorkerMetadataSpec {
    /// Registrations by kind: `endpoints`, `model_cards` and `event_channels`, each a map from a
    /// path such as `dynamo/backend/generate/1f` to a record.
    #[schemars(schema_with = "any_object")]
    pub data: serde_json::Value,
}

/// The API server keeps what it knows no schema for only where it is told to.
fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;

    #[test]
    fn the_definition_keeps_whatever_is_registered() {
        let definition = serde_json::to_value(DynamoWorkerMetadata::crd()).unwrap();
        let name = definition["metadata"]["name"].as_str();
        assert_eq!(name, Some("dynamoworkermetadatas.nvidia.com"));
        let version = &definition["spec"]["versions"][0];
        assert_eq!(version["name"], "v1alpha1");
        let schema = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert_eq!(schema["required"], serde_json::json!(["data"]));
        let data = &schema["properties"]["data"];
        assert_eq!(data["type"], "object");
        assert_eq!(data["x-kubernetes-preserve-unknown-fields"], true);
    }
}
