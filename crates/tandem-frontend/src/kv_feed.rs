//! Keeps a pool's index equal to what its workers have cached.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use rand::seq::SliceRandom;
use tandem_protocol::kv::{KvSnapshot, RouterEvent};
use tandem_runtime::request_plane::Request;
use tandem_runtime::{Instance, InstanceWatch, Lifecycle, RequestPlane};
use tracing::{debug, warn};

use crate::worker_pool::{PoolFactory, WorkerPool};

/// Subject on which workers publish their KV events.
pub(crate) const KV_EVENTS: &str = "kv-events";
/// Endpoint that answers with everything a worker has cached.
pub(crate) const KV_SNAPSHOT: &str = "kv_snapshot";

/// How long a worker that discovery does not know may send events.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(60);
/// Most time for a worker to send its snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);
/// Snapshots that are asked for at the same time.
const SNAPSHOTS_AT_ONCE: usize = 8;
/// How long a worker is not asked again after it sent its snapshot, and after it failed to.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(10);
/// How often is looked for workers that may be asked again.
const TICK: Duration = Duration::from_secs(1);

/// Follows the events of the pool's workers until `lifecycle` stops; `router_id` names the reader.
pub(crate) fn start(
    factory: &PoolFactory,
    pool: &Arc<WorkerPool>,
    router_id: &str,
    lifecycle: &Lifecycle,
) {
    let snapshots = pool.endpoint().sibling(KV_SNAPSHOT);
    let feed = Feed {
        pool: Arc::clone(pool),
        plane: Arc::clone(&factory.plane),
        snapshots: InstanceWatch::start(&*factory.discovery, &snapshots, lifecycle),
        last_event: HashMap::new(),
        not_before: HashMap::new(),
        present: HashSet::new(),
        strangers: HashMap::new(),
    };
    let subject = pool.endpoint().component_subject(KV_EVENTS);
    let events = factory.messaging.follow(&subject, router_id);
    lifecycle.spawn(feed.run(events));
}

/// Only one task applies events, so a snapshot and the events after it cannot be mixed up: what
/// arrives while a snapshot is on its way waits in the subscription.
struct Feed {
    pool: Arc<WorkerPool>,
    plane: Arc<dyn RequestPlane>,
    snapshots: InstanceWatch,
    /// Number of the last event applied, by worker; a worker that is not in here is unknown.
    last_event: HashMap<u64, u64>,
    /// When workers may be asked again that were asked lately. A snapshot costs its worker as much
    /// as all of its events, and every frontend that missed an event asks for one.
    not_before: HashMap<u64, Instant>,
    /// Workers that discovery knew when it was asked last.
    present: HashSet<u64>,
    /// Workers that sent events but are not known, since when. A log also holds the events of
    /// workers that are long gone.
    strangers: HashMap<u64, Instant>,
}

impl Feed {
    async fn run(mut self, mut events: stream::BoxStream<'static, bytes::Bytes>) {
        let mut snapshots = self.snapshots.clone();
        let mut instances = self.pool.instances();
        let mut tick = tokio::time::interval(TICK);
        self.follow_instances().await;
        loop {
            tokio::select! {
                _ = snapshots.changed() => self.follow_instances().await,
                _ = instances.changed() => self.follow_instances().await,
                event = events.next() => match event {
                    Some(event) => self.receive(&event).await,
                    None => return,
                },
                _ = tick.tick() => {
                    self.forget_strangers();
                    self.follow_instances().await;
                }
            }
        }
    }

    /// Forgets workers that left and asks new ones what they have.
    async fn follow_instances(&mut self) {
        let current = self.pool.instances().current();
        let present: HashSet<u64> = current.keys().copied().collect();
        for worker in self.present.difference(&present) {
            self.last_event.remove(worker);
            self.not_before.remove(worker);
            self.pool.router().remove_worker(*worker);
        }
        self.strangers.retain(|id, _| !present.contains(id));
        self.present = present;
        let snapshots = self.snapshots.current();
        let unknown = snapshots.values().filter(|instance| {
            let worker = instance.instance_id;
            !self.last_event.contains_key(&worker) && self.may_ask(worker)
        });
        let mut unknown: Vec<Instance> = unknown.cloned().collect();
        // Frontends that start together would all begin with the same worker.
        unknown.shuffle(&mut rand::rng());
        self.resync(unknown).await;
    }

    fn may_ask(&self, worker: u64) -> bool {
        let not_before = self.not_before.get(&worker);
        not_before.is_none_or(|at| *at <= Instant::now())
    }

    /// Forgets what workers have that discovery has not known for a while.
    fn forget_strangers(&mut self) {
        let router = self.pool.router();
        self.strangers.retain(|worker, since| {
            let keep = since.elapsed() < STRANGER_TIMEOUT;
            if !keep {
                router.remove_worker(*worker);
            }
            keep
        });
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
        if !self.present.contains(&worker) {
            self.strangers.entry(worker).or_insert_with(Instant::now);
        }
        match self.last_event.get(&worker) {
            Some(last) if number <= *last => {}
            Some(last) if number == last + 1 => {
                self.last_event.insert(worker, number);
                self.apply(&event);
            }
            last => {
                debug!(worker, ?last, number, "KV events were missed");
                self.last_event.remove(&worker);
                let snapshots = self.snapshots.current();
                match snapshots.get(&worker) {
                    Some(instance) if self.may_ask(worker) => {
                        self.resync(vec![instance.clone()]).await;
                    }
                    // Until there is a snapshot, what the event says is all there is to know.
                    _ => self.apply(&event),
                }
            }
        }
    }

    fn apply(&self, event: &RouterEvent) {
        if let Err(error) = self.pool.router().apply(event) {
            debug!(worker = event.worker_id, %error, "a KV event does not fit the index");
        }
    }

    /// Replaces what is known of workers by what they say they have.
    async fn resync(&mut self, instances: Vec<Instance>) {
        let plane = &Arc::clone(&self.plane);
        let asked = instances.into_iter().map(|instance| async move {
            let snapshot = snapshot(&**plane, &instance).await;
            (instance.instance_id, snapshot)
        });
        let mut answers = stream::iter(asked).buffer_unordered(SNAPSHOTS_AT_ONCE);
        while let Some((worker, answer)) = answers.next().await {
            let again = match answer {
                Ok(snapshot) => {
                    self.replace(worker, snapshot);
                    ASK_AGAIN
                }
                Err(reason) => {
                    warn!(worker, reason, "no KV snapshot");
                    ASK_AGAIN_AFTER_FAILURE.mul_f64(rand::random_range(0.5..1.0))
                }
            };
            self.not_before.insert(worker, Instant::now() + again);
        }
    }

    fn replace(&mut self, worker: u64, snapshot: KvSnapshot) {
        let last = snapshot.events.last().map_or(0, |event| event.event_id);
        for event in snapshot.events {
            self.apply(&RouterEvent::new(worker, event));
        }
        for change in snapshot.lower_tiers {
            self.apply(&RouterEvent::in_tier(worker, change));
        }
        self.last_event.insert(worker, last);
    }
}

async fn snapshot(plane: &dyn RequestPlane, instance: &Instance) -> Result<KvSnapshot, String> {
    let answer = async {
        let mut answers = plane
            .call(instance, Request::new("kv-snapshot", "{}"))
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
