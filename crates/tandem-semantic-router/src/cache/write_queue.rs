//! Entries that wait to be written to a store.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::entry::Entry;

/// Most bytes that wait; what comes when there are more is not written.
const MOST_BYTES: usize = 32 << 20;

/// For one reader.
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl WriteQueue {
    /// Whether there is room.
    pub(super) fn push(&self, entry: Arc<Entry>) -> bool {
        let mut waiting = self.waiting.lock();
        let bytes = waiting.bytes + entry.bytes();
        if bytes > MOST_BYTES {
            return false;
        }
        waiting.bytes = bytes;
        waiting.entries.push_back(entry);
        self.arrived.notify_one();
        true
    }

    /// The next one, once there is one.
    pub(super) async fn next(&self) -> Arc<Entry> {
        loop {
            if let Some(entry) = self.pop() {
                return entry;
            }
            self.arrived.notified().await;
        }
    }

    fn pop(&self) -> Option<Arc<Entry>> {
        let mut waiting = self.waiting.lock();
        let entry = waiting.entries.pop_front()?;
        waiting.bytes -= entry.bytes();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::testing::entry;
    use super::*;

    #[tokio::test]
    async fn entries_come_out_in_order_as_long_as_there_is_room() {
        let queue = WriteQueue::default();
        let big = |name: &str| {
            Arc::new(Entry {
                answer: Bytes::from(vec![0; MOST_BYTES / 2 - 4096]),
                ..entry(name)
            })
        };
        assert!(queue.push(big("first")));
        assert!(queue.push(big("second")));
        assert!(!queue.push(big("third")));
        assert_eq!(queue.next().await.key, entry("first").key);
        assert!(queue.push(big("fourth")));
        assert_eq!(queue.next().await.key, entry("second").key);
        assert_eq!(queue.next().await.key, entry("fourth").key);
        assert!(futures::poll!(Box::pin(queue.next())).is_pending());
    }
}
