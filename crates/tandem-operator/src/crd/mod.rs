//! The custom resources that the operator understands, as NVIDIA Dynamo's users write them
//! (`nvidia.com/v1alpha1`). Their definitions are made from these types.

mod component;
mod free_form;
mod graph;
mod scaling_adapter;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde::Serialize;
use tandem_runtime::discovery::DynamoWorkerMetadata;

pub use component::{
    Autoscaling, BackendFramework, ComponentSpec, DynamoComponentDeployment,
    DynamoComponentDeploymentSpec, DynamoComponentDeploymentStatus, ExtraPodMetadata, IngressSpec,
    IngressTls, ModelReference, MountedPvc, Multinode, Pvc, Resources, ScalingAdapterSwitch,
    SharedMemory, VolumeMount,
};
pub use free_form::{ExtraPodSpec, ResourceItem};
pub use graph::{
    DynamoGraphDeployment, DynamoGraphDeploymentSpec, DynamoGraphDeploymentStatus, Restart,
    RestartOrder, RestartPhase, RestartStatus, RestartStrategy, ServiceStatus, State,
};
pub use scaling_adapter::{
    DynamoGraphDeploymentScalingAdapter, DynamoGraphDeploymentScalingAdapterSpec,
    DynamoGraphDeploymentScalingAdapterStatus, GraphServiceReference,
};

/// A definition as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionFile {
    /// Name of the file: group and plural of the kind.
    pub name: String,
    /// The definition in YAML.
    pub text: String,
}

/// The definitions of all custom resources, and of the one by which the pods of a graph find each
/// other.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        DynamoGraphDeployment::crd(),
        DynamoComponentDeployment::crd(),
        DynamoGraphDeploymentScalingAdapter::crd(),
        DynamoWorkerMetadata::crd(),
    ]
}

/// The definitions as files that Kubernetes accepts.
pub fn definition_files() -> Vec<DefinitionFile> {
    definitions().iter().map(file).collect()
}

fn file(definition: &CustomResourceDefinition) -> DefinitionFile {
    let spec = &definition.spec;
    DefinitionFile {
        name: format!("{}_{}.yaml", spec.group, spec.names.plural),
        text: yaml(definition),
    }
}

fn yaml(value: &impl Serialize) -> String {
    serde_saphyr::to_string(value).expect("a definition is a tree of maps with string keys")
}
