//! One look at one resource: what it should be, what it is, and the writes in between.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Client, Error, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{debug, warn};

use super::apply::{Applier, Written, workloads};
use super::cache::{Adapter, Cache, Seen};
use super::events::{Events, Happening};
use super::scaling::Scaling;
use super::subject::{NewStatus, Subject, owner};
use crate::metrics::{self, Metrics};
use crate::reconcile::{Capabilities, Facts, Failure, ObjectKey, Outcome, Plan, Settings, names};

/// A resource is looked at again after this time though nothing happened.
const RESYNC: Duration = Duration::from_secs(600);
/// Pause before the first second try; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Pause after somebody else changed the resource meanwhile.
const CONFLICT_PAUSE: Duration = Duration::from_millis(500);

/// Why a resource has to be looked at again.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReconcileError {
    /// Some objects are not as they should be.
    #[error("{failures} objects could not be made as they should be")]
    Incomplete {
        /// How many.
        failures: usize,
    },
    /// The resource changed meanwhile.
    #[error("the resource changed meanwhile")]
    Conflict,
    /// The API server could not be asked.
    #[error("failed to {attempt}: {source}")]
    Api {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        source: Box<Error>,
    },
}

impl ReconcileError {
    pub(super) fn api(attempt: &'static str) -> impl Fn(Error) -> Self {
        move |error| match &error {
            Error::Api(status) if status.code == 409 => Self::Conflict,
            _ => Self::Api {
                attempt,
                source: Box::new(error),
            },
        }
    }
}

/// Failed tries in a row.
pub(super) struct Attempts {
    count: u32,
    last: Instant,
}

/// Everything that a look needs.
pub(super) struct Reconciler {
    pub(super) client: Client,
    pub(super) cache: Arc<Cache>,
    pub(super) applier: Applier,
    pub(super) events: Events,
    pub(super) settings: Settings,
    pub(super) capabilities: Capabilities,
    pub(super) metrics: Metrics,
    /// Failed tries, by the identity of the resource.
    pub(super) attempts: Mutex<HashMap<String, Attempts>>,
}

/// Looks at `resource` once.
pub(super) async fn reconcile<K>(
    resource: Arc<K>,
    reconciler: Arc<Reconciler>,
) -> Result<Action, ReconcileError>
where
    K: Subject + Resource<Scope = NamespaceResourceScope>,
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let began = Instant::now();
    reconciler.metrics.in_flight.inc();
    let result = reconciler.look(resource.as_ref()).await;
    reconciler.metrics.in_flight.dec();
    let outcome = match &result {
        Ok(Look::Valid) => metrics::Outcome::success,
        Ok(Look::Invalid) => metrics::Outcome::invalid,
        Err(ReconcileError::Incomplete { .. }) => metrics::Outcome::incomplete,
        Err(ReconcileError::Conflict) => metrics::Outcome::conflict,
        Err(ReconcileError::Api { .. }) => metrics::Outcome::error,
    };
    let seconds = began.elapsed().as_secs_f64();
    reconciler
        .metrics
        .count_reconcile(K::RESOURCE, outcome, seconds);
    result?;
    reconciler.forget_attempts(&resource.uid().unwrap_or_default());
    Ok(Action::requeue(RESYNC))
}

/// When to look again after `error`: later each time, unless somebody else was just quicker.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is that of the controller's error policy"
)]
pub(super) fn retry<K: Subject>(
    resource: Arc<K>,
    error: &ReconcileError,
    reconciler: Arc<Reconciler>,
) -> Action {
    let (namespace, name) = (resource.namespace(), resource.name_any());
    if matches!(error, ReconcileError::Conflict) {
        debug!(kind = %K::kind(&()), namespace, name, "looking again: it changed meanwhile");
        return Action::requeue(CONFLICT_PAUSE);
    }
    let now = Instant::now();
    let mut attempts = reconciler.attempts.lock();
    // Those of resources that are gone.
    attempts.retain(|_, attempts| now.duration_since(attempts.last) < 2 * LONGEST_PAUSE);
    let entry = attempts.entry(resource.uid().unwrap_or_default());
    let entry = entry.or_insert(Attempts {
        count: 0,
        last: now,
    });
    entry.count += 1;
    entry.last = now;
    let attempt = entry.count;
    let pause = pause(attempt);
    warn!(
        kind = %K::kind(&()), namespace, name, attempt, ?pause, %error,
        "failed to reconcile"
    );
    reconciler
        .metrics
        .retrying
        .set(i64::try_from(attempts.len()).unwrap_or(i64::MAX));
    Action::requeue(pause)
}

/// Pause after the failed try with this number, from one.
fn pause(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

enum Look {
    Valid,
    Invalid,
}

/// What was done to the objects of a resource.
#[derive(Default)]
struct Work {
    failures: Vec<Failure>,
    created: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
    foreign: Vec<String>,
}

impl Reconciler {
    async fn look<K>(&self, resource: &K) -> Result<Look, ReconcileError>
    where
        K: Subject + Resource<Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let uid = resource.uid().unwrap_or_default();
        let namespace = resource.namespace().unwrap_or_default();
        let mut owned = self.cache.owned(&uid);
        if resource.meta().deletion_timestamp.is_some() {
            // The garbage collector removes what it owns.
            self.forget_attempts(&uid);
            return Ok(Look::Valid);
        }
        let about = resource.object_ref(&());
        let adapters = match K::RESOURCE {
            metrics::Resource::graph => self.cache.adapters(&namespace, &resource.name_any()),
            metrics::Resource::component => BTreeMap::new(),
        };
        let mut facts = self.facts(&owned, &adapters);
        let plan = match resource.plan(&facts, &self.settings) {
            Ok(plan) => plan,
            Err(invalid) => {
                self.tell(
                    &about,
                    true,
                    "ValidationFailed",
                    "Validate",
                    invalid.to_string(),
                )
                .await;
                let status = resource.status(Err(&invalid), Timestamp::now());
                self.write_status(resource, status).await?;
                return Ok(Look::Invalid);
            }
        };
        let owner = owner(resource);
        let mut work = self
            .carry_out(&namespace, &plan, &owner, &mut owned)
            .await?;
        self.prune(&namespace, &plan, &owned, &mut work).await?;
        let before = std::mem::replace(&mut facts.workloads, workloads(&owned));
        let outcome = Outcome {
            plan: &plan,
            facts: &facts,
            failures: &work.failures,
        };
        let scaling = Scaling {
            client: &self.client,
            namespace: &namespace,
            owner: &owner,
            plan: &plan,
            adapters: &adapters,
        };
        for note in scaling.follow(&before, &facts.workloads).await? {
            self.tell(&about, false, "Scaled", "Scale", note).await;
        }
        self.tell_work(&about, &plan, &work).await;
        let status = resource.status(Ok(&outcome), Timestamp::now());
        let became_ready = status.as_ref().is_some_and(|status| status.became_ready);
        self.write_status(resource, status).await?;
        if became_ready {
            self.tell(
                &about,
                false,
                "Ready",
                "Observe",
                "all components serve".to_owned(),
            )
            .await;
        }
        match work.failures.len() {
            0 => Ok(Look::Valid),
            failures => Err(ReconcileError::Incomplete { failures }),
        }
    }

    fn facts(
        &self,
        owned: &BTreeMap<ObjectKey, Seen>,
        adapters: &BTreeMap<String, Adapter>,
    ) -> Facts {
        let replicas = adapters
            .iter()
            .map(|(service, adapter)| (service.clone(), adapter.replicas));
        Facts {
            workloads: workloads(owned),
            adapters: replicas.collect(),
            capabilities: self.capabilities,
        }
    }

    /// Applies the objects of `plan`. One that is refused does not stop the others.
    async fn carry_out(
        &self,
        namespace: &str,
        plan: &Plan,
        owner: &OwnerReference,
        owned: &mut BTreeMap<ObjectKey, Seen>,
    ) -> Result<Work, ReconcileError> {
        let mut work = Work::default();
        for object in &plan.objects {
            let written = self.applier.apply(namespace, object, owner, owned).await;
            match written.map_err(ReconcileError::api("apply an object"))? {
                Written::Unchanged | Written::Waiting => {}
                Written::Foreign => work.foreign.push(object.key.to_string()),
                Written::Refused(failure) => work.failures.push(failure),
                Written::Applied { created, seen: now } => {
                    let fingerprint = |seen: Option<&Seen>| seen.map(|seen| seen.fingerprint);
                    let before = fingerprint(owned.get(&object.key));
                    if created {
                        work.created.push(object.key.to_string());
                    } else if before != fingerprint(now.as_ref()) {
                        work.changed.push(object.key.to_string());
                    }
                    if let Some(now) = now {
                        owned.insert(object.key.clone(), now);
                    }
                }
            }
        }
        Ok(work)
    }

    /// Removes what `plan` no longer has. While something could not be made, what it may replace
    /// stays.
    async fn prune(
        &self,
        namespace: &str,
        plan: &Plan,
        owned: &BTreeMap<ObjectKey, Seen>,
        work: &mut Work,
    ) -> Result<(), ReconcileError> {
        if !work.failures.is_empty() {
            return Ok(());
        }
        for (key, seen) in owned {
            let wanted = plan.objects.iter().any(|object| object.key == *key);
            if wanted || !key.kind.is_pruned() {
                continue;
            }
            let removed = self.applier.delete(namespace, key, &seen.uid).await;
            if removed.map_err(ReconcileError::api("delete an object"))? {
                work.removed.push(key.to_string());
            }
        }
        Ok(())
    }

    /// Writes the status, unless the resource changed since it was read.
    async fn write_status<K>(
        &self,
        resource: &K,
        status: Option<NewStatus>,
    ) -> Result<(), ReconcileError>
    where
        K: Subject + Resource<Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let Some(status) = status else {
            return Ok(());
        };
        let namespace = resource.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let patch = Patch::Apply(json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {
                "name": resource.name_any(),
                "resourceVersion": resource.resource_version(),
            },
            "status": status.value,
        }));
        let parameters = PatchParams::apply(names::OPERATOR).force();
        let written = api
            .patch_status(&resource.name_any(), &parameters, &patch)
            .await;
        match written {
            // It is gone, and so is everybody who would read it.
            Err(Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ReconcileError::api("write the status")(error)),
            Ok(_) => Ok(()),
        }
    }

    async fn tell_work(&self, about: &ObjectReference, plan: &Plan, work: &Work) {
        let lists = [
            ("Created", "Create", "created", &work.created),
            ("Updated", "Update", "changed", &work.changed),
            ("Deleted", "Delete", "removed", &work.removed),
        ];
        for (reason, action, verb, objects) in lists {
            if !objects.is_empty() {
                let note = format!("{verb} {}", objects.join(", "));
                self.tell(about, false, reason, action, note).await;
            }
        }
        for failure in &work.failures {
            let note = format!("failed to apply {}: {}", failure.key, failure.reason);
            self.tell(about, true, "ApplyFailed", "Apply", note).await;
        }
        for object in &work.foreign {
            let note = format!("left {object} alone: it exists and was made by somebody else");
            self.tell(about, true, "NotOwned", "Apply", note).await;
        }
        if !plan.ignored.is_empty() {
            let note = format!("not acted on: {}", plan.ignored.join(", "));
            self.tell(about, true, "FieldIgnored", "Validate", note)
                .await;
        }
    }

    async fn tell(
        &self,
        about: &ObjectReference,
        is_warning: bool,
        reason: &'static str,
        action: &'static str,
        note: String,
    ) {
        let happening = Happening {
            is_warning,
            reason,
            action,
            note,
        };
        self.events.publish(about, happening).await;
    }

    fn forget_attempts(&self, uid: &str) {
        let mut attempts = self.attempts.lock();
        if attempts.remove(uid).is_some() {
            self.metrics
                .retrying
                .set(i64::try_from(attempts.len()).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = [1, 2, 3, 11, 100]
            .map(pause)
            .map(|pause| pause.as_secs_f64());
        assert_eq!(pauses, [0.5, 1.0, 2.0, 300.0, 300.0]);
    }
}
