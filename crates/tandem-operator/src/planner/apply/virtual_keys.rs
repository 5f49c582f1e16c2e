//! Telling whoever watches the planner's keys in the discovery store, as Dynamo's virtual connector
//! does.
//!
//! Below `v1/{namespace}/planner/` the planner writes the numbers that change, then `decision_id`, in
//! decimal; whoever starts and stops workers does so and writes the same number to
//! `scaled_decision_id`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use tandem_runtime::discovery::{Discovery, DiscoveryEvent};
use tandem_runtime::{EndpointId, InstanceWatch, Lifecycle};
use tokio::time::Instant;
use tracing::warn;

use super::{ApplyError, PerRole, Role, Standing};

/// How long a decision may take to be carried out before the next one is made all the same.
const PATIENCE: Duration = Duration::from_secs(1800);

/// The planner's keys, and the workers that are there.
pub struct VirtualKeys {
    discovery: Arc<dyn Discovery>,
    root: String,
    workers: PerRole<Option<InstanceWatch>>,
    /// Decision ids by the names of their keys.
    ids: Arc<Mutex<BTreeMap<String, u64>>>,
    /// The last decision of this planner.
    last: Mutex<Option<(u64, Instant)>>,
}

impl VirtualKeys {
    /// The keys of `namespace`; workers are the instances of `endpoints`.
    pub fn start(
        discovery: Arc<dyn Discovery>,
        namespace: &str,
        endpoints: &PerRole<Option<EndpointId>>,
        lifecycle: &Lifecycle,
    ) -> Self {
        let root = format!("v1/{namespace}/planner/");
        let ids = Arc::<Mutex<BTreeMap<String, u64>>>::default();
        let mut events = discovery.watch(&root);
        let (known, prefix) = (Arc::clone(&ids), root.clone());
        lifecycle.spawn(async move {
            while let Some(event) = events.next().await {
                note(&mut known.lock(), &prefix, &event);
            }
        });
        let workers = PerRole::of(|role| {
            let endpoint = endpoints.get(role).as_ref()?;
            Some(InstanceWatch::start(&*discovery, endpoint, lifecycle))
        });
        Self {
            discovery,
            root,
            workers,
            ids,
            last: Mutex::default(),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let count = |role: Role| {
            let workers = self.workers.get(role).as_ref()?;
            u32::try_from(workers.current().len()).ok()
        };
        let scaled = self.ids.lock().get("scaled_decision_id").copied();
        let last = *self.last.lock();
        let settled = last.is_none_or(|(decision, at)| {
            scaled.is_some_and(|scaled| scaled >= decision) || at.elapsed() >= PATIENCE
        });
        Standing {
            replicas: PerRole::of(count),
            settled,
        }
    }

    pub(super) async fn scale(&self, changes: &[(Role, u32)]) -> Result<(), ApplyError> {
        for (role, replicas) in changes {
            self.put(&format!("num_{role}_workers"), u64::from(*replicas))
                .await?;
        }
        let next = self.next_id();
        self.put("decision_id", next).await?;
        *self.last.lock() = Some((next, Instant::now()));
        Ok(())
    }

    /// Goes on after the decisions of an earlier planner, so that what was carried out then is not
    /// taken for this one's.
    fn next_id(&self) -> u64 {
        let ids = self.ids.lock().values().copied().max();
        let own = self.last.lock().map(|(decision, _)| decision);
        ids.max(own).map_or(0, |id| id + 1)
    }

    async fn put(&self, name: &str, value: u64) -> Result<(), ApplyError> {
        let key = format!("{}{name}", self.root);
        Ok(self
            .discovery
            .put(key, Bytes::from(value.to_string()))
            .await?)
    }
}

fn note(ids: &mut BTreeMap<String, u64>, prefix: &str, event: &DiscoveryEvent) {
    let (DiscoveryEvent::Put { key, .. } | DiscoveryEvent::Delete { key }) = event;
    let Some(name) = key
        .strip_prefix(prefix)
        .filter(|name| name.ends_with("decision_id"))
    else {
        return;
    };
    match event {
        DiscoveryEvent::Put { value, .. } => {
            let number = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            match number {
                Some(number) => {
                    ids.insert(name.to_owned(), number);
                }
                None => warn!(%key, "skipped a decision id that is not a number"),
            }
        }
        DiscoveryEvent::Delete { .. } => {
            ids.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use tandem_runtime::discovery::MemoryDiscovery;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_decision_is_settled_when_it_was_carried_out_or_is_old() {
        let discovery = Arc::new(MemoryDiscovery::new());
        let lifecycle = Lifecycle::new();
        let put = async |name: &str, value: &str| {
            let key = format!("v1/ns/planner/{name}");
            discovery
                .put(key, Bytes::copy_from_slice(value.as_bytes()))
                .await
                .unwrap();
            // Lets the watch see it.
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        put("scaled_decision_id", "4").await;
        let endpoint = EndpointId::new("ns", "backend", "generate");
        let endpoints = PerRole {
            prefill: None,
            decode: Some(endpoint),
        };
        let keys = VirtualKeys::start(discovery.clone(), "ns", &endpoints, &lifecycle);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(
            keys.standing().replicas,
            PerRole {
                prefill: None,
                decode: Some(0)
            }
        );
        assert!(keys.standing().settled);
        keys.scale(&[(Role::Decode, 3)]).await.unwrap();
        assert!(!keys.standing().settled);
        let mut written = discovery.watch("v1/ns/planner/");
        let mut values = BTreeMap::new();
        while values.len() < 3 {
            if let Some(DiscoveryEvent::Put { key, value }) = written.next().await {
                values.insert(key, value);
            }
        }
        assert_eq!(values["v1/ns/planner/num_decode_workers"], "3");
        assert_eq!(values["v1/ns/planner/decision_id"], "5");
        put("scaled_decision_id", "five").await;
        assert!(!keys.standing().settled);
        put("scaled_decision_id", "5").await;
        assert!(keys.standing().settled);
        keys.scale(&[(Role::Decode, 2)]).await.unwrap();
        assert!(!keys.standing().settled);
        tokio::time::sleep(PATIENCE).await;
        assert!(keys.standing().settled);
    }
}
