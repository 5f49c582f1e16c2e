//! Scaling the services of a graph deployment in Kubernetes: through its scaling adapters where it
//! has them, or else in the graph itself.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::{Value, json};

use super::graph::Graph;
use super::{ApplyError, PerRole, Role, Standing};

/// Who writes, for the API's records.
const FIELD_MANAGER: &str = "tandem-planner";

/// A graph deployment.
pub struct Kubernetes {
    graphs: Api<DynamicObject>,
    adapters: Api<DynamicObject>,
    graph: String,
    /// Which roles are planned.
    planned: PerRole<bool>,
}

impl Kubernetes {
    /// The graph deployment `graph` in `namespace`, or else in the one that this pod, or the current
    /// context of the user's configuration, is in.
    ///
    /// # Errors
    /// There is neither a service account nor a configuration.
    pub async fn connect(
        namespace: Option<&str>,
        graph: &str,
        planned: PerRole<bool>,
    ) -> Result<Self, ApplyError> {
        let client = Client::try_default().await;
        let client = client.map_err(|error| failed("find the Kubernetes API".to_owned(), error))?;
        let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
        Ok(Self::new(client, &namespace, graph, planned))
    }

    /// The graph deployment `graph` in `namespace`.
    pub fn new(client: Client, namespace: &str, graph: &str, planned: PerRole<bool>) -> Self {
        let resource = |kind: &str, plural: &str| {
            let kind = GroupVersionKind::gvk("nvidia.com", "v1alpha1", kind);
            ApiResource::from_gvk_with_plural(&kind, plural)
        };
        let graphs = resource("DynamoGraphDeployment", "dynamographdeployments");
        let adapters = resource(
            "DynamoGraphDeploymentScalingAdapter",
            "dynamographdeploymentscalingadapters",
        );
        Self {
            graphs: Api::namespaced_with(client.clone(), namespace, &graphs),
            adapters: Api::namespaced_with(client, namespace, &adapters),
            graph: graph.to_owned(),
            planned,
        }
    }

    pub(super) async fn standing(&self) -> Result<Standing, ApplyError> {
        let graph = self.read().await?;
        let graph = Graph(&graph);
        let service = |role: Role| {
            self.planned
                .get(role)
                .then(|| self.service(graph, role))
                .transpose()
        };
        let services = PerRole {
            prefill: service(Role::Prefill)?,
            decode: service(Role::Decode)?,
        };
        Ok(graph.standing(services))
    }

    pub(super) async fn scale(&self, changes: &[(Role, u32)]) -> Result<(), ApplyError> {
        let graph = self.read().await?;
        for &(role, replicas) in changes {
            let service = self.service(Graph(&graph), role)?;
            self.scale_service(service, replicas).await?;
        }
        Ok(())
    }

    async fn scale_service(&self, service: &str, replicas: u32) -> Result<(), ApplyError> {
        let adapter = format!("{}-{}", self.graph, service.to_lowercase());
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        match self.adapters.patch_scale(&adapter, &params, &patch).await {
            Ok(_) => return Ok(()),
            // There is no such adapter, or no such kind.
            Err(Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(failed(format!("scale adapter {adapter}"), error)),
        }
        let patch = Patch::Merge(json!({"spec": {"services": {service: {"replicas": replicas}}}}));
        let patched = self.graphs.patch(&self.graph, &params, &patch).await;
        let action = || format!("scale service {service} of graph {}", self.graph);
        patched.map(drop).map_err(|error| failed(action(), error))
    }

    async fn read(&self) -> Result<Value, ApplyError> {
        let graph = self.graphs.get(&self.graph).await;
        let graph = graph.map_err(|error| failed(format!("read graph {}", self.graph), error))?;
        Ok(graph.data)
    }

    fn service<'a>(&self, graph: Graph<'a>, role: Role) -> Result<&'a str, ApplyError> {
        graph.service(role).map_err(|reason| ApplyError::Graph {
            graph: self.graph.clone(),
            role,
            reason,
        })
    }
}

fn failed(action: String, error: Error) -> ApplyError {
    ApplyError::Kubernetes {
        action,
        source: Box::new(error),
    }
}
