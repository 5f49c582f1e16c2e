//! What the operator knows of the objects that it made: little enough to know it of thousands.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use parking_lot::RwLock;

use crate::crd::DynamoGraphDeploymentScalingAdapter;
use crate::reconcile::{ObjectKey, ObjectKind, ObservedWorkload};

/// What an object looked like when it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Of the object.
    pub(super) uid: String,
    /// Of the resource that it was made for.
    pub(super) owner: Owner,
    /// Changes when anybody changes what the operator wrote.
    pub(super) fingerprint: u64,
    /// How far it has come, if it runs pods.
    pub(super) workload: Option<ObservedWorkload>,
}

/// The resource that an object was made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Owner {
    /// The resource that controls the object.
    pub(super) fn of(metadata: &ObjectMeta) -> Option<Self> {
        let owners = metadata.owner_references.as_ref()?;
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        let OwnerReference {
            kind, name, uid, ..
        } = owner.clone();
        Some(Self { kind, name, uid })
    }
}

impl Seen {
    /// `None` if nothing controls the object.
    pub(super) fn new(metadata: &ObjectMeta, workload: Option<ObservedWorkload>) -> Option<Self> {
        Some(Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            owner: Owner::of(metadata)?,
            fingerprint: fingerprint(metadata),
            workload,
        })
    }
}

/// The generation changes with the specification, but not with metadata, and not all kinds have
/// one.
fn fingerprint(metadata: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    match metadata.generation {
        Some(generation) => generation.hash(&mut hasher),
        None => metadata.resource_version.hash(&mut hasher),
    }
    metadata.labels.hash(&mut hasher);
    metadata.annotations.hash(&mut hasher);
    for owner in metadata.owner_references.iter().flatten() {
        owner.uid.hash(&mut hasher);
    }
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

/// What was applied, and what the object looked like then: nothing has to be written twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) desired: u64,
    pub(super) fingerprint: u64,
}

/// A namespaced name.
pub(super) type Place = (String, ObjectKey);

/// The objects that were seen, by owner.
#[derive(Debug, Default)]
pub(super) struct Cache {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the identity of the owner.
    owned: HashMap<String, BTreeMap<ObjectKey, Seen>>,
    owners: HashMap<Place, Owner>,
    applied: HashMap<Place, Applied>,
    /// What was listed since a watch began anew, by scope and kind.
    listing: HashMap<(String, ObjectKind), HashSet<Place>>,
    /// By namespace and graph.
    adapters: HashMap<(String, String), BTreeMap<String, Adapter>>,
}

/// What the operator knows of a scaling adapter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Adapter {
    pub(super) name: String,
    pub(super) replicas: i32,
    /// Whether the operator made it.
    pub(super) is_ours: bool,
    pub(super) status: crate::crd::DynamoGraphDeploymentScalingAdapterStatus,
}

impl Cache {
    /// Notes an object; the owners that have to look at it.
    pub(super) fn apply(&self, place: Place, seen: Option<Seen>) -> Vec<Owner> {
        let mut inner = self.inner.write();
        let Some(seen) = seen else {
            return inner.remove(&place);
        };
        let mut changed = Vec::new();
        if inner
            .owners
            .get(&place)
            .is_some_and(|owner| owner.uid != seen.owner.uid)
        {
            changed = inner.remove(&place);
        }
        let owner = seen.owner.clone();
        let objects = inner.owned.entry(owner.uid.clone()).or_default();
        let before = objects.insert(place.1.clone(), seen.clone());
        inner.owners.insert(place, owner.clone());
        if before.as_ref() != Some(&seen) {
            changed.push(owner);
        }
        changed
    }

    /// Forgets an object; the owners that have to look at it.
    pub(super) fn delete(&self, place: &Place) -> Vec<Owner> {
        self.inner.write().remove(place)
    }

    /// Objects of `kind` in `scope` are listed anew.
    pub(super) fn begin(&self, scope: &str, kind: ObjectKind) {
        let mut inner = self.inner.write();
        inner
            .listing
            .insert((scope.to_owned(), kind), HashSet::new());
    }

    /// An object was listed.
    pub(super) fn list(&self, scope: &str, place: Place, seen: Option<Seen>) -> Vec<Owner> {
        let listing = (scope.to_owned(), place.1.kind);
        let changed = self.apply(place.clone(), seen);
        if let Some(listed) = self.inner.write().listing.get_mut(&listing) {
            listed.insert(place);
        }
        changed
    }

    /// All objects of `kind` in `scope` were listed: others are gone.
    pub(super) fn end(&self, scope: &str, kind: ObjectKind) -> Vec<(String, Owner)> {
        let mut inner = self.inner.write();
        let listed = inner
            .listing
            .remove(&(scope.to_owned(), kind))
            .unwrap_or_default();
        let in_scope =
            |place: &&Place| place.1.kind == kind && (scope.is_empty() || place.0 == scope);
        let gone: Vec<Place> = inner
            .owners
            .keys()
            .filter(in_scope)
            .filter(|place| !listed.contains(*place))
            .cloned()
            .collect();
        let owners = gone.iter().flat_map(|place| {
            let owners = inner.remove(place);
            owners.into_iter().map(|owner| (place.0.clone(), owner))
        });
        owners.collect()
    }

    /// What was applied to an object last.
    pub(super) fn applied(&self, place: &Place) -> Option<Applied> {
        self.inner.read().applied.get(place).copied()
    }

    /// Notes what was applied; it is forgotten with the object.
    pub(super) fn set_applied(&self, place: Place, applied: Applied) {
        self.inner.write().applied.insert(place, applied);
    }

    /// What was made for the resource with the identity `owner`.
    pub(super) fn owned(&self, owner: &str) -> BTreeMap<ObjectKey, Seen> {
        self.inner
            .read()
            .owned
            .get(owner)
            .cloned()
            .unwrap_or_default()
    }

    /// Replaces what is known of a graph's adapter: `None` if it is gone.
    pub(super) fn set_adapter(&self, resource: &DynamoGraphDeploymentScalingAdapter, exists: bool) {
        let metadata = &resource.metadata;
        let reference = &resource.spec.dgd_ref;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        let mut inner = self.inner.write();
        let adapters = inner
            .adapters
            .entry((namespace, reference.name.clone()))
            .or_default();
        adapters.retain(|_, adapter| adapter.name != name);
        if exists {
            let adapter = Adapter {
                name,
                replicas: resource.spec.replicas,
                is_ours: Owner::of(metadata).is_some(),
                status: resource.status.clone().unwrap_or_default(),
            };
            adapters.insert(reference.service_name.clone(), adapter);
        }
    }

    /// The adapters in `scope` are these.
    pub(super) fn replace_adapters(
        &self,
        scope: &str,
        resources: &[DynamoGraphDeploymentScalingAdapter],
    ) {
        let names: HashSet<(String, String)> = resources
            .iter()
            .map(|resource| {
                (
                    resource.namespace().unwrap_or_default(),
                    resource.name_any(),
                )
            })
            .collect();
        let mut inner = self.inner.write();
        for ((namespace, _), adapters) in &mut inner.adapters {
            if scope.is_empty() || namespace == scope {
                adapters.retain(|_, adapter| {
                    names.contains(&(namespace.clone(), adapter.name.clone()))
                });
            }
        }
        drop(inner);
        for resource in resources {
            self.set_adapter(resource, true);
        }
    }

    /// The adapters of a graph, by component.
    pub(super) fn adapters(&self, namespace: &str, graph: &str) -> BTreeMap<String, Adapter> {
        let key = (namespace.to_owned(), graph.to_owned());
        self.inner
            .read()
            .adapters
            .get(&key)
            .cloned()
            .unwrap_or_default()
    }
}

impl Inner {
    fn remove(&mut self, place: &Place) -> Vec<Owner> {
        self.applied.remove(place);
        let Some(owner) = self.owners.remove(place) else {
            return Vec::new();
        };
        if let Some(objects) = self.owned.get_mut(&owner.uid) {
            objects.remove(&place.1);
            if objects.is_empty() {
                self.owned.remove(&owner.uid);
            }
        }
        vec![owner]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(namespace: &str, name: &str) -> Place {
        let key = ObjectKey {
            kind: ObjectKind::Service,
            name: name.to_owned(),
        };
        (namespace.to_owned(), key)
    }

    fn seen(owner: &str, fingerprint: u64) -> Option<Seen> {
        Some(Seen {
            uid: "u".to_owned(),
            owner: Owner {
                kind: "DynamoGraphDeployment".to_owned(),
                name: owner.to_owned(),
                uid: owner.to_owned(),
            },
            fingerprint,
            workload: None,
        })
    }

    #[test]
    fn only_changes_wake_the_owner() {
        let cache = Cache::default();
        assert_eq!(cache.apply(place("n", "a"), seen("g", 1)).len(), 1);
        assert_eq!(cache.apply(place("n", "a"), seen("g", 1)).len(), 0);
        assert_eq!(cache.apply(place("n", "a"), seen("g", 2)).len(), 1);
        // It changes hands: both look.
        assert_eq!(cache.apply(place("n", "a"), seen("h", 2)).len(), 2);
        assert_eq!(cache.owned("g").len(), 0);
        assert_eq!(cache.delete(&place("n", "a")).len(), 1);
        assert_eq!(cache.owned("h").len(), 0);
    }

    #[test]
    fn what_a_new_list_lacks_is_gone() {
        let cache = Cache::default();
        cache.apply(place("n", "a"), seen("g", 1));
        cache.apply(place("n", "b"), seen("g", 1));
        cache.apply(place("other", "c"), seen("g", 1));
        cache.begin("n", ObjectKind::Service);
        cache.list("n", place("n", "a"), seen("g", 1));
        assert_eq!(cache.end("n", ObjectKind::Service).len(), 1);
        let left: Vec<String> = cache.owned("g").into_keys().map(|key| key.name).collect();
        assert_eq!(left, ["a", "c"]);
    }
}
