//! Keeps a pool's index equal to what its workers have cached.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tandem_protocol::kv::{KvSnapshot, RouterEvent};
use tandem_runtime::{Instance, InstanceWatch, Lifecycle, RequestPlane};
use tracing::{debug, warn};

use crate::worker_pool::{PoolFactory, WorkerPool};

/// Subject on which workers publish their KV events.
pub(crate) const KV_EVENTS: &str = "kv-events";
/// Endpoint that answers with everything a worker has cached.
pub(crate) const KV_SNAPSHOT: &str = "kv_snapshot";

/// Most time for a worker to send its snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// Follows the events of the pool's workers until `lifecycle` stops.
pub(crate) fn start(factory: &PoolFactory, pool: &Arc<WorkerPool>, lifecycle: &Lifecycle) {
    let snapshots = pool.endpoint().sibling(KV_SNAPSHOT);
    let feed = Feed {
        pool: Arc::clone(pool),
        plane: Arc::clone(&factory.plane),
        snapshots: InstanceWatch::start(&*factory.discovery, &snapshots, lifecycle),
        last_event: HashMap::new(),
    };
    let messaging = Arc::clone(&factory.messaging);
    let subject = pool.endpoint().component_subject(KV_EVENTS);
    lifecycle.spawn(async move {
        match messaging.subscribe(&subject).await {
            Ok(events) => feed.run(events).await,
            Err(error) => warn!(%subject, %error, "routing without KV events"),
        }
    });
}

/// Only one task applies events, so a snapshot and the events after it cannot be mixed up: what
/// arrives while a snapshot is on its way waits in the subscription.
struct Feed {
    pool: Arc<WorkerPool>,
    plane: Arc<dyn RequestPlane>,
    snapshots: InstanceWatch,
    /// Number of the last event applied, by worker; a worker that is not in here is unknown.
    last_event: HashMap<u64, u64>,
}

impl Feed {
    async fn run(mut self, mut events: futures::stream::BoxStream<'static, bytes::Bytes>) {
        let mut snapshots = self.snapshots.clone();
        let mut instances = self.pool.instances();
        self.follow_instances().await;
        loop {
            tokio::select! {
                _ = snapshots.changed() => self.follow_instances().await,
                _ = instances.changed() => self.follow_instances().await,
                event = events.next() => match event {
                    Some(event) => self.receive(&event).await,
                    None => return,
                },
            }
        }
    }

    /// Forgets workers that left and asks new ones what they have.
    async fn follow_instances(&mut self) {
        let current = self.pool.instances().current();
        let gone: Vec<u64> = self
            .last_event
            .keys()
            .filter(|id| !current.contains_key(id))
            .copied()
            .collect();
        for worker in gone {
            self.last_event.remove(&worker);
            self.pool.router().remove_worker(worker);
        }
        let new: Vec<Instance> = self
            .snapshots
            .current()
            .values()
            .filter(|instance| !self.last_event.contains_key(&instance.instance_id))
            .cloned()
            .collect();
        for instance in new {
            self.resync(&instance).await;
        }
    }

    async fn receive(&mut self, payload: &[u8]) {
        let event: RouterEvent = match serde_json::from_slice(payload) {
            Ok(event) => event,
            Err(error) => {
                warn!(%error, "skipped a KV event that does not decode");
                return;
            }
        };
        let worker = event.worker_id;
        let number = event.event.event_id;
        match self.last_event.get(&worker) {
            Some(last) if number <= *last => {}
            Some(last) if number == last + 1 => {
                self.last_event.insert(worker, number);
                self.apply(&event);
            }
            last => {
                debug!(worker, ?last, number, "KV events were missed");
                let snapshots = self.snapshots.current();
                let Some(instance) = snapshots.get(&worker) else {
                    // Without a snapshot endpoint, what the event says is all there is to know.
                    self.apply(&event);
                    return;
                };
                self.resync(&instance.clone()).await;
            }
        }
    }

    fn apply(&self, event: &RouterEvent) {
        if let Err(error) = self.pool.router().apply(event) {
            debug!(worker = event.worker_id, %error, "a KV event does not fit the index");
        }
    }

    /// Replaces what is known of a worker by what it says it has.
    async fn resync(&mut self, instance: &Instance) {
        let worker = instance.instance_id;
        let snapshot = match self.snapshot(instance).await {
            Ok(snapshot) => snapshot,
            Err(reason) => {
                warn!(worker, reason, "no KV snapshot");
                return;
            }
        };
        let last = snapshot.events.last().map_or(0, |event| event.event_id);
        for event in snapshot.events {
            self.apply(&RouterEvent {
                worker_id: worker,
                event,
            });
        }
        self.last_event.insert(worker, last);
    }

    async fn snapshot(&self, instance: &Instance) -> Result<KvSnapshot, String> {
        let answer = async {
            let mut answers = self
                .plane
                .call(instance, "kv-snapshot", bytes::Bytes::from_static(b"{}"))
                .await
                .map_err(|error| error.to_string())?;
            let first = answers.next().await.ok_or("no answer")?;
            let bytes = first.map_err(|error| error.to_string())?;
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())
        };
        tokio::time::timeout(SNAPSHOT_TIMEOUT, answer)
            .await
            .map_err(|_| "no answer in time".to_owned())?
    }
}
