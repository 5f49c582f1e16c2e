//! Watches of everything that graphs are made of: they keep the cache, and wake the owner of what
//! changed.

use std::pin::pin;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::cache::{Cache, Owner, Place, Seen};
use crate::crd::DynamoGraphDeploymentScalingAdapter;
use crate::metrics::Metrics;
use crate::reconcile::{ObjectKey, ObjectKind, ObservedWorkload, names};

/// Objects in one answer to a list: what is held at once while a watch begins.
const PAGE: u32 = 50;

/// A resource that has to be looked at, in its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wake {
    pub(super) namespace: String,
    pub(super) kind: String,
    pub(super) name: String,
}

/// Where watches begin, and where what they see goes.
#[derive(Clone)]
pub(super) struct Watches {
    pub(super) client: Client,
    /// Namespace, or empty for all.
    pub(super) scope: String,
    pub(super) cache: Arc<Cache>,
    /// Bounded: a watch waits while the controllers have enough to do.
    pub(super) wakes: mpsc::Sender<Wake>,
    /// Watches whose objects are not all known yet.
    pub(super) unsynced: Arc<watch::Sender<usize>>,
    pub(super) metrics: Metrics,
}

/// Lists what the operator made, in small pages.
fn config() -> watcher::Config {
    let selector = format!("{}={}", names::MANAGED_BY, names::OPERATOR);
    watcher::Config::default().labels(&selector).page_size(PAGE)
}

impl Watches {
    /// The namespaced API, or that of all namespaces.
    pub(super) fn api<K>(&self, resource: &K::DynamicType) -> Api<K>
    where
        K: Resource<Scope = kube::core::DynamicResourceScope>,
    {
        if self.scope.is_empty() {
            Api::all_with(self.client.clone(), resource)
        } else {
            Api::namespaced_with(self.client.clone(), &self.scope, resource)
        }
    }

    /// Watches the objects of `kind`; only those that run pods are looked into.
    pub(super) async fn objects(self, kind: ObjectKind) {
        let resource = kind.resource();
        if kind.is_workload() {
            let api: Api<DynamicObject> = self.api(&resource);
            let seen = move |object: &DynamicObject| {
                let mut value = object.data.clone();
                value["metadata"] = generation(object.metadata.generation);
                Seen::new(&object.metadata, Some(ObservedWorkload::new(kind, &value)))
            };
            self.follow(kind, watcher(api, config()), seen).await;
        } else {
            let api: Api<PartialObjectMeta<DynamicObject>> = self.api(&resource);
            let seen =
                |object: &PartialObjectMeta<DynamicObject>| Seen::new(&object.metadata, None);
            self.follow(kind, watcher(api, config()), seen).await;
        }
    }

    async fn follow<K: ResourceExt>(
        self,
        kind: ObjectKind,
        events: impl futures::Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
        seen: impl Fn(&K) -> Option<Seen>,
    ) {
        let mut events = pin!(events.default_backoff());
        let mut synced = false;
        let place = |object: &K| -> Place {
            let key = ObjectKey {
                kind,
                name: object.name_any(),
            };
            (object.namespace().unwrap_or_default(), key)
        };
        while let Some(event) = events.next().await {
            let (namespace, owners) = match event {
                Err(error) => {
                    self.metrics.count_watch_error();
                    warn!(%kind, scope = self.scope, %error, "failed to watch objects");
                    continue;
                }
                Ok(watcher::Event::Init) => {
                    self.cache.begin(&self.scope, kind);
                    continue;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    let owners = self.cache.list(&self.scope, place(&object), seen(&object));
                    (object.namespace(), owners)
                }
                Ok(watcher::Event::InitDone) => {
                    let owners = self.cache.end(&self.scope, kind);
                    if !std::mem::replace(&mut synced, true) {
                        self.unsynced.send_modify(|left| *left -= 1);
                    }
                    for (namespace, owner) in owners {
                        self.wake(namespace, owner).await;
                    }
                    continue;
                }
                Ok(watcher::Event::Apply(object)) => (
                    object.namespace(),
                    self.cache.apply(place(&object), seen(&object)),
                ),
                Ok(watcher::Event::Delete(object)) => {
                    (object.namespace(), self.cache.delete(&place(&object)))
                }
            };
            for owner in owners {
                self.wake(namespace.clone().unwrap_or_default(), owner)
                    .await;
            }
        }
    }

    /// Watches scaling adapters, whoever made them.
    pub(super) async fn adapters(self) {
        let api: Api<DynamoGraphDeploymentScalingAdapter> = if self.scope.is_empty() {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), &self.scope)
        };
        let events = watcher(api, watcher::Config::default().page_size(PAGE))
            .modify(|adapter| adapter.managed_fields_mut().clear())
            .default_backoff()
            .inspect_err(|error| {
                self.metrics.count_watch_error();
                warn!(scope = self.scope, %error, "failed to watch scaling adapters");
            });
        let mut events = pin!(events);
        let mut listed = Vec::new();
        let mut synced = false;
        while let Some(event) = events.next().await {
            match event {
                Err(_) => {}
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(adapter)) => listed.push(adapter),
                Ok(watcher::Event::InitDone) => {
                    self.cache.replace_adapters(&self.scope, &listed);
                    if !std::mem::replace(&mut synced, true) {
                        self.unsynced.send_modify(|left| *left -= 1);
                    }
                    for adapter in std::mem::take(&mut listed) {
                        self.wake_graph(&adapter).await;
                    }
                }
                Ok(watcher::Event::Apply(adapter)) => {
                    self.cache.set_adapter(&adapter, true);
                    self.wake_graph(&adapter).await;
                }
                Ok(watcher::Event::Delete(adapter)) => {
                    self.cache.set_adapter(&adapter, false);
                    self.wake_graph(&adapter).await;
                }
            }
        }
    }

    async fn wake_graph(&self, adapter: &DynamoGraphDeploymentScalingAdapter) {
        let graph = Owner {
            kind: "DynamoGraphDeployment".to_owned(),
            name: adapter.spec.dgd_ref.name.clone(),
            uid: String::new(),
        };
        self.wake(adapter.namespace().unwrap_or_default(), graph)
            .await;
    }

    async fn wake(&self, namespace: String, owner: Owner) {
        let wake = Wake {
            namespace,
            kind: owner.kind,
            name: owner.name,
        };
        self.metrics.queued.inc();
        // The controllers are gone only while the process stops.
        if self.wakes.send(wake).await.is_err() {
            self.metrics.queued.dec();
        }
    }
}

/// The part of the metadata that a workload's progress is read from.
fn generation(generation: Option<i64>) -> Value {
    serde_json::json!({"generation": generation})
}
