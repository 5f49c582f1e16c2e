//! Keeps the object of this process's pod as the process wants it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, ResourceExt};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::access::explain;
use super::follow::follow;
use super::pod::PodIdentity;
use super::record;
use super::resource::{DynamoWorkerMetadata, DynamoWorkerMetadataSpec};
use super::{REGISTRATIONS, STORE};
use crate::discovery::DiscoveryError;
use crate::discovery::retry::{WRITE_PATIENCE, retry};
use crate::discovery::snapshots::Entries;

/// Who the API server knows the fields of the object by.
const FIELD_MANAGER: &str = "dynamo-worker";
/// Annotation that says which write an object comes from: values may be rewritten by the server.
const WRITE: &str = "tandem/write";
/// Pause before an object that is not as wanted is written again: news of the last write may be on
/// its way, and two processes that believe to be in one pod must not fill the API server's log.
const REPAIR_PAUSE: Duration = Duration::from_secs(1);
/// Most time for one write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes what this process registers to the object of its pod, and again when somebody has removed
/// or replaced it.
pub(super) struct Keeper {
    client: Client,
    pod: PodIdentity,
    /// Tells this process from an earlier one in the pod.
    process: Uuid,
    wanted: watch::Sender<Arc<Entries>>,
    revoked: CancellationToken,
    /// Held while the object is written, so that writes arrive in order.
    written: Mutex<Written>,
}

/// The last write that succeeded.
#[derive(Debug, Default)]
struct Written {
    /// `None` if there was none.
    entries: Option<Arc<Entries>>,
    /// Number of the write, successful or not.
    number: u64,
    /// Id of the object.
    uid: Option<String>,
}

/// The object of the pod, as the API server tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// It was not told yet.
    Unknown,
    Missing,
    /// It comes from this write.
    Written(Option<String>),
}

impl Keeper {
    pub(super) fn new(client: Client, pod: PodIdentity) -> Self {
        Self {
            client,
            pod,
            process: Uuid::new_v4(),
            wanted: watch::Sender::default(),
            revoked: CancellationToken::new(),
            written: Mutex::default(),
        }
    }

    pub(super) const fn pod(&self) -> &PodIdentity {
        &self.pod
    }

    /// What this process wants to be there, and every change of it.
    pub(super) fn wanted(&self) -> watch::Receiver<Arc<Entries>> {
        self.wanted.subscribe()
    }

    /// Registers an entry, together with those that others want to write meanwhile.
    pub(super) async fn put(&self, key: String, value: Bytes) -> Result<(), DiscoveryError> {
        if self.revoked.is_cancelled() {
            return Err(DiscoveryError::LeaseGone);
        }
        record::check(&key, &value)?;
        let before = self.want(&key, Some(value));
        let deadline = Instant::now() + WRITE_PATIENCE;
        let written = retry(STORE, deadline, || self.write()).await;
        if written.is_err() {
            self.want(&key, before);
        }
        written
    }

    /// Removes an entry. If that cannot be written now, it is later.
    pub(super) async fn delete(&self, key: &str) -> Result<(), DiscoveryError> {
        match self.want(key, None) {
            Some(_) => self.write().await,
            None => Ok(()),
        }
    }

    /// Sets or removes an entry; returns what was there.
    fn want(&self, key: &str, value: Option<Bytes>) -> Option<Bytes> {
        let mut before = None;
        self.wanted.send_if_modified(|entries| {
            before = entries.get(key).cloned();
            if before == value {
                return false;
            }
            let entries = Arc::make_mut(entries);
            match value {
                Some(value) => entries.insert(key.to_owned(), value),
                None => entries.remove(key),
            };
            true
        });
        before
    }

    /// Writes what is wanted, unless that was the last write.
    pub(super) async fn write(&self) -> Result<(), DiscoveryError> {
        let mut written = self.written.lock().await;
        if self.revoked.is_cancelled() {
            return Err(DiscoveryError::LeaseGone);
        }
        let wanted = Arc::clone(&self.wanted.borrow());
        if written.entries.as_ref() == Some(&wanted) {
            return Ok(());
        }
        // Whatever comes of it, it is not known to be what was written last.
        written.entries = None;
        written.number += 1;
        let mut object = DynamoWorkerMetadata::new(
            &self.pod.name,
            DynamoWorkerMetadataSpec {
                data: record::encode(&wanted),
            },
        );
        object.metadata = ObjectMeta {
            annotations: Some([(WRITE.to_owned(), self.name(written.number))].into()),
            owner_references: Some(vec![self.pod.as_owner()]),
            ..object.metadata
        };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let api = self.objects();
        let (name, patch) = (&self.pod.name, Patch::Apply(&object));
        let object = in_time("write", api.patch(name, &params, &patch)).await?;
        written.uid = object.metadata.uid;
        written.entries = Some(wanted);
        Ok(())
    }

    /// Removes the object, unless another pod of the name has replaced it.
    pub(super) async fn revoke(&self) -> Result<(), DiscoveryError> {
        self.revoked.cancel();
        self.wanted.send_replace(Arc::default());
        let mut written = self.written.lock().await;
        let uid = written.uid.take();
        if uid.is_none() {
            return Ok(());
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid,
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let api = self.objects();
        let deleted = async {
            match api.delete(&self.pod.name, &params).await {
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
                result => result.map(drop),
            }
        };
        in_time("remove", deleted).await
    }

    /// Repairs the object until the lease is revoked.
    pub(super) async fn run(self: Arc<Self>) {
        let revoked = self.revoked.clone();
        revoked.run_until_cancelled_owned(self.repair()).await;
    }

    async fn repair(self: Arc<Self>) {
        let resource = ApiResource::erase::<DynamoWorkerMetadata>(&());
        let (client, namespace) = (self.client.clone(), &self.pod.namespace);
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
        let own = Config::default().fields(&format!("metadata.name={}", self.pod.name));
        let mut events = follow(api, own, REGISTRATIONS);
        let mut wanted = self.wanted();
        let (mut seen, mut listed) = (Seen::Unknown, Seen::Missing);
        let mut due: Option<Instant> = None;
        let mut away = false;
        loop {
            let repair = tokio::time::sleep_until(due.unwrap_or_else(Instant::now));
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => take(&mut seen, &mut listed, event),
                    None => return,
                },
                changed = wanted.changed() => if changed.is_err() {
                    return;
                },
                () = repair, if due.is_some() => {
                    due = None;
                    if !self.agrees(&seen).await {
                        self.write_again(&mut away).await;
                    }
                }
            }
            if due.is_none() && !self.agrees(&seen).await {
                due = Some(Instant::now() + REPAIR_PAUSE);
            }
        }
    }

    async fn write_again(&self, away: &mut bool) {
        self.written.lock().await.entries = None;
        match self.write().await {
            Ok(()) => {
                *away = false;
                info!(pod = self.pod.name, "registered again");
            }
            Err(error) => {
                if !std::mem::replace(away, true) {
                    warn!(pod = self.pod.name, %error, "failed to register again: trying on");
                }
            }
        }
    }

    /// Whether the object is as wanted, as far as is known.
    async fn agrees(&self, seen: &Seen) -> bool {
        let written = self.written.lock().await;
        if written.entries.as_ref() != Some(&*self.wanted.borrow()) {
            return false;
        }
        match seen {
            Seen::Unknown => true,
            Seen::Missing => false,
            Seen::Written(name) => name.as_ref() == Some(&self.name(written.number)),
        }
    }

    /// Name of a write.
    fn name(&self, number: u64) -> String {
        format!("{}-{number}", self.process)
    }

    fn objects(&self) -> Api<DynamoWorkerMetadata> {
        Api::namespaced(self.client.clone(), &self.pod.namespace)
    }
}

/// Takes in news of the object; `listed` is what a list that is not whole yet says.
fn take(seen: &mut Seen, listed: &mut Seen, event: Event<DynamicObject>) {
    let written = |object: &DynamicObject| Seen::Written(object.annotations().get(WRITE).cloned());
    match event {
        Event::Init => *listed = Seen::Missing,
        Event::InitApply(object) => *listed = written(&object),
        Event::InitDone => *seen = listed.clone(),
        Event::Apply(object) => *seen = written(&object),
        Event::Delete(_) => *seen = Seen::Missing,
    }
}

async fn in_time<T>(
    verb: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, DiscoveryError> {
    let act = format!("{verb} the {REGISTRATIONS} of this pod");
    match tokio::time::timeout(WRITE_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|error| explain(&act, &error)),
        Err(_) => Err(DiscoveryError::Unavailable(format!(
            "failed to {act}: no answer within {} s",
            WRITE_TIMEOUT.as_secs()
        ))),
    }
}
