//! Makes the cluster match its resources: reads, asks [`crate::reconcile`] what should be, writes.

mod apply;
mod cache;
mod events;
mod reconciler;
mod scaling;
mod subject;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::api::Api;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::utils::Predicate;
use kube::runtime::{Config, Controller, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tandem_runtime::Lifecycle;
use tandem_runtime::system::Health;
use tokio::sync::{mpsc, watch as watch_channel};
use tracing::warn;

use crate::crd::{DynamoComponentDeployment, DynamoGraphDeployment};
use crate::metrics::Metrics;
use crate::reconcile::{Capabilities, ObjectKind, Settings};
use apply::Applier;
use cache::Cache;
use events::Events;
use reconciler::Reconciler;
use subject::Subject;
use watch::{Wake, Watches};

/// Changes of objects that may wait for the controllers.
const QUEUE: usize = 1024;

/// What the controllers are made of.
pub(crate) struct Controllers {
    pub(crate) client: Client,
    /// Namespaces, or none for all.
    pub(crate) namespaces: Vec<String>,
    /// Resources that are reconciled at a time, in each namespace.
    pub(crate) concurrency: u16,
    pub(crate) settings: Settings,
    /// Name of this process in events.
    pub(crate) instance: String,
    pub(crate) metrics: Metrics,
}

impl Controllers {
    /// Which optional kinds the API server has.
    pub(crate) async fn capabilities(&self) -> Result<Capabilities, kube::Error> {
        let has = async |kind: ObjectKind| {
            let resources = self
                .client
                .list_api_group_resources(&kind.api_version())
                .await;
            match resources {
                Ok(list) => Ok(list
                    .resources
                    .iter()
                    .any(|resource| resource.kind == kind.name())),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
                Err(error) => Err(error),
            }
        };
        Ok(Capabilities {
            leader_worker_sets: has(ObjectKind::LeaderWorkerSet).await?,
            virtual_services: has(ObjectKind::VirtualService).await?,
        })
    }

    /// Runs until `lifecycle` stops; `health` is good once everything is known.
    pub(crate) async fn run(
        self,
        capabilities: Capabilities,
        health: Health,
        lifecycle: &Lifecycle,
    ) {
        let scopes = if self.namespaces.is_empty() {
            vec![String::new()]
        } else {
            self.namespaces.clone()
        };
        let cache = Arc::new(Cache::default());
        let reconciler = Arc::new(Reconciler {
            client: self.client.clone(),
            cache: Arc::clone(&cache),
            applier: Applier::new(
                self.client.clone(),
                self.metrics.clone(),
                Arc::clone(&cache),
            ),
            events: Events::new(self.client.clone(), self.instance.clone()),
            settings: self.settings.clone(),
            capabilities,
            metrics: self.metrics.clone(),
            attempts: Mutex::default(),
        });
        let unsynced = Arc::new(watch_channel::Sender::new(0));
        let mut controllers = Vec::new();
        for scope in scopes {
            let (wakes, woken) = mpsc::channel(QUEUE);
            let watches = Watches {
                client: self.client.clone(),
                scope: scope.clone(),
                cache: Arc::clone(&cache),
                wakes,
                unsynced: Arc::clone(&unsynced),
                metrics: self.metrics.clone(),
            };
            watch_objects(&watches, capabilities, lifecycle);
            controllers.push((scope, woken));
        }
        let mut synced = unsynced.subscribe();
        let stopping = lifecycle.stopping().clone();
        // What is not known yet would look as if it did not exist.
        let all = synced.wait_for(|left| *left == 0);
        if stopping.run_until_cancelled(all).await.is_none() {
            return;
        }
        health.set(true);
        let runs = controllers.into_iter().map(|(scope, woken)| {
            self.run_scope(scope, woken, Arc::clone(&reconciler), lifecycle.clone())
        });
        futures::future::join_all(runs).await;
    }

    async fn run_scope(
        &self,
        scope: String,
        mut woken: mpsc::Receiver<Wake>,
        reconciler: Arc<Reconciler>,
        lifecycle: Lifecycle,
    ) {
        let (graphs, graph_wakes) = mpsc::channel(QUEUE);
        let (components, component_wakes) = mpsc::channel(QUEUE);
        let metrics = self.metrics.clone();
        let sort = async move {
            while let Some(wake) = woken.recv().await {
                let Wake {
                    namespace,
                    kind,
                    name,
                } = wake;
                // A controller that is gone has nothing left to do.
                let sent = if kind == DynamoGraphDeployment::kind(&()) {
                    graphs
                        .send(ObjectRef::new(&name).within(&namespace))
                        .await
                        .is_ok()
                } else if kind == DynamoComponentDeployment::kind(&()) {
                    components
                        .send(ObjectRef::new(&name).within(&namespace))
                        .await
                        .is_ok()
                } else {
                    true
                };
                metrics.queued.dec();
                if !sent {
                    return;
                }
            }
        };
        lifecycle.spawn(sort);
        let graphs =
            self.control::<DynamoGraphDeployment>(&scope, graph_wakes, &reconciler, &lifecycle);
        let components = self.control::<DynamoComponentDeployment>(
            &scope,
            component_wakes,
            &reconciler,
            &lifecycle,
        );
        futures::join!(graphs, components);
    }

    async fn control<K>(
        &self,
        scope: &str,
        wakes: mpsc::Receiver<ObjectRef<K>>,
        reconciler: &Arc<Reconciler>,
        lifecycle: &Lifecycle,
    ) where
        K: Subject + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        let api: Api<K> = if scope.is_empty() {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), scope)
        };
        let (store, writer) = reflector::store();
        let metrics = self.metrics.clone();
        let resources = watcher(api, watcher::Config::default().page_size(50))
            .modify(strip)
            .default_backoff()
            .inspect_err(move |error| {
                metrics.count_watch_error();
                warn!(%error, kind = %K::kind(&()), "failed to watch resources");
            })
            .reflect(writer)
            .applied_objects()
            // Our own writes of the status are no news.
            .predicate_filter(
                predicates::generation
                    .combine(predicates::labels)
                    .combine(predicates::annotations),
                PredicateConfig::default(),
            );
        let stopping = lifecycle.stopping().clone();
        let ended = Controller::for_stream(resources, store)
            .reconcile_on(receive(wakes))
            .with_config(
                Config::default()
                    .concurrency(self.concurrency)
                    .debounce(Duration::from_millis(50)),
            )
            .graceful_shutdown_on(async move { stopping.cancelled().await })
            .run(
                reconciler::reconcile,
                reconciler::retry,
                Arc::clone(reconciler),
            )
            .for_each(async |_| {});
        ended.await;
    }
}

fn receive<T: Send + 'static>(
    receiver: mpsc::Receiver<T>,
) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, async |mut receiver| {
        let next = receiver.recv().await?;
        Some((next, receiver))
    })
}

/// Drops what is large and not looked at.
fn strip<K: ResourceExt>(resource: &mut K) {
    resource.managed_fields_mut().clear();
    resource
        .annotations_mut()
        .remove("kubectl.kubernetes.io/last-applied-configuration");
}

fn watch_objects(watches: &Watches, capabilities: Capabilities, lifecycle: &Lifecycle) {
    for kind in ObjectKind::ALL {
        let exists = match kind {
            ObjectKind::LeaderWorkerSet => capabilities.leader_worker_sets,
            ObjectKind::VirtualService => capabilities.virtual_services,
            _ => true,
        };
        if exists {
            watches.unsynced.send_modify(|left| *left += 1);
            lifecycle.spawn(watches.clone().objects(kind));
        }
    }
    watches.unsynced.send_modify(|left| *left += 1);
    lifecycle.spawn(watches.clone().adapters());
}
