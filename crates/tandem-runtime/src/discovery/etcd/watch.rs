//! Follows the entries below a prefix through outages, compaction and fail-over.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tonic::Streaming;
use tracing::{info, warn};

use super::client::api::WatchResponse;
use super::client::api::event::EventType;
use super::client::{EtcdClient, Listing};
use super::contact::Contact;
use super::{MAX_PAUSE, MIN_PAUSE};
use crate::discovery::{DiscoveryError, DiscoveryEvent};

/// A reader's view: what it was told, and how it goes on.
///
/// When the connection was lost, everything is listed again and only the difference is told. An
/// entry that is not there after an outage is doubtful, not gone: its lease may have expired while
/// its process could not renew it. It gets some time to come back before its end is told. So does
/// one that a store says to be gone which did not answer lately: it need not have closed the
/// connection.
pub(super) struct Watch {
    client: EtcdClient,
    prefix: String,
    grace: Duration,
    contact: Arc<Contact>,
    known: BTreeMap<String, Bytes>,
    doubtful: BTreeMap<String, Instant>,
    untold: VecDeque<DiscoveryEvent>,
    changes: Option<Streaming<WatchResponse>>,
    listed: bool,
    failures: u32,
}

impl Watch {
    pub(super) fn new(
        client: EtcdClient,
        prefix: &str,
        grace: Duration,
        contact: Arc<Contact>,
    ) -> Self {
        Self {
            client,
            prefix: prefix.to_owned(),
            grace,
            contact,
            known: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            untold: VecDeque::new(),
            changes: None,
            listed: false,
            failures: 0,
        }
    }

    /// The next change.
    pub(super) async fn next(&mut self) -> DiscoveryEvent {
        loop {
            if let Some(event) = self.untold.pop_front() {
                return event;
            }
            let advanced = match &mut self.changes {
                None => self.open().await,
                Some(changes) => {
                    let doubt = self.doubtful.values().min().copied();
                    let decision = tokio::time::sleep_until(doubt.unwrap_or_else(Instant::now));
                    tokio::select! {
                        message = changes.message() => match message {
                            Ok(Some(message)) => self.receive(message, Instant::now()),
                            Ok(None) => Err(DiscoveryError::Unavailable(
                                "the stream of changes ended".to_owned(),
                            )),
                            Err(status) => {
                                Err(DiscoveryError::Unavailable(status.message().to_owned()))
                            }
                        },
                        () = decision, if doubt.is_some() => {
                            self.give_up_doubtful(Instant::now());
                            Ok(())
                        }
                    }
                }
            };
            if let Err(error) = advanced {
                self.pause(&error).await;
            }
        }
    }

    async fn pause(&mut self, error: &DiscoveryError) {
        self.changes = None;
        if self.failures == 0 {
            warn!(prefix = %self.prefix, %error, "lost sight of etcd: keeping what is known");
        }
        let pause = (MIN_PAUSE * 2_u32.saturating_pow(self.failures.min(8))).min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(pause).await;
    }

    async fn open(&mut self) -> Result<(), DiscoveryError> {
        let listing = self.client.list(&self.prefix).await?;
        let from = listing.revision + 1;
        self.changes = Some(self.client.watch(&self.prefix, from).await?);
        self.reconcile(listing, Instant::now());
        if self.failures > 0 {
            info!(prefix = %self.prefix, entries = self.known.len(), "following etcd again");
            self.failures = 0;
        }
        Ok(())
    }

    /// Tells the difference between what is known and what is there.
    fn reconcile(&mut self, listing: Listing, now: Instant) {
        let there: BTreeMap<String, Bytes> = listing.entries.into_iter().collect();
        if self.listed {
            let missing = self.known.keys().filter(|key| !there.contains_key(*key));
            for key in missing.cloned().collect::<Vec<_>>() {
                self.doubt(key, now + self.grace);
            }
        }
        self.listed = true;
        for (key, value) in there {
            self.put(key, value);
        }
    }

    fn receive(&mut self, message: WatchResponse, now: Instant) -> Result<(), DiscoveryError> {
        if message.canceled || message.compact_revision > 0 {
            let reason = if message.compact_revision > 0 {
                "the revision was compacted"
            } else {
                &message.cancel_reason
            };
            return Err(DiscoveryError::Unavailable(reason.to_owned()));
        }
        for event in message.events {
            let deleted = event.r#type() == EventType::Delete;
            let Some(entry) = event.kv else { continue };
            let Ok(key) = String::from_utf8(entry.key.into()) else {
                continue;
            };
            match self.contact.doubt(now) {
                _ if !deleted => self.put(key, entry.value),
                None => self.delete(key),
                Some(until) => self.doubt(key, until),
            }
        }
        Ok(())
    }

    fn put(&mut self, key: String, value: Bytes) {
        self.doubtful.remove(&key);
        if self.known.get(&key) == Some(&value) {
            return;
        }
        self.known.insert(key.clone(), value.clone());
        self.untold.push_back(DiscoveryEvent::Put { key, value });
    }

    fn doubt(&mut self, key: String, until: Instant) {
        if self.known.contains_key(&key) {
            self.doubtful.entry(key).or_insert(until);
        }
    }

    fn delete(&mut self, key: String) {
        self.doubtful.remove(&key);
        if self.known.remove(&key).is_some() {
            self.untold.push_back(DiscoveryEvent::Delete { key });
        }
    }

    fn give_up_doubtful(&mut self, now: Instant) {
        let due = self.doubtful.iter().filter(|(_, until)| **until <= now);
        for key in due.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.delete(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::api::{Event, KeyValue};
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn watch() -> Watch {
        let nowhere = tonic::transport::Endpoint::from_static("http://127.0.0.1:1");
        let client = EtcdClient::over(nowhere.connect_lazy());
        let contact = Arc::new(Contact::new(GRACE));
        Watch::new(client, "v1/", GRACE, contact)
    }

    fn listing(keys: &[&str]) -> Listing {
        let entries = keys.iter().map(|key| ((*key).to_owned(), Bytes::new()));
        Listing {
            revision: 1,
            entries: entries.collect(),
        }
    }

    fn told(watch: &mut Watch) -> Vec<String> {
        let events = watch.untold.drain(..);
        events
            .map(|event| match event {
                DiscoveryEvent::Put { key, .. } => format!("+{key}"),
                DiscoveryEvent::Delete { key } => format!("-{key}"),
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_difference_is_told_after_an_outage() {
        let mut watch = watch();
        let start = Instant::now();
        watch.reconcile(listing(&["v1/a", "v1/b"]), start);
        assert_eq!(told(&mut watch), ["+v1/a", "+v1/b"]);
        watch.reconcile(listing(&["v1/b", "v1/c"]), start);
        assert_eq!(told(&mut watch), ["+v1/c"], "v1/a may come back");
        watch.give_up_doubtful(start + Duration::from_secs(9));
        assert!(told(&mut watch).is_empty());
        watch.give_up_doubtful(start + Duration::from_secs(10));
        assert_eq!(told(&mut watch), ["-v1/a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_comes_back_was_never_gone() {
        let mut watch = watch();
        let start = Instant::now();
        watch.reconcile(listing(&["v1/a"]), start);
        watch.reconcile(listing(&[]), start);
        watch.put("v1/a".to_owned(), Bytes::new());
        watch.give_up_doubtful(start + Duration::from_secs(60));
        assert_eq!(told(&mut watch), ["+v1/a"]);
    }

    fn deletion(key: &str) -> WatchResponse {
        let kv = KeyValue {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..KeyValue::default()
        };
        let mut event = Event {
            kv: Some(kv),
            ..Event::default()
        };
        event.set_type(EventType::Delete);
        WatchResponse {
            events: vec![event],
            ..WatchResponse::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_did_not_answer_is_not_believed_at_once() {
        let mut watch = watch();
        let start = Instant::now();
        watch.reconcile(listing(&["v1/a", "v1/b", "v1/c"]), start);
        watch.receive(deletion("v1/a"), start).unwrap();
        assert_eq!(told(&mut watch), ["+v1/a", "+v1/b", "+v1/c", "-v1/a"]);
        watch.contact.answered(false, start);
        watch.receive(deletion("v1/b"), start).unwrap();
        watch.receive(deletion("v1/c"), start).unwrap();
        watch.put("v1/b".to_owned(), Bytes::new());
        assert!(told(&mut watch).is_empty());
        watch.give_up_doubtful(start + GRACE);
        assert_eq!(told(&mut watch), ["-v1/c"], "v1/b came back");
        watch.receive(deletion("v1/b"), start + GRACE).unwrap();
        assert_eq!(told(&mut watch), ["-v1/b"], "it answers again");
    }

    #[tokio::test(start_paused = true)]
    async fn compaction_and_cancellation_end_the_stream_of_changes() {
        let mut watch = watch();
        let compacted = WatchResponse {
            compact_revision: 7,
            ..WatchResponse::default()
        };
        assert!(watch.receive(compacted, Instant::now()).is_err());
        let canceled = WatchResponse {
            canceled: true,
            ..WatchResponse::default()
        };
        assert!(watch.receive(canceled, Instant::now()).is_err());
    }
}
