//! The resources that objects are made for, and what each says about itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::crd::{DynamoComponentDeployment, DynamoGraphDeployment};
use crate::metrics;
use crate::reconcile::{
    Facts, Invalid, Outcome, Plan, Settings, component_status, graph_status, invalid_status,
    plan_component, plan_graph,
};

/// A resource that objects are made for.
pub(super) trait Subject: Resource<DynamicType = ()> + ResourceExt {
    /// As metrics call it.
    const RESOURCE: metrics::Resource;

    /// What it should be.
    fn plan(&self, facts: &Facts, settings: &Settings) -> Result<Plan, Invalid>;

    /// What it should say about itself; `None` if it says so already.
    fn status(&self, outcome: Result<&Outcome<'_>, &Invalid>, now: Timestamp) -> Option<NewStatus>;
}

/// A status that has to be written.
pub(super) struct NewStatus {
    pub(super) value: Value,
    /// Whether everything serves now that did not before.
    pub(super) became_ready: bool,
}

impl NewStatus {
    fn new<S: Serialize + PartialEq>(
        before: Option<&S>,
        after: &S,
        conditions: impl Fn(&S) -> &[Condition],
    ) -> Option<Self> {
        if before == Some(after) {
            return None;
        }
        let ready = |status: &S| {
            let mut ready = conditions(status).iter();
            ready.any(|condition| {
                ["Ready", "Available"].contains(&condition.type_.as_str())
                    && condition.status == "True"
            })
        };
        Some(Self {
            value: json!(after),
            became_ready: ready(after) && !before.is_some_and(ready),
        })
    }
}

impl Subject for DynamoGraphDeployment {
    const RESOURCE: metrics::Resource = metrics::Resource::graph;

    fn plan(&self, facts: &Facts, settings: &Settings) -> Result<Plan, Invalid> {
        plan_graph(self, facts, settings)
    }

    fn status(&self, outcome: Result<&Outcome<'_>, &Invalid>, now: Timestamp) -> Option<NewStatus> {
        let status = match outcome {
            Ok(outcome) => graph_status(self, outcome, now),
            Err(invalid) => invalid_status(self, invalid, now),
        };
        NewStatus::new(self.status.as_ref(), &status, |status| &status.conditions)
    }
}

impl Subject for DynamoComponentDeployment {
    const RESOURCE: metrics::Resource = metrics::Resource::component;

    fn plan(&self, facts: &Facts, settings: &Settings) -> Result<Plan, Invalid> {
        plan_component(self, facts, settings)
    }

    fn status(&self, outcome: Result<&Outcome<'_>, &Invalid>, now: Timestamp) -> Option<NewStatus> {
        let status = component_status(self, outcome, now);
        NewStatus::new(self.status.as_ref(), &status, |status| &status.conditions)
    }
}

/// Makes `resource` the owner of an object: it goes with it.
pub(super) fn owner<K: Subject>(resource: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: resource.name_any(),
        uid: resource.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
