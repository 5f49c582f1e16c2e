//! Discovery inside one process: every role of `tandem up` holds its own lease on one store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{Discovery, DiscoveryError, DiscoveryEvent};

/// A lease on an in-memory store; [`MemoryDiscovery::join`] takes another lease on the same one.
///
/// Dropping the last handle of a lease does not revoke it, as a killed process would not either:
/// call [`Discovery::revoke`].
#[derive(Debug)]
pub struct MemoryDiscovery {
    store: Arc<Mutex<Store>>,
    lease: u64,
}

#[derive(Debug, Default)]
struct Store {
    next_lease: u64,
    live_leases: Vec<u64>,
    entries: BTreeMap<String, Entry>,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Entry {
    value: Bytes,
    lease: u64,
}

/// Unbounded, because an event must not be lost and the number of events is bounded by the
/// number of registrations, which is small.
#[derive(Debug)]
struct Watcher {
    prefix: String,
    events: mpsc::UnboundedSender<DiscoveryEvent>,
}

impl MemoryDiscovery {
    /// A new store, and the first lease on it.
    pub fn new() -> Self {
        let store = Arc::new(Mutex::new(Store::default()));
        let lease = store.lock().grant();
        Self { store, lease }
    }

    /// Another lease on the same store.
    #[must_use]
    pub fn join(&self) -> Self {
        let lease = self.store.lock().grant();
        Self {
            store: Arc::clone(&self.store),
            lease,
        }
    }
}

impl Default for MemoryDiscovery {
    fn default() -> Self {
        Self::new()
    }
}

impl Discovery for MemoryDiscovery {
    fn lease(&self) -> u64 {
        self.lease
    }

    fn put(&self, key: String, value: Bytes) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        ready(self.store.lock().put(key, value, self.lease)).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        self.store.lock().delete(key);
        ready(Ok(())).boxed()
    }

    fn watch(&self, prefix: &str) -> BoxStream<'static, DiscoveryEvent> {
        UnboundedReceiverStream::new(self.store.lock().watch(prefix)).boxed()
    }

    fn revoke(&self) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        self.store.lock().revoke(self.lease);
        ready(Ok(())).boxed()
    }
}

impl Store {
    fn grant(&mut self) -> u64 {
        self.next_lease += 1;
        self.live_leases.push(self.next_lease);
        self.next_lease
    }

    fn put(&mut self, key: String, value: Bytes, lease: u64) -> Result<(), DiscoveryError> {
        if !self.live_leases.contains(&lease) {
            return Err(DiscoveryError::LeaseGone);
        }
        if self
            .entries
            .get(&key)
            .is_some_and(|entry| entry.lease != lease)
        {
            return Err(DiscoveryError::Taken(key));
        }
        self.entries.insert(
            key.clone(),
            Entry {
                value: value.clone(),
                lease,
            },
        );
        self.notify(&DiscoveryEvent::Put { key, value });
        Ok(())
    }

    fn delete(&mut self, key: &str) {
        if self.entries.remove(key).is_some() {
            self.notify(&DiscoveryEvent::Delete {
                key: key.to_owned(),
            });
        }
    }

    fn watch(&mut self, prefix: &str) -> mpsc::UnboundedReceiver<DiscoveryEvent> {
        let (events, receiver) = mpsc::unbounded_channel();
        for (key, entry) in self.entries.range(prefix.to_owned()..) {
            if !key.starts_with(prefix) {
                break;
            }
            let event = DiscoveryEvent::Put {
                key: key.clone(),
                value: entry.value.clone(),
            };
            events
                .send(event)
                .expect("the receiver is in this function");
        }
        self.watchers.push(Watcher {
            prefix: prefix.to_owned(),
            events,
        });
        receiver
    }

    fn revoke(&mut self, lease: u64) {
        self.live_leases.retain(|live| *live != lease);
        let keys: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.lease == lease)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.delete(&key);
        }
    }

    fn notify(&mut self, event: &DiscoveryEvent) {
        let (DiscoveryEvent::Put { key, .. } | DiscoveryEvent::Delete { key }) = event;
        self.watchers.retain(|watcher| {
            !key.starts_with(&watcher.prefix) || watcher.events.send(event.clone()).is_ok()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &'static str) -> DiscoveryEvent {
        DiscoveryEvent::Put {
            key: key.to_owned(),
            value: Bytes::from_static(value.as_bytes()),
        }
    }

    #[tokio::test]
    async fn a_watch_lists_then_follows() {
        let discovery = MemoryDiscovery::new();
        discovery.put("a/1".to_owned(), "x".into()).await.unwrap();
        discovery.put("b/1".to_owned(), "x".into()).await.unwrap();
        let mut events = discovery.watch("a/");
        assert_eq!(events.next().await, Some(put("a/1", "x")));
        discovery.put("b/2".to_owned(), "y".into()).await.unwrap();
        discovery.put("a/2".to_owned(), "y".into()).await.unwrap();
        discovery.delete("a/1").await.unwrap();
        assert_eq!(events.next().await, Some(put("a/2", "y")));
        assert_eq!(
            events.next().await,
            Some(DiscoveryEvent::Delete {
                key: "a/1".to_owned()
            })
        );
    }

    #[tokio::test]
    async fn a_revoked_lease_takes_its_entries_along() {
        let first = MemoryDiscovery::new();
        let second = first.join();
        assert_ne!(first.lease(), second.lease());
        first.put("a/1".to_owned(), "x".into()).await.unwrap();
        second.put("a/2".to_owned(), "x".into()).await.unwrap();
        assert_eq!(
            second.put("a/1".to_owned(), "z".into()).await,
            Err(DiscoveryError::Taken("a/1".to_owned()))
        );
        second.revoke().await.unwrap();
        assert_eq!(
            second.put("a/3".to_owned(), "x".into()).await,
            Err(DiscoveryError::LeaseGone)
        );
        let mut events = first.watch("a/");
        assert_eq!(events.next().await, Some(put("a/1", "x")));
        assert!(events.next().now_or_never().is_none());
    }
}
