//! Objects that the operator makes, as the JSON that it applies.

use std::fmt;

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// Kinds that the operator makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// Identity of pods.
    ServiceAccount,
    /// What pods may ask the API server.
    Role,
    /// Who may.
    RoleBinding,
    /// Storage.
    PersistentVolumeClaim,
    /// Name and port of pods.
    Service,
    /// Pods, of which all are alike.
    Deployment,
    /// Pods with names, for replicas on several nodes.
    StatefulSet,
    /// Groups of pods, for replicas on several nodes.
    LeaderWorkerSet,
    /// Scales a Deployment.
    HorizontalPodAutoscaler,
    /// Reachable from outside.
    Ingress,
    /// The same through Istio.
    VirtualService,
}

impl ObjectKind {
    /// All of them, in the order in which they are applied.
    pub const ALL: [Self; 11] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::PersistentVolumeClaim,
        Self::Service,
        Self::Deployment,
        Self::StatefulSet,
        Self::LeaderWorkerSet,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::VirtualService,
    ];

    /// Group, version, kind and plural.
    const fn parts(self) -> [&'static str; 4] {
        match self {
            Self::ServiceAccount => ["", "v1", "ServiceAccount", "serviceaccounts"],
            Self::Role => ["rbac.authorization.k8s.io", "v1", "Role", "roles"],
            Self::RoleBinding => [
                "rbac.authorization.k8s.io",
                "v1",
                "RoleBinding",
                "rolebindings",
            ],
            Self::PersistentVolumeClaim => {
                ["", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"]
            }
            Self::Service => ["", "v1", "Service", "services"],
            Self::Deployment => ["apps", "v1", "Deployment", "deployments"],
            Self::StatefulSet => ["apps", "v1", "StatefulSet", "statefulsets"],
            Self::LeaderWorkerSet => [
                "leaderworkerset.x-k8s.io",
                "v1",
                "LeaderWorkerSet",
                "leaderworkersets",
            ],
            Self::HorizontalPodAutoscaler => [
                "autoscaling",
                "v2",
                "HorizontalPodAutoscaler",
                "horizontalpodautoscalers",
            ],
            Self::Ingress => ["networking.k8s.io", "v1", "Ingress", "ingresses"],
            Self::VirtualService => [
                "networking.istio.io",
                "v1beta1",
                "VirtualService",
                "virtualservices",
            ],
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.parts()[2]
    }

    /// Its API group.
    pub const fn group(self) -> &'static str {
        self.parts()[0]
    }

    /// Group and version, as in `apiVersion`.
    pub fn api_version(self) -> String {
        let [group, version, ..] = self.parts();
        if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        }
    }

    /// How the API server calls it.
    pub fn resource(self) -> ApiResource {
        let [group, version, kind, plural] = self.parts();
        let kind = GroupVersionKind::gvk(group, version, kind);
        ApiResource::from_gvk_with_plural(&kind, plural)
    }

    /// Whether its pods serve.
    pub const fn is_workload(self) -> bool {
        matches!(
            self,
            Self::Deployment | Self::StatefulSet | Self::LeaderWorkerSet
        )
    }

    /// Whether the API server may lack it.
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::LeaderWorkerSet | Self::VirtualService)
    }

    /// Whether it goes when a graph no longer asks for it. Storage holds data that an edit must
    /// not destroy: it goes with the graph only.
    pub const fn is_pruned(self) -> bool {
        !matches!(self, Self::PersistentVolumeClaim)
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Kind and name of an object; its namespace is that of its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.name)
    }
}

/// An object as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredObject {
    /// Kind and name.
    pub key: ObjectKey,
    /// The component that it is for, as the graph calls it.
    pub service: Option<String>,
    /// What is applied, but for the owner.
    pub value: Value,
    /// Workloads that have to be ready and as they should be before this one is changed.
    pub after: Vec<ObjectKey>,
}

impl DesiredObject {
    /// Whether something else says how many replicas it has.
    pub fn is_scaled_elsewhere(&self) -> bool {
        self.key.kind == ObjectKind::Deployment && self.value["spec"].get("replicas").is_none()
    }
}
