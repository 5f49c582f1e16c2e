//! Publish and subscribe, and logs that can be read later.

mod memory;
mod nats;
mod zmq;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use memory::MemoryMessaging;
pub use nats::NatsMessaging;
pub use zmq::ZmqMessaging;

/// Subjects with any number of publishers and subscribers.
///
/// A subscriber sees the messages published after it subscribed. One that falls too far behind
/// loses messages; whoever needs all of them numbers them and asks again when there is a gap.
pub trait Messaging: Send + Sync {
    /// Sends `payload` to everyone who has subscribed to `subject`; nobody is not an error.
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), MessagingError>>;

    /// The messages on `subject` from now on.
    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Bytes>, MessagingError>>;

    /// Adds `payload` to the log of `subject`.
    fn append<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), MessagingError>>;

    /// What the log of `subject` still holds, if it is kept at all, and then what is added to it.
    /// `reader` names the reader; one that comes back goes on where it was.
    ///
    /// The stream goes on after an outage. Messages may come twice, or be lost with the log.
    fn follow(&self, subject: &str, reader: &str) -> BoxStream<'static, Bytes>;
}

/// Why a message was not sent or a subscription not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessagingError {
    /// The messaging service does not let this process in, or the two do not trust each other.
    #[error("messaging is not allowed: {0}")]
    Denied(String),
    /// The messaging service is out of reach; trying again later may help.
    #[error("messaging is unavailable: {0}")]
    Unavailable(String),
}
