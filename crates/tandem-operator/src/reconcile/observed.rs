//! What a workload says about itself, reduced to what decisions need.

use serde_json::Value;

use super::names;
use super::object::ObjectKind;

/// How far a Deployment, StatefulSet or LeaderWorkerSet has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedWorkload {
    /// Replicas that it is asked for.
    pub wanted: i32,
    /// Replicas that exist, old ones too.
    pub replicas: i32,
    /// Replicas that run what it is asked for.
    pub updated: i32,
    /// Replicas whose pods are ready.
    pub ready: i32,
    /// Replicas that can be counted on.
    pub available: i32,
    /// Whether the numbers are about what it is asked for now.
    pub is_current: bool,
    /// The restart that its pods belong to.
    pub restart: Option<String>,
    /// Why it does not get on.
    pub stuck: Option<String>,
}

impl ObservedWorkload {
    /// Reads it from an object of `kind`.
    pub fn new(kind: ObjectKind, object: &Value) -> Self {
        let (spec, status) = (&object["spec"], &object["status"]);
        let number = |name: &str| {
            let number = status[name].as_i64().unwrap_or_default();
            i32::try_from(number).unwrap_or(i32::MAX)
        };
        let template = match kind {
            ObjectKind::LeaderWorkerSet => &spec["leaderWorkerTemplate"]["leaderTemplate"],
            _ => &spec["template"],
        };
        let restart = &template["metadata"]["annotations"][names::RESTART];
        let generation = object["metadata"]["generation"]
            .as_i64()
            .unwrap_or_default();
        // Older LeaderWorkerSets do not say which generation they tell about.
        let silent = kind == ObjectKind::LeaderWorkerSet && status["observedGeneration"].is_null();
        let seen = silent || status["observedGeneration"].as_i64().unwrap_or(-1) >= generation;
        // A StatefulSet is through when its revisions are one.
        let same_revision = kind != ObjectKind::StatefulSet
            || status["updateRevision"] == status["currentRevision"];
        let ready = number("readyReplicas");
        let is_statefulset = kind == ObjectKind::StatefulSet;
        Self {
            wanted: spec["replicas"]
                .as_i64()
                .and_then(|number| number.try_into().ok())
                .unwrap_or(1),
            replicas: number("replicas"),
            updated: if is_statefulset && same_revision {
                number("replicas")
            } else {
                number("updatedReplicas")
            },
            ready,
            available: if kind == ObjectKind::Deployment {
                number("availableReplicas")
            } else {
                ready
            },
            is_current: seen && same_revision,
            restart: restart.as_str().map(str::to_owned),
            stuck: stuck(status),
        }
    }

    /// Whether all replicas that it is asked for serve, and no old one is left.
    pub fn is_ready(&self) -> bool {
        self.is_current
            && self.updated == self.wanted
            && self.replicas == self.wanted
            && self.available >= self.wanted
    }

    /// What is missing, for people.
    pub(super) fn missing(&self) -> String {
        if !self.is_current {
            return "its controller has not seen the last change yet".to_owned();
        }
        let Self {
            wanted,
            updated,
            available,
            replicas,
            ..
        } = self;
        if updated < wanted {
            format!("{updated} of {wanted} replicas are up to date")
        } else if available < wanted {
            format!("{available} of {wanted} replicas are available")
        } else {
            format!("{} old replicas are still there", replicas - wanted)
        }
    }
}

/// The message of the condition that says that a Deployment does not get on.
fn stuck(status: &Value) -> Option<String> {
    let conditions = status["conditions"].as_array()?;
    let late = conditions.iter().find(|condition| {
        condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded"
    });
    let refused = conditions
        .iter()
        .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True");
    // That pods are refused, by a quota for example, explains the rest.
    let condition = refused.or(late)?;
    Some(
        condition["message"]
            .as_str()
            .unwrap_or("it does not get on")
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(kind: ObjectKind, object: &Value, expected: bool) {
        assert_eq!(
            ObservedWorkload::new(kind, object).is_ready(),
            expected,
            "{object}"
        );
    }

    #[test]
    fn ready_means_that_no_old_replica_is_counted() {
        let deployment = |observed: i64, replicas: i64, updated: i64, available: i64| {
            json!({
                "metadata": {"generation": 3}, "spec": {"replicas": 2},
                "status": {
                    "observedGeneration": observed, "replicas": replicas,
                    "updatedReplicas": updated, "availableReplicas": available,
                },
            })
        };
        check(ObjectKind::Deployment, &deployment(3, 2, 2, 2), true);
        // The status is about an earlier change.
        check(ObjectKind::Deployment, &deployment(2, 2, 2, 2), false);
        // Old pods serve while the new ones do not.
        check(ObjectKind::Deployment, &deployment(3, 3, 1, 2), false);
        check(ObjectKind::Deployment, &deployment(3, 3, 2, 3), false);
        check(
            ObjectKind::Deployment,
            &json!({"metadata": {"generation": 1}, "spec": {}}),
            false,
        );
    }

    #[test]
    fn a_stateful_set_is_through_when_its_revisions_are_one() {
        let set = |current: &str| {
            json!({
                "metadata": {"generation": 1}, "spec": {"replicas": 1},
                "status": {
                    "observedGeneration": 1, "replicas": 1, "readyReplicas": 1,
                    "updatedReplicas": 1, "currentRevision": current, "updateRevision": "b",
                },
            })
        };
        check(ObjectKind::StatefulSet, &set("b"), true);
        check(ObjectKind::StatefulSet, &set("a"), false);
    }

    #[test]
    fn refused_pods_are_the_reason_that_is_told() {
        let object = json!({"status": {"conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"},
            {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"},
        ]}});
        let observed = ObservedWorkload::new(ObjectKind::Deployment, &object);
        assert_eq!(observed.stuck.as_deref(), Some("exceeded quota"));
    }
}
