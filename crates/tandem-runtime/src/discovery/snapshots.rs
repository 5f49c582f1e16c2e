//! Changes, told from one state of the store to the next, for stores that do not tell them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use super::DiscoveryEvent;

/// Entries by key.
pub(super) type Entries = BTreeMap<String, Bytes>;

/// What is below `prefix` in the state now, then what changes from each state to the next.
pub(super) fn changes(
    mut states: watch::Receiver<Arc<Entries>>,
    prefix: &str,
) -> BoxStream<'static, DiscoveryEvent> {
    states.mark_changed();
    let watcher = Watcher {
        prefix: prefix.to_owned(),
        states,
        known: Entries::new(),
        events: VecDeque::new(),
    };
    stream::unfold(watcher, |mut watcher| async {
        let event = watcher.next().await;
        Some((event, watcher))
    })
    .boxed()
}

/// What one watcher was told.
struct Watcher {
    prefix: String,
    states: watch::Receiver<Arc<Entries>>,
    known: Entries,
    events: VecDeque<DiscoveryEvent>,
}

impl Watcher {
    async fn next(&mut self) -> DiscoveryEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if self.states.changed().await.is_err() {
                // The process stops: there are no news any more.
                std::future::pending::<()>().await;
            }
            let state = Arc::clone(&self.states.borrow_and_update());
            self.compare(&state);
        }
    }

    fn compare(&mut self, state: &Entries) {
        let below = |key: &&String| key.starts_with(&self.prefix);
        let gone = self.known.keys().filter(|key| !state.contains_key(*key));
        let gone = gone.map(|key| DiscoveryEvent::Delete { key: key.clone() });
        self.events.extend(gone);
        let put = state.iter().filter(|(key, _)| below(key));
        let put = put.filter(|(key, value)| self.known.get(*key) != Some(*value));
        self.events
            .extend(put.map(|(key, value)| DiscoveryEvent::Put {
                key: key.clone(),
                value: value.clone(),
            }));
        let known = state.iter().filter(|(key, _)| below(key));
        self.known = known
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
    }
}
