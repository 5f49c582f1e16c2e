//! Carries out a plan: makes objects as they should be, and removes those that nothing asks for.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, ValidationDirective,
};
use kube::{Client, Error};
use serde_json::{Value, json};
use tracing::{debug, info};

use super::cache::{Applied, Cache, Seen};
use crate::metrics::{Metrics, Verb};
use crate::reconcile::{DesiredObject, Failure, ObjectKey, ObjectKind, ObservedWorkload, names};

/// On objects: what the operator applied last, so that one that restarts knows it.
const APPLIED: &str = "nvidia.com/tandem-applied";
/// Owns the replicas of a Deployment that an autoscaler takes over.
const REPLICAS: &str = "tandem-operator-replicas";

/// Writes objects.
pub(super) struct Applier {
    client: Client,
    metrics: Metrics,
    cache: Arc<Cache>,
}

/// What came of an object.
pub(super) enum Written {
    /// It was as it should be.
    Unchanged,
    /// It is now.
    Applied {
        /// Whether it did not exist.
        created: bool,
        /// What it looks like.
        seen: Option<Seen>,
    },
    /// It waits for another.
    Waiting,
    /// Somebody else made one of this name, which serves as well.
    Foreign,
    /// The API server refused.
    Refused(Failure),
}

impl Applier {
    pub(super) fn new(client: Client, metrics: Metrics, cache: Arc<Cache>) -> Self {
        Self {
            client,
            metrics,
            cache,
        }
    }

    fn api(&self, namespace: &str, kind: ObjectKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }

    /// Makes `object` of `owner` as it should be. `owned` is what the owner's objects look like.
    ///
    /// # Errors
    /// The API server cannot be asked at all.
    pub(super) async fn apply(
        &self,
        namespace: &str,
        object: &DesiredObject,
        owner: &OwnerReference,
        owned: &BTreeMap<ObjectKey, Seen>,
    ) -> Result<Written, Error> {
        let key = &object.key;
        let seen = owned.get(key);
        let place = (namespace.to_owned(), key.clone());
        let (value, desired) = complete(object, owner);
        let known = self.cache.applied(&place);
        if let (Some(known), Some(seen)) = (known, seen)
            && known.desired == desired
            && known.fingerprint == seen.fingerprint
        {
            return Ok(Written::Unchanged);
        }
        let api = self.api(namespace, key.kind);
        let mut created = false;
        if seen.is_none() {
            match api.get_opt(&key.name).await {
                Ok(None) => created = true,
                Ok(Some(found)) if is_ours(&found, owner) => {}
                Ok(Some(_)) => return Ok(foreign(key)),
                Err(error) => return self.refused(key, error),
            }
        }
        if !created && !object.after.is_empty() && waits(&api, object, desired, owned).await {
            return Ok(Written::Waiting);
        }
        if let Some(workload) = seen.and_then(|seen| seen.workload.as_ref())
            && object.is_scaled_elsewhere()
        {
            hand_replicas_over(&api, object, workload).await;
        }
        let parameters = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply(names::OPERATOR).force()
        };
        let result = api
            .patch(&key.name, &parameters, &Patch::Apply(&value))
            .await;
        let applied = match result {
            Ok(applied) => applied,
            Err(error) => return self.refused(key, error),
        };
        self.metrics.count_write(key.kind.name(), Verb::apply);
        let seen = look(key.kind, &applied);
        if let Some(seen) = &seen {
            let applied = Applied {
                desired,
                fingerprint: seen.fingerprint,
            };
            self.cache.set_applied(place, applied);
        }
        Ok(Written::Applied { created, seen })
    }

    /// What the API server said about one object is a failure of that object; that it does not
    /// answer is one of all.
    fn refused(&self, key: &ObjectKey, error: Error) -> Result<Written, Error> {
        let Error::Api(status) = &error else {
            return Err(error);
        };
        if status.code == 429 || status.code >= 500 {
            return Err(error);
        }
        self.metrics.count_write(key.kind.name(), Verb::refused);
        Ok(Written::Refused(Failure {
            key: key.clone(),
            reason: status.message.clone(),
            is_final: status.code != 409,
        }))
    }

    /// Removes what nothing asks for, unless it was replaced meanwhile. Whether it is gone.
    ///
    /// # Errors
    /// The API server refuses, or cannot be asked.
    pub(super) async fn delete(
        &self,
        namespace: &str,
        key: &ObjectKey,
        uid: &str,
    ) -> Result<bool, Error> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        match self
            .api(namespace, key.kind)
            .delete(&key.name, &parameters)
            .await
        {
            Ok(_) => {
                self.metrics.count_write(key.kind.name(), Verb::delete);
                info!(namespace, object = %key, "removed an object that nothing asks for");
                Ok(true)
            }
            Err(Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The object with its owner and a mark of what it is.
fn complete(object: &DesiredObject, owner: &OwnerReference) -> (Value, u64) {
    let mut value = object.value.clone();
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    owner.uid.hash(&mut hasher);
    let desired = hasher.finish();
    value["metadata"]["ownerReferences"] = json!([owner]);
    value["metadata"]["annotations"][APPLIED] = json!(format!("{desired:016x}"));
    (value, desired)
}

/// Whether the operator made `found` for `owner`, and just has not seen it yet or lost its label.
fn is_ours(found: &DynamicObject, owner: &OwnerReference) -> bool {
    let mut owners = found.metadata.owner_references.iter().flatten();
    owners.any(|other| other.uid == owner.uid)
}

/// A Service or claim that somebody made by hand does what ours would; pods are never taken over.
fn foreign(key: &ObjectKey) -> Written {
    if matches!(
        key.kind,
        ObjectKind::Service | ObjectKind::PersistentVolumeClaim
    ) {
        return Written::Foreign;
    }
    Written::Refused(Failure {
        key: key.clone(),
        reason: "it exists and was made by somebody else; delete it, or rename the component"
            .to_owned(),
        is_final: true,
    })
}

/// Whether `object` differs from what was applied while others that come first are not ready.
async fn waits(
    api: &Api<DynamicObject>,
    object: &DesiredObject,
    desired: u64,
    owned: &BTreeMap<ObjectKey, Seen>,
) -> bool {
    let ready = object.after.iter().all(|key| {
        let workload = owned.get(key).and_then(|seen| seen.workload.as_ref());
        workload.is_some_and(ObservedWorkload::is_ready)
    });
    if ready {
        return false;
    }
    let found = api.get_metadata_opt(&object.key.name).await;
    let annotations = found
        .ok()
        .flatten()
        .and_then(|found| found.metadata.annotations);
    let applied = annotations.and_then(|annotations| annotations.get(APPLIED).cloned());
    applied.is_some_and(|applied| applied != format!("{desired:016x}"))
}

/// Keeps the number of replicas when the operator stops saying it: a field that nobody owns any
/// more falls back to its default, which would be one.
async fn hand_replicas_over(
    api: &Api<DynamicObject>,
    object: &DesiredObject,
    workload: &ObservedWorkload,
) {
    let value = json!({
        "apiVersion": object.key.kind.api_version(),
        "kind": object.key.kind.name(),
        "metadata": {"name": object.key.name},
        "spec": {"replicas": workload.wanted},
    });
    let parameters = PatchParams::apply(REPLICAS);
    // A conflict says that the autoscaler owns them already.
    if let Err(error) = api
        .patch(&object.key.name, &parameters, &Patch::Apply(&value))
        .await
    {
        debug!(object = %object.key, %error, "left the replicas to their owner");
    }
}

fn look(kind: ObjectKind, object: &DynamicObject) -> Option<Seen> {
    let workload = kind.is_workload().then(|| {
        let mut value = object.data.clone();
        value["metadata"] = json!({"generation": object.metadata.generation});
        ObservedWorkload::new(kind, &value)
    });
    Seen::new(&object.metadata, workload)
}

/// What is known of workloads, by object.
pub(super) fn workloads(
    owned: &BTreeMap<ObjectKey, Seen>,
) -> BTreeMap<ObjectKey, ObservedWorkload> {
    let workloads = owned
        .iter()
        .filter_map(|(key, seen)| Some((key.clone(), seen.workload.clone()?)));
    workloads.collect()
}
