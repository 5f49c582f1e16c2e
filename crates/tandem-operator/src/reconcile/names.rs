//! Labels and annotations that Dynamo's tools know.

/// Who made an object. Only objects with it are watched.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`], and the name under which the operator owns fields.
pub const OPERATOR: &str = "tandem-operator";
/// What a component is, for people who list pods.
pub(crate) const PART: &str = "app.kubernetes.io/component";

/// The graph that an object belongs to.
pub const GRAPH: &str = "nvidia.com/dynamo-graph-deployment-name";
/// What Deployments and Services select pods by.
pub const SELECTOR: &str = "nvidia.com/selector";
pub(crate) const COMPONENT: &str = "nvidia.com/dynamo-component";
pub(crate) const COMPONENT_TYPE: &str = "nvidia.com/dynamo-component-type";
pub(crate) const SUB_COMPONENT_TYPE: &str = "nvidia.com/dynamo-sub-component-type";
pub(crate) const NAMESPACE: &str = "nvidia.com/dynamo-namespace";
pub(crate) const METRICS_ENABLED: &str = "nvidia.com/metrics-enabled";
pub(crate) const BASE_MODEL: &str = "nvidia.com/dynamo-base-model";
pub(crate) const BASE_MODEL_HASH: &str = "nvidia.com/dynamo-base-model-hash";
/// Which pod of a replica on several nodes leads.
pub(crate) const NODE_ROLE: &str = "nvidia.com/dynamo-node-role";
/// On Services and pods that discovery looks at.
pub(crate) const DISCOVERY_ENABLED: &str = "nvidia.com/dynamo-discovery-enabled";
/// Where processes find each other: a label of Services, and an annotation of graphs.
pub(crate) const DISCOVERY_BACKEND: &str = "nvidia.com/dynamo-discovery-backend";

/// On graphs: `false` hides pods from monitors.
pub(crate) const ENABLE_METRICS: &str = "nvidia.com/enable-metrics";
/// On graphs: `true` keeps the operator from naming image pull secrets.
pub(crate) const NO_PULL_SECRETS: &str = "nvidia.com/disable-image-pull-secret-discovery";
/// On graphs and components: `RollingUpdate` or `Recreate`.
pub(crate) const STRATEGY: &str = "nvidia.com/deployment-strategy";
/// On graphs and components: pods more than asked for while pods are replaced.
pub(crate) const MAX_SURGE: &str = "nvidia.com/deployment-rolling-update-max-surge";
/// On graphs and components: pods fewer than asked for while pods are replaced.
pub(crate) const MAX_UNAVAILABLE: &str = "nvidia.com/deployment-rolling-update-max-unavailable";

/// On pods: the restart that made them.
pub const RESTART: &str = "nvidia.com/restart-id";
