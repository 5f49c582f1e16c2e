//! Stores that processes share.

use std::fmt;

use futures::future::BoxFuture;

use super::entry::{Asked, Entry, Moment};
use super::invalidation::Invalidation;
use super::key::Key;

/// A store outside of this process. It finds; whether an answer is served is decided here.
///
/// Every call may be dropped before it ends.
pub(super) trait Backend: fmt::Debug + Send + Sync {
    /// What metrics call it.
    fn name(&self) -> &'static str;

    /// Makes ready what the other calls need, or sees that it is.
    fn prepare(&self) -> BoxFuture<'_, Result<(), BackendError>>;

    /// The entry with a key.
    fn get(&self, key: Key) -> BoxFuture<'_, Result<Option<Entry>, BackendError>>;

    /// Entries whose questions may ask for the same, with the same surroundings: the most likely
    /// ones, and not many.
    fn candidates<'a>(
        &'a self,
        asked: &'a Asked,
        now: Moment,
    ) -> BoxFuture<'a, Result<Vec<Candidate>, BackendError>>;

    /// Stores an entry in place of an older one.
    fn put<'a>(&'a self, entry: &'a Entry, now: Moment) -> BoxFuture<'a, Result<(), BackendError>>;

    /// Drops answers, and tells the other processes to.
    fn invalidate<'a>(
        &'a self,
        invalidation: &'a Invalidation,
    ) -> BoxFuture<'a, Result<(), BackendError>>;

    /// What any process has dropped since then.
    fn invalidations(
        &self,
        since: Moment,
    ) -> BoxFuture<'_, Result<Vec<Invalidation>, BackendError>>;
}

/// The question of an entry that was not fetched yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) key: Key,
    pub(super) asked: Asked,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BackendError {
    /// It may be there again later.
    #[error("{0}")]
    Unavailable(String),
    /// It did not answer in time.
    #[error("no answer in time")]
    Late,
    /// It is there, and has no room.
    #[error("no room: {0}")]
    Full(String),
    /// It is there, and does not do it for us: somebody must change something.
    #[error("refused: {0}")]
    Refused(String),
}
