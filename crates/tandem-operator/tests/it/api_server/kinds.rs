//! The kinds that the server has.

use k8s_openapi::api::{apps, autoscaling, core, networking, rbac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tandem_operator::crd;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Graph,
    Component,
    Adapter,
    Deployment,
    StatefulSet,
    LeaderWorkerSet,
    Service,
    ServiceAccount,
    Role,
    RoleBinding,
    Claim,
    Ingress,
    Autoscaler,
    Lease,
    Event,
}

impl Kind {
    pub(crate) const ALL: [Self; 15] = [
        Self::Graph,
        Self::Component,
        Self::Adapter,
        Self::Deployment,
        Self::StatefulSet,
        Self::LeaderWorkerSet,
        Self::Service,
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::Claim,
        Self::Ingress,
        Self::Autoscaler,
        Self::Lease,
        Self::Event,
    ];

    /// `apiVersion`, kind and plural.
    pub(crate) const fn parts(self) -> [&'static str; 3] {
        match self {
            Self::Graph => [
                "nvidia.com/v1alpha1",
                "DynamoGraphDeployment",
                "dynamographdeployments",
            ],
            Self::Component => [
                "nvidia.com/v1alpha1",
                "DynamoComponentDeployment",
                "dynamocomponentdeployments",
            ],
            Self::Adapter => [
                "nvidia.com/v1alpha1",
                "DynamoGraphDeploymentScalingAdapter",
                "dynamographdeploymentscalingadapters",
            ],
            Self::Deployment => ["apps/v1", "Deployment", "deployments"],
            Self::StatefulSet => ["apps/v1", "StatefulSet", "statefulsets"],
            Self::LeaderWorkerSet => [
                "leaderworkerset.x-k8s.io/v1",
                "LeaderWorkerSet",
                "leaderworkersets",
            ],
            Self::Service => ["v1", "Service", "services"],
            Self::ServiceAccount => ["v1", "ServiceAccount", "serviceaccounts"],
            Self::Role => ["rbac.authorization.k8s.io/v1", "Role", "roles"],
            Self::RoleBinding => [
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                "rolebindings",
            ],
            Self::Claim => ["v1", "PersistentVolumeClaim", "persistentvolumeclaims"],
            Self::Ingress => ["networking.k8s.io/v1", "Ingress", "ingresses"],
            Self::Autoscaler => [
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                "horizontalpodautoscalers",
            ],
            Self::Lease => ["coordination.k8s.io/v1", "Lease", "leases"],
            Self::Event => ["events.k8s.io/v1", "Event", "events"],
        }
    }

    pub(crate) fn of(object: &Value) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let [version, name, _] = kind.parts();
            object["apiVersion"] == version && object["kind"] == name
        })
    }

    pub(crate) fn by_plural(version: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let [own, _, name] = kind.parts();
            own == version && name == plural
        })
    }

    /// Whether a write of the whole object leaves its status alone.
    pub(crate) const fn has_status(self) -> bool {
        !matches!(
            self,
            Self::ServiceAccount | Self::Role | Self::RoleBinding | Self::Lease | Self::Event
        )
    }

    /// Whether the server counts generations of it.
    pub(crate) const fn has_generation(self) -> bool {
        matches!(
            self,
            Self::Graph
                | Self::Component
                | Self::Adapter
                | Self::Deployment
                | Self::StatefulSet
                | Self::LeaderWorkerSet
                | Self::Ingress
        )
    }

    /// What is wrong with `object` for a server that knows the kind: wrong types, and fields that
    /// it would drop.
    pub(crate) fn check(self, object: &Value) -> Result<(), String> {
        match self {
            Self::Deployment => check::<apps::v1::Deployment>(object),
            Self::StatefulSet => check::<apps::v1::StatefulSet>(object),
            Self::Service => check::<core::v1::Service>(object),
            Self::ServiceAccount => check::<core::v1::ServiceAccount>(object),
            Self::Role => check::<rbac::v1::Role>(object),
            Self::RoleBinding => check::<rbac::v1::RoleBinding>(object),
            Self::Claim => check::<core::v1::PersistentVolumeClaim>(object),
            Self::Ingress => check::<networking::v1::Ingress>(object),
            Self::Autoscaler => check::<autoscaling::v2::HorizontalPodAutoscaler>(object),
            Self::Graph => check::<crd::DynamoGraphDeployment>(object),
            Self::Component => check::<crd::DynamoComponentDeployment>(object),
            Self::Adapter => check::<crd::DynamoGraphDeploymentScalingAdapter>(object),
            Self::LeaderWorkerSet | Self::Lease | Self::Event => Ok(()),
        }
    }
}

fn check<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let parsed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let kept = serde_json::to_value(parsed).map_err(|error| error.to_string())?;
    let mut dropped = Vec::new();
    compare("", object, &kept, &mut dropped);
    if dropped.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "strict decoding error: unknown fields {}",
            dropped.join(", ")
        ))
    }
}

/// Paths of `object` that `kept` lacks.
fn compare(path: &str, object: &Value, kept: &Value, dropped: &mut Vec<String>) {
    match (object, kept) {
        (Value::Object(object), Value::Object(kept)) => {
            for (name, value) in object {
                let path = format!("{path}.{name}");
                match kept.get(name) {
                    Some(kept) => compare(&path, value, kept, dropped),
                    None if is_empty(value) => {}
                    None => dropped.push(path),
                }
            }
        }
        (Value::Array(object), Value::Array(kept)) => {
            for (number, (value, kept)) in object.iter().zip(kept).enumerate() {
                compare(&format!("{path}[{number}]"), value, kept, dropped);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}
