//! Messaging inside one process.

use std::collections::HashMap;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use super::{Messaging, MessagingError};

/// Messages that a subscriber may lag behind before it loses the oldest.
const DEPTH: usize = 4096;

/// One broadcast channel per subject.
#[derive(Debug, Default)]
pub struct MemoryMessaging {
    subjects: Mutex<HashMap<String, broadcast::Sender<Bytes>>>,
}

impl MemoryMessaging {
    /// No subjects yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Messaging for MemoryMessaging {
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), MessagingError>> {
        if let Some(sender) = self.subjects.lock().get(subject) {
            // An error says that nobody listens, which is fine.
            drop(sender.send(payload));
        }
        ready(Ok(())).boxed()
    }

    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Bytes>, MessagingError>> {
        ready(Ok(self.listen(subject))).boxed()
    }

    fn append<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), MessagingError>> {
        self.publish(subject, payload)
    }

    /// Nothing is kept: a reader that comes late asks the publishers for what it missed.
    fn follow(&self, subject: &str, _reader: &str) -> BoxStream<'static, Bytes> {
        self.listen(subject)
    }
}

impl MemoryMessaging {
    fn listen(&self, subject: &str) -> BoxStream<'static, Bytes> {
        let mut subjects = self.subjects.lock();
        subjects.retain(|_, sender| sender.receiver_count() > 0);
        let receiver = match subjects.get(subject) {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, receiver) = broadcast::channel(DEPTH);
                subjects.insert(subject.to_owned(), sender);
                receiver
            }
        };
        BroadcastStream::new(receiver)
            .filter_map(|message| ready(message.ok()))
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_subscriber_gets_every_message_of_its_subject() {
        let messaging = MemoryMessaging::new();
        messaging.publish("a", "early".into()).await.unwrap();
        let mut first = messaging.subscribe("a").await.unwrap();
        let mut second = messaging.subscribe("a").await.unwrap();
        let mut other = messaging.subscribe("b").await.unwrap();
        messaging.publish("a", "1".into()).await.unwrap();
        messaging.publish("a", "2".into()).await.unwrap();
        for stream in [&mut first, &mut second] {
            assert_eq!(stream.next().await, Some("1".into()));
            assert_eq!(stream.next().await, Some("2".into()));
        }
        assert!(other.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_subscriber_that_lags_loses_the_oldest_only() {
        let messaging = MemoryMessaging::new();
        let mut slow = messaging.subscribe("a").await.unwrap();
        for i in 0..DEPTH + 10 {
            messaging.publish("a", i.to_string().into()).await.unwrap();
        }
        assert_eq!(slow.next().await, Some("10".into()));
    }
}
