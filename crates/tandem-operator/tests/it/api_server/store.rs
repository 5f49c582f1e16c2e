//! The objects, their versions, and what happened to them.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::apply;
use super::kinds::Kind;

/// Things that happened which a watch can still ask for.
const PAST: usize = 20_000;

/// Kind, namespace and name.
type Place = (Kind, String, String);

/// Why a request is refused: a code and what is said.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
        }
    }
}

/// Who applies what, and whether it may take fields from others.
pub(super) struct Apply {
    pub(super) manager: String,
    pub(super) force: bool,
    pub(super) strict: bool,
    pub(super) status: bool,
}

/// Something that happened to an object: what it was and what it is.
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

#[derive(Default)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<Place, Value>,
    /// What managers applied, by object and part.
    applied: BTreeMap<(Place, String, bool), Value>,
    past: VecDeque<Change>,
    /// Changes up to this version are forgotten.
    forgotten: u64,
    pods_ready: bool,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn not_found(kind: Kind, name: &str) -> Refusal {
    let plural = kind.parts()[2];
    Refusal::new(404, "NotFound", format!("{plural} \"{name}\" not found"))
}

impl Store {
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn forget_past(&mut self) {
        self.past.clear();
        self.version += 1;
        self.forgotten = self.version;
    }

    pub(super) fn describe(&self) -> String {
        let objects = self
            .objects
            .iter()
            .map(|((kind, namespace, name), object)| {
                format!("{kind:?} {namespace}/{name}: {}\n", object["status"])
            });
        objects.collect()
    }

    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects
            .get(&(kind, namespace.to_owned(), name.to_owned()))
    }

    pub(super) fn names(&self, kind: Kind, namespace: &str) -> Vec<String> {
        let places = self
            .objects
            .keys()
            .filter(|place| place.0 == kind && place.1 == namespace);
        places.map(|place| place.2.clone()).collect()
    }

    pub(super) fn all(&self, kind: Kind) -> Vec<Value> {
        let objects = self.objects.iter().filter(|(place, _)| place.0 == kind);
        objects.map(|(_, object)| object.clone()).collect()
    }

    /// Changes of a kind after `version`; `None` if some are forgotten.
    pub(super) fn since(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        (version >= self.forgotten).then(|| {
            self.past
                .iter()
                .skip_while(move |change| change.version <= version)
        })
    }

    pub(super) fn create(&mut self, mut object: Value) -> Result<Value, Refusal> {
        let kind = Kind::of(&object)
            .ok_or_else(|| Refusal::new(404, "NotFound", format!("no such kind: {object}")))?;
        let namespace = text(&object["metadata"]["namespace"]);
        let name = text(&object["metadata"]["name"]);
        let place = (kind, namespace, name);
        if self.objects.contains_key(&place) {
            let message = format!("{} \"{}\" already exists", kind.parts()[2], place.2);
            return Err(Refusal::new(409, "AlreadyExists", message));
        }
        self.version += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        if kind.has_generation() {
            object["metadata"]["generation"] = json!(1);
        }
        Ok(self.put(&place, object))
    }

    /// Writes the whole object, or only its status.
    pub(super) fn replace(&mut self, object: Value, status: Option<()>) -> Result<Value, Refusal> {
        let kind =
            Kind::of(&object).ok_or_else(|| Refusal::new(404, "NotFound", "no such kind"))?;
        let place = (
            kind,
            text(&object["metadata"]["namespace"]),
            text(&object["metadata"]["name"]),
        );
        let Some(live) = self.objects.get(&place).cloned() else {
            return Err(not_found(kind, &place.2));
        };
        check_version(&live, &object)?;
        let next = match status {
            Some(()) => with_status(&live, &object["status"]),
            None if kind.has_status() => with_status(&object, &live["status"]),
            None => object,
        };
        self.update(&place, &live, next)
    }

    pub(super) fn merge(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
        status: bool,
    ) -> Result<Value, Refusal> {
        let place = (kind, namespace.to_owned(), name.to_owned());
        let live = self
            .objects
            .get(&place)
            .cloned()
            .ok_or_else(|| not_found(kind, name))?;
        check_version(&live, patch)?;
        let mut patched = live.clone();
        apply::merge_patch(&mut patched, patch);
        let next = if status {
            with_status(&live, &patched["status"])
        } else {
            with_status(&patched, &live["status"])
        };
        self.update(&place, &live, next)
    }

    pub(super) fn apply(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        config: &Value,
        how: &Apply,
    ) -> Result<Value, Refusal> {
        if how.strict {
            let wrong = |message: String| Refusal::new(400, "BadRequest", message);
            kind.check(config).map_err(wrong)?;
        }
        let place = (kind, namespace.to_owned(), name.to_owned());
        let key = (place.clone(), how.manager.clone(), how.status);
        let before = self.applied.get(&key).cloned();
        let Some(live) = self.objects.get(&place).cloned() else {
            if how.status {
                return Err(not_found(kind, name));
            }
            let mut object = config.clone();
            object["metadata"]["namespace"] = json!(namespace);
            let created = self.create(object)?;
            self.applied.insert(key, config.clone());
            return Ok(created);
        };
        check_version(&live, config)?;
        if !how.force
            && let Some(path) = apply::conflict(&live, config, "")
        {
            return Err(Refusal::new(409, "Conflict", format!("conflict: {path}")));
        }
        let mut next = live.clone();
        if let Some(before) = &before {
            let others = self.applied.iter().filter(|(other, _)| {
                other.0 == place && other.1 != how.manager && other.2 == how.status
            });
            let others: Vec<&Value> = others.map(|(_, config)| config).collect();
            apply::remove(&mut next, before, Some(config), &others, "");
        }
        let mut config_part = config.clone();
        if let Some(metadata) = config_part["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        apply::merge(&mut next, &config_part, "");
        let next = if how.status {
            with_status(&live, &next["status"])
        } else {
            next
        };
        let updated = self.update(&place, &live, next)?;
        self.applied.insert(key, config_part);
        Ok(updated)
    }

    /// Deletes an object and, as the garbage collector does, what it owns.
    pub(super) fn delete(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Result<Value, Refusal> {
        let place = (kind, namespace.to_owned(), name.to_owned());
        let live = self
            .objects
            .get(&place)
            .ok_or_else(|| not_found(kind, name))?;
        if uid.is_some_and(|uid| live["metadata"]["uid"] != uid) {
            return Err(Refusal::new(
                409,
                "Conflict",
                "the UID in the precondition differs",
            ));
        }
        let live = self.objects.remove(&place).expect("it was there");
        self.applied.retain(|(other, ..), _| *other != place);
        self.version += 1;
        self.note(place, Some(live.clone()), None);
        let owner = live["metadata"]["uid"].clone();
        let owned: Vec<Place> = self
            .objects
            .iter()
            .filter(|(_, object)| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                owners.is_some_and(|owners| owners.iter().any(|other| other["uid"] == owner))
            })
            .map(|(place, _)| place.clone())
            .collect();
        for (kind, namespace, name) in owned {
            // It may be gone already, with another owner.
            drop(self.delete(kind, &namespace, &name, None));
        }
        Ok(live)
    }

    pub(super) fn set_pods_ready(&mut self, on: bool) {
        self.pods_ready = on;
        let places: Vec<Place> = self.objects.keys().cloned().collect();
        for place in places {
            self.follow_workload(&place);
        }
    }

    fn update(&mut self, place: &Place, live: &Value, mut next: Value) -> Result<Value, Refusal> {
        let kind = place.0;
        for name in [
            "uid",
            "creationTimestamp",
            "generation",
            "resourceVersion",
            "namespace",
        ] {
            if let Some(value) = live["metadata"].get(name) {
                next["metadata"][name] = value.clone();
            }
        }
        default(kind, &mut next);
        if next == *live {
            return Ok(next);
        }
        if kind == Kind::Deployment && next["spec"]["selector"] != live["spec"]["selector"] {
            return Err(Refusal::new(
                422,
                "Invalid",
                "spec.selector: field is immutable",
            ));
        }
        self.version += 1;
        if kind.has_generation() && next["spec"] != live["spec"] {
            let generation = live["metadata"]["generation"].as_u64().unwrap_or_default();
            next["metadata"]["generation"] = json!(generation + 1);
        }
        Ok(self.put(place, next))
    }

    fn put(&mut self, place: &Place, mut object: Value) -> Value {
        default(place.0, &mut object);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(place.clone(), object.clone());
        self.note(place.clone(), before, Some(object.clone()));
        self.follow_workload(place);
        object
    }

    fn note(&mut self, place: Place, before: Option<Value>, after: Option<Value>) {
        let (kind, namespace, _) = place;
        let version = self.version;
        let change = Change {
            version,
            kind,
            namespace,
            before,
            after,
        };
        self.past.push_back(change);
        while self.past.len() > PAST {
            let change = self.past.pop_front().expect("it is not empty");
            self.forgotten = change.version;
        }
    }

    /// What the controllers of workloads and the kubelets do.
    fn follow_workload(&mut self, place: &Place) {
        let workload = matches!(
            place.0,
            Kind::Deployment | Kind::StatefulSet | Kind::LeaderWorkerSet
        );
        let Some(live) = self
            .objects
            .get(place)
            .filter(|_| workload && self.pods_ready)
            .cloned()
        else {
            return;
        };
        let replicas = live["spec"]["replicas"].clone();
        let status = json!({
            "observedGeneration": live["metadata"]["generation"],
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas, "currentRevision": "r", "updateRevision": "r",
        });
        if live["status"] != status {
            let mut next = live;
            next["status"] = status;
            self.version += 1;
            self.put(place, next);
        }
    }
}

/// Fields that the server fills in.
fn default(kind: Kind, object: &mut Value) {
    let workload = matches!(
        kind,
        Kind::Deployment | Kind::StatefulSet | Kind::LeaderWorkerSet
    );
    if workload && object["spec"]["replicas"].is_null() {
        object["spec"]["replicas"] = json!(1);
    }
}

fn with_status(object: &Value, status: &Value) -> Value {
    let mut object = object.clone();
    if status.is_null() {
        if let Some(members) = object.as_object_mut() {
            members.remove("status");
        }
    } else {
        object["status"] = status.clone();
    }
    object
}

/// A write that names a version is refused if the object has another by now.
fn check_version(live: &Value, write: &Value) -> Result<(), Refusal> {
    let version = &write["metadata"]["resourceVersion"];
    if version.is_null() || *version == live["metadata"]["resourceVersion"] {
        return Ok(());
    }
    let message = "the object has been modified; please apply your changes to the latest version";
    Err(Refusal::new(409, "Conflict", message))
}
