//! Events: what happened to a resource, for people who describe it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use parking_lot::Mutex;
use serde_json::json;
use tracing::debug;

/// For how long the same thing is one event.
const SERIES: Duration = Duration::from_secs(10 * 60);
/// Least time between two writes of one event.
const PAUSE: Duration = Duration::from_secs(60);
/// Most events that are remembered; beyond it the same thing may become two.
const MOST: usize = 4096;
/// Longest text that Kubernetes takes.
const MAX_NOTE: usize = 1024;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happening {
    pub(super) is_warning: bool,
    /// One word in camel case.
    pub(super) reason: &'static str,
    /// What was done.
    pub(super) action: &'static str,
    pub(super) note: String,
}

/// An event that was written.
struct Written {
    name: String,
    count: i32,
    first: Instant,
    last: Instant,
}

/// Resource, reason and text of an event.
type Key = (String, &'static str, String);

/// Writes events, and the same thing only once.
pub(super) struct Events {
    client: Client,
    instance: String,
    written: Mutex<HashMap<Key, Written>>,
}

/// What to do with a happening.
enum Write {
    Nothing,
    New,
    Again { name: String, count: i32 },
}

impl Events {
    /// `instance` is the name of this process.
    pub(super) fn new(client: Client, instance: String) -> Self {
        Self {
            client,
            instance,
            written: Mutex::default(),
        }
    }

    /// Tells people; that it cannot is no reason to stop anything.
    pub(super) async fn publish(&self, about: &ObjectReference, mut happening: Happening) {
        let end = happening.note.floor_char_boundary(MAX_NOTE);
        happening.note.truncate(end);
        let key = (
            about.uid.clone().unwrap_or_default(),
            happening.reason,
            happening.note.clone(),
        );
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let result = match self.decide(&key, Instant::now()) {
            Write::Nothing => return,
            Write::New => self.create(&api, about, happening, key).await,
            Write::Again { name, count } => {
                let now = MicroTime(Timestamp::now());
                let series = EventSeries {
                    count,
                    last_observed_time: now,
                };
                let patch = Patch::Merge(json!({"series": series}));
                api.patch(&name, &PatchParams::default(), &patch)
                    .await
                    .map(drop)
            }
        };
        if let Err(error) = result {
            debug!(%error, "failed to write an event");
        }
    }

    fn decide(&self, key: &Key, now: Instant) -> Write {
        let mut written = self.written.lock();
        written.retain(|_, event| now.duration_since(event.first) < SERIES);
        if written.len() >= MOST {
            written.clear();
        }
        let Some(event) = written.get_mut(key) else {
            return Write::New;
        };
        event.count += 1;
        if now.duration_since(event.last) < PAUSE {
            return Write::Nothing;
        }
        event.last = now;
        Write::Again {
            name: event.name.clone(),
            count: event.count,
        }
    }

    async fn create(
        &self,
        api: &Api<Event>,
        about: &ObjectReference,
        happening: Happening,
        key: Key,
    ) -> Result<(), Error> {
        let now = Timestamp::now();
        let prefix = about.name.as_deref().unwrap_or("unknown");
        let name = format!("{prefix}.{:x}", now.as_nanosecond());
        let event = Event {
            action: Some(happening.action.to_owned()),
            event_time: Some(MicroTime(now)),
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: about.namespace.clone(),
                ..ObjectMeta::default()
            },
            note: Some(happening.note),
            reason: Some(happening.reason.to_owned()),
            regarding: Some(about.clone()),
            reporting_controller: Some("nvidia.com/tandem-operator".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(
                if happening.is_warning {
                    "Warning"
                } else {
                    "Normal"
                }
                .to_owned(),
            ),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        let at = Instant::now();
        let written = Written {
            name,
            count: 1,
            first: at,
            last: at,
        };
        self.written.lock().insert(key, written);
        Ok(())
    }
}
