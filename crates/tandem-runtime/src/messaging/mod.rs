//! Publish and subscribe.

mod memory;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use memory::MemoryMessaging;

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
}

/// Why a message was not sent or a subscription not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessagingError {
    /// The messaging service is out of reach; trying again later may help.
    #[error("messaging is unavailable: {0}")]
    Unavailable(String),
}
