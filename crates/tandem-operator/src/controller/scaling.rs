//! Scaling adapters of a graph: makes those that it asks for, and tells each how many replicas
//! there are.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::json;

use super::cache::Adapter;
use super::reconciler::ReconcileError;
use crate::crd::{
    DynamoGraphDeploymentScalingAdapter, DynamoGraphDeploymentScalingAdapterSpec,
    DynamoGraphDeploymentScalingAdapterStatus, GraphServiceReference,
};
use crate::reconcile::{ObjectKey, ObservedWorkload, Plan, PlannedComponent, names};

/// The adapters of one graph.
pub(super) struct Scaling<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) owner: &'a OwnerReference,
    pub(super) plan: &'a Plan,
    pub(super) adapters: &'a BTreeMap<String, Adapter>,
}

type Workloads = BTreeMap<ObjectKey, ObservedWorkload>;

impl Scaling<'_> {
    /// Brings the adapters up to date; what was scaled, for people.
    pub(super) async fn follow(
        &self,
        before: &Workloads,
        now: &Workloads,
    ) -> Result<Vec<String>, ReconcileError> {
        for (service, replicas) in &self.plan.adapters {
            if !self.adapters.contains_key(service) {
                self.create(service, *replicas).await?;
            }
        }
        let mut notes = Vec::new();
        for (service, adapter) in self.adapters {
            if adapter.is_ours && !self.plan.adapters.contains_key(service) {
                self.delete(&adapter.name).await?;
                continue;
            }
            let component = self
                .plan
                .components
                .iter()
                .find(|component| component.service == *service);
            let Some(component) = component else {
                continue;
            };
            let wanted = |workloads: &Workloads| {
                let first = component
                    .workloads
                    .first()
                    .and_then(|key| workloads.get(key));
                first.map(|workload| workload.wanted)
            };
            let (was, is) = (wanted(before), wanted(now));
            let scaled = was.is_some() && was != is;
            if let (Some(was), Some(is), true) = (was, is, scaled) {
                notes.push(format!("scaled {service} from {was} to {is} replicas"));
            }
            self.tell(adapter, component, now, scaled).await?;
        }
        Ok(notes)
    }

    fn api(&self) -> Api<DynamoGraphDeploymentScalingAdapter> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    async fn create(&self, service: &str, replicas: i32) -> Result<(), ReconcileError> {
        let component = self
            .plan
            .components
            .iter()
            .find(|component| component.service == *service);
        let Some(component) = component else {
            return Ok(());
        };
        let labels = [
            (names::MANAGED_BY, names::OPERATOR),
            (names::GRAPH, &self.owner.name),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let adapter = DynamoGraphDeploymentScalingAdapter {
            metadata: ObjectMeta {
                name: Some(component.name.clone()),
                labels: Some(BTreeMap::from(labels)),
                owner_references: Some(vec![self.owner.clone()]),
                ..ObjectMeta::default()
            },
            spec: DynamoGraphDeploymentScalingAdapterSpec {
                replicas,
                dgd_ref: GraphServiceReference {
                    name: self.owner.name.clone(),
                    service_name: service.to_owned(),
                },
            },
            status: None,
        };
        match self.api().create(&PostParams::default(), &adapter).await {
            // It was not seen yet, and from now on it says how many replicas there are.
            Err(Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(ReconcileError::api("create a scaling adapter")(error)),
            Ok(_) => Ok(()),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), ReconcileError> {
        match self.api().delete(name, &DeleteParams::default()).await {
            Err(Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ReconcileError::api("delete a scaling adapter")(error)),
            Ok(_) => Ok(()),
        }
    }

    /// Writes the adapter's status, if it changed.
    async fn tell(
        &self,
        adapter: &Adapter,
        component: &PlannedComponent,
        now: &Workloads,
        scaled: bool,
    ) -> Result<(), ReconcileError> {
        let counted = component
            .workloads
            .iter()
            .filter(|key| !key.name.ends_with("-wkr"));
        let replicas = counted
            .filter_map(|key| now.get(key))
            .map(|workload| workload.replicas);
        let status = DynamoGraphDeploymentScalingAdapterStatus {
            replicas: replicas.sum(),
            selector: Some(component.selector()),
            last_scale_time: if scaled {
                Some(Time(Timestamp::now()))
            } else {
                adapter.status.last_scale_time.clone()
            },
        };
        if status == adapter.status {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"status": status}));
        let parameters = PatchParams::default();
        match self
            .api()
            .patch_status(&adapter.name, &parameters, &patch)
            .await
        {
            Err(Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ReconcileError::api("write the status of a scaling adapter")(error)),
            Ok(_) => Ok(()),
        }
    }
}
