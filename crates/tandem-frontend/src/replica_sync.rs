//! Tells the other frontends where requests were sent, and hears the same from them, so that
//! several routers do not all send to the worker that looks idle to each of them.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use tandem_kv_router::{Prompt, SelectRequest, Worker};
use tandem_protocol::engine::RouterConfigOverride;
use tandem_protocol::load::{ActiveSequenceChange, ActiveSequenceEvent, WorkerRank};
use tandem_runtime::{Lifecycle, Messaging};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::worker_pool::WorkerPool;

/// Event that carries the changes.
const ACTIVE_SEQUENCES: &str = "active_sequences_events";
/// Changes that may wait to be sent. More are dropped: the load is an estimate anyway, and what is
/// never reported as ended expires.
const DEPTH: usize = 4096;

/// Where a pool tells of its requests.
#[derive(Debug)]
pub(crate) struct ReplicaSync {
    router_id: String,
    changes: mpsc::Sender<ActiveSequenceEvent>,
}

/// The receiving end of a [`ReplicaSync`], to be started with [`Peers::start`].
pub(crate) struct Peers {
    router_id: String,
    changes: mpsc::Receiver<ActiveSequenceEvent>,
}

/// Both ends for the router `router_id`.
pub(crate) fn channel(router_id: &str) -> (ReplicaSync, Peers) {
    let (sender, changes) = mpsc::channel(DEPTH);
    let sync = ReplicaSync {
        router_id: router_id.to_owned(),
        changes: sender,
    };
    let peers = Peers {
        router_id: router_id.to_owned(),
        changes,
    };
    (sync, peers)
}

impl ReplicaSync {
    /// Tells of a change; best effort.
    pub(crate) fn tell(&self, request_id: &str, worker: Worker, data: ActiveSequenceChange) {
        let event = ActiveSequenceEvent {
            request_id: request_id.to_owned(),
            worker: WorkerRank {
                worker_id: worker.worker_id,
                dp_rank: worker.dp_rank,
            },
            data,
            router_id: self.router_id.clone(),
        };
        if self.changes.try_send(event).is_err() {
            debug!("too many changes of load to tell the other frontends");
        }
    }
}

impl Peers {
    /// Exchanges changes until `lifecycle` stops.
    pub(crate) fn start(
        self,
        messaging: Arc<dyn Messaging>,
        pool: Arc<WorkerPool>,
        lifecycle: &Lifecycle,
    ) {
        let subject = pool.endpoint().component_subject(ACTIVE_SEQUENCES);
        let Self {
            router_id,
            mut changes,
        } = self;
        let (sending, topic) = (Arc::clone(&messaging), subject.clone());
        lifecycle.spawn(async move {
            while let Some(change) = changes.recv().await {
                let payload = serde_json::to_vec(&change).expect("a struct with string keys");
                if let Err(error) = sending.publish(&topic, payload.into()).await {
                    debug!(%error, "failed to tell the other frontends");
                }
            }
        });
        lifecycle.spawn(async move {
            let mut events = match messaging.subscribe(&subject).await {
                Ok(events) => events,
                Err(error) => {
                    warn!(%subject, %error, "routing without the other frontends' load");
                    return;
                }
            };
            while let Some(payload) = events.next().await {
                match serde_json::from_slice::<ActiveSequenceEvent>(&payload) {
                    Ok(event) if event.router_id == router_id => {}
                    Ok(event) => apply(&pool, event),
                    Err(error) => debug!(%error, "skipped a change that does not decode"),
                }
            }
        });
    }
}

fn apply(pool: &WorkerPool, event: ActiveSequenceEvent) {
    let ActiveSequenceEvent {
        request_id,
        worker,
        data,
        router_id,
    } = event;
    let id = format!("{router_id}/{request_id}");
    let router = pool.router();
    match data {
        ActiveSequenceChange::AddRequest {
            token_sequence,
            isl,
            overlap,
        } => {
            let prompt = Prompt {
                tokens: isl,
                blocks: Vec::new(),
                sequence: token_sequence.unwrap_or_default(),
            };
            let request = SelectRequest {
                id: &id,
                prompt: &prompt,
                overrides: RouterConfigOverride::default(),
                remote_prefill: false,
            };
            let worker = Worker {
                worker_id: worker.worker_id,
                dp_rank: worker.dp_rank,
            };
            router.add(&request, worker, overlap, Instant::now());
        }
        ActiveSequenceChange::MarkPrefillCompleted => {
            router.mark_prefill_completed(&id);
        }
        ActiveSequenceChange::Free => {
            router.free(&id);
        }
    }
}
