//! Parts of a resource that Kubernetes or somebody else defines: kept as they were written, so
//! that fields of later versions reach the objects that they are for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An object with any members.
pub(super) fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// A list of objects with any members.
pub(super) fn objects(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": object(generator) })
}

/// What a pod of a component has besides what the operator puts in it: the fields of a pod
/// (`core/v1` `PodSpec`), and its main container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraPodSpec {
    /// Fields of `core/v1` `Container` for the container that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_container: Option<Map<String, Value>>,
    /// Fields of `core/v1` `PodSpec`.
    #[serde(flatten)]
    pub pod: Map<String, Value>,
}

impl JsonSchema for ExtraPodSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ExtraPodSpec".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Fields of a pod (core/v1 PodSpec), merged over what the operator \
                            would write; `mainContainer` holds those of the container that serves.",
            "properties": {
                "mainContainer": {
                    "type": "object",
                    "description": "Fields of a container (core/v1 Container) for the one that \
                                    serves: image, command, args, env, ports, probes.",
                    "nullable": true,
                    "x-kubernetes-preserve-unknown-fields": true,
                },
            },
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }
}

/// How much of each resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceItem {
    /// CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// GPUs, of the type `gpuType`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Quantity>,
    /// Resource name of the GPUs; `nvidia.com/gpu` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_type: Option<String>,
    /// Other resources by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, Quantity>,
    /// Other resources, written beside the known ones.
    #[serde(flatten)]
    pub other: BTreeMap<String, Quantity>,
}

impl JsonSchema for ResourceItem {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ResourceItem".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let quantity = |description: &str| {
            json_schema!({
                "description": description,
                "nullable": true,
                "x-kubernetes-int-or-string": true,
            })
        };
        json_schema!({
            "type": "object",
            "properties": {
                "cpu": quantity("CPUs."),
                "memory": quantity("Bytes of memory."),
                "gpu": quantity("GPUs, of the type `gpuType`."),
                "gpuType": {
                    "type": "string",
                    "description": "Resource name of the GPUs; `nvidia.com/gpu` without it.",
                    "nullable": true,
                },
                "custom": {
                    "type": "object",
                    "description": "Other resources by name.",
                    "additionalProperties": { "x-kubernetes-int-or-string": true },
                },
            },
            // A resource by its full name, as pods have it.
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }
}
