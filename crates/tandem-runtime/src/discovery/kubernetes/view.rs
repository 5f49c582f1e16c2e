//! What the cluster says: which pods are ready, and what each has registered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use serde_json::Value;

use super::record;
use crate::discovery::snapshots::Entries;

/// The objects of one kind by name, kept up to date.
///
/// While everything is listed again, what is known stays as it was until the list is whole.
#[derive(Debug)]
pub(super) struct Objects<T> {
    /// `None` until they were listed for the first time.
    current: Option<BTreeMap<String, T>>,
    listed: BTreeMap<String, T>,
}

impl<T> Objects<T> {
    pub(super) const fn new() -> Self {
        Self {
            current: None,
            listed: BTreeMap::new(),
        }
    }

    /// Takes a change in; `read` makes of an object what is to be known of it.
    pub(super) fn take<K: ResourceExt>(&mut self, event: Event<K>, read: impl FnOnce(K) -> T) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                self.listed.insert(object.name_any(), read(object));
            }
            Event::InitDone => self.current = Some(std::mem::take(&mut self.listed)),
            Event::Apply(object) => {
                let name = object.name_any();
                self.current
                    .get_or_insert_default()
                    .insert(name, read(object));
            }
            Event::Delete(object) => {
                self.current
                    .get_or_insert_default()
                    .remove(&object.name_any());
            }
        }
    }

    /// The objects; `None` before they are known.
    pub(super) const fn current(&self) -> Option<&BTreeMap<String, T>> {
        self.current.as_ref()
    }
}

/// A pod that an EndpointSlice says to be ready.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReadyPod {
    name: String,
    uid: Option<String>,
}

/// The pods of a slice that are ready.
#[allow(clippy::needless_pass_by_value, reason = "read by Objects::take")]
pub(super) fn ready_pods(slice: EndpointSlice) -> BTreeSet<ReadyPod> {
    let ready = slice.endpoints.into_iter().flatten().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        // What is not said counts as ready: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
        conditions.and_then(|it| it.ready).unwrap_or(true)
    });
    let targets = ready.filter_map(|endpoint| endpoint.target_ref);
    let pods = targets.filter(|target| target.kind.as_deref() == Some("Pod"));
    pods.filter_map(|target| {
        Some(ReadyPod {
            name: target.name?,
            uid: target.uid,
        })
    })
    .collect()
}

/// What a pod has registered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Registration {
    /// Ids of the pods that own it.
    owners: Vec<String>,
    entries: Entries,
}

impl Registration {
    pub(super) fn read(mut object: DynamicObject) -> Self {
        let owners = object.metadata.owner_references.iter().flatten();
        let pods = owners.filter(|owner| owner.kind == "Pod");
        let owners = pods.map(|owner| owner.uid.clone()).collect();
        let data = object.data.pointer_mut("/spec/data").map(Value::take);
        let data = data.unwrap_or_default();
        Self {
            owners,
            entries: record::decode(&object.name_any(), data),
        }
    }
}

/// Everything that a process follows.
#[derive(Debug)]
pub(super) struct View {
    pub(super) slices: Objects<BTreeSet<ReadyPod>>,
    pub(super) registrations: Objects<Registration>,
}

impl View {
    pub(super) const fn new() -> Self {
        Self {
            slices: Objects::new(),
            registrations: Objects::new(),
        }
    }

    /// What can be seen now: the entries of pods that are ready, and those of this process, `own`,
    /// whose pod has the name `pod`. A process knows itself, so that it can become ready.
    pub(super) fn entries(&self, pod: &str, own: &Arc<Entries>) -> Arc<Entries> {
        let (Some(slices), Some(registrations)) =
            (self.slices.current(), self.registrations.current())
        else {
            return Arc::clone(own);
        };
        let ready: BTreeSet<&ReadyPod> = slices.values().flatten().collect();
        let mut seen = Entries::new();
        for ReadyPod { name, uid } in ready {
            let Some(registration) = registrations.get(name).filter(|_| name != pod) else {
                continue;
            };
            // It may be left from an earlier pod of the same name.
            let owners = &registration.owners;
            let is_owner = |uid: &String| owners.is_empty() || owners.contains(uid);
            if uid.as_ref().is_none_or(is_owner) {
                let entries = registration.entries.iter();
                seen.extend(entries.map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        let own = own.iter();
        seen.extend(own.map(|(key, value)| (key.clone(), value.clone())));
        Arc::new(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(name: &str, endpoints: &Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": name}, "addressType": "IPv4", "endpoints": endpoints,
        }))
        .unwrap()
    }

    fn endpoint(pod: &str, uid: &str, conditions: &Value) -> Value {
        json!({
            "addresses": ["10.0.0.1"], "conditions": conditions,
            "targetRef": {"kind": "Pod", "name": pod, "uid": uid},
        })
    }

    fn registration(pod: &str, owner: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": pod, "ownerReferences": owner},
            "spec": {"data": {"tandem": {format!("v1/{pod}"): "x"}}},
        }))
        .unwrap()
    }

    fn owner(uid: &str) -> Value {
        json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}])
    }

    fn view() -> View {
        let mut view = View::new();
        view.slices.take(Event::Init, ready_pods);
        view.slices.take(Event::InitDone, ready_pods);
        view.registrations.take(Event::Init, Registration::read);
        view.registrations.take(Event::InitDone, Registration::read);
        view
    }

    fn keys(view: &View, own: &[&str]) -> Vec<String> {
        let own = own.iter().map(|key| ((*key).to_owned(), "x".into()));
        let seen = view.entries("own", &Arc::new(own.collect()));
        seen.keys().cloned().collect()
    }

    #[test]
    fn a_pod_is_seen_once_it_is_ready_and_registered() {
        let mut view = view();
        let registered = registration("a", &owner("1"));
        let check = |view: &View, conditions: &Value, visible: bool| {
            let wanted: &[&str] = if visible { &["v1/a"] } else { &[] };
            assert_eq!(keys(view, &[]), wanted, "{conditions}");
        };
        for (conditions, visible) in [
            (json!({"ready": true}), true),
            (json!({"ready": false}), false),
            (json!({}), true),
            (json!(null), true),
        ] {
            view.registrations.take(
                Event::Delete(registration("a", &owner("1"))),
                Registration::read,
            );
            let endpoints = json!([endpoint("a", "1", &conditions)]);
            view.slices
                .take(Event::Apply(slice("s", &endpoints)), ready_pods);
            check(&view, &conditions, false);
            view.registrations
                .take(Event::Apply(registered.clone()), Registration::read);
            check(&view, &conditions, visible);
        }
        let gone = slice("s", &json!([]));
        view.slices.take(Event::Delete(gone), ready_pods);
        check(&view, &Value::Null, false);
    }

    #[test]
    fn what_an_earlier_pod_of_the_name_registered_is_not_seen() {
        for (owned_by, ready, visible) in [
            (owner("1"), json!("1"), true),
            (owner("1"), json!("2"), false),
            (json!([]), json!("2"), true),
            (owner("1"), json!(null), true),
        ] {
            let mut view = view();
            let mut endpoint = endpoint("a", "", &json!({"ready": true}));
            endpoint["targetRef"]["uid"] = ready.clone();
            let slice = slice("s", &json!([endpoint]));
            view.slices.take(Event::Apply(slice), ready_pods);
            let registered = registration("a", &owned_by);
            view.registrations
                .take(Event::Apply(registered), Registration::read);
            let seen = !keys(&view, &[]).is_empty();
            assert_eq!(seen, visible, "{owned_by} {ready}");
        }
    }

    #[test]
    fn a_process_sees_what_it_wants_and_not_what_is_stored_for_it() {
        let mut view = View::new();
        assert_eq!(keys(&view, &["v1/new"]), ["v1/new"]);
        view = self::view();
        let endpoints = json!([endpoint("own", "1", &json!({"ready": true}))]);
        let own = registration("own", &owner("1"));
        view.slices
            .take(Event::Apply(slice("s", &endpoints)), ready_pods);
        view.registrations
            .take(Event::Apply(own), Registration::read);
        assert_eq!(keys(&view, &["v1/new"]), ["v1/new"]);
    }

    #[test]
    fn what_is_known_stays_until_a_new_list_is_whole() {
        let mut view = view();
        let registered = |pod| registration(pod, &json!([]));
        let names = |view: &View| {
            let known = view.registrations.current().unwrap();
            known.keys().cloned().collect::<Vec<_>>()
        };
        view.registrations
            .take(Event::Apply(registered("a")), Registration::read);
        for lists in 0..2 {
            view.registrations.take(Event::Init, Registration::read);
            view.registrations
                .take(Event::InitApply(registered("b")), Registration::read);
            assert_eq!(names(&view), ["a"], "after {lists} lists that broke off");
        }
        view.registrations.take(Event::InitDone, Registration::read);
        assert_eq!(names(&view), ["b"]);
    }
}
