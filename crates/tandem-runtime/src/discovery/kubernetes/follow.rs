//! Follows the objects of one kind through outages and lost history.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::access::explain;
use crate::discovery::DiscoveryError;

/// Pause after the first failure; doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between attempts.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Seconds after which the API server ends a watch, which then goes on where it was. A connection
/// that is dead without a word is noticed that late.
const WATCH_SECONDS: u32 = 120;
/// Status of a watch whose history is gone.
const GONE: u16 = 410;

/// The changes of what `filter` selects in `api`, for ever. Failures are logged, once an outage;
/// `what` names the objects.
pub(super) fn follow<K>(
    api: Api<K>,
    filter: Config,
    what: &'static str,
) -> BoxStream<'static, Event<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let follower = Follower {
        api,
        config: filter.timeout(WATCH_SECONDS),
        what,
        events: None,
        pause: MIN_PAUSE,
        away: false,
    };
    stream::unfold(follower, |mut follower| async {
        let event = follower.next().await;
        Some((event, follower))
    })
    .boxed()
}

struct Follower<K> {
    api: Api<K>,
    config: Config,
    what: &'static str,
    /// `None` where everything has to be listed again.
    events: Option<BoxStream<'static, watcher::Result<Event<K>>>>,
    pause: Duration,
    /// Whether the last attempt failed.
    away: bool,
}

impl<K> Follower<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    async fn next(&mut self) -> Event<K> {
        loop {
            let events = self
                .events
                .get_or_insert_with(|| fresh(self.api.clone(), self.config.clone()).boxed());
            match events.next().await {
                // Nothing was asked yet.
                Some(Ok(Event::Init)) => return Event::Init,
                Some(Ok(event)) => {
                    if std::mem::take(&mut self.away) {
                        info!(what = self.what, "the Kubernetes API answers again");
                    }
                    self.pause = MIN_PAUSE;
                    return event;
                }
                Some(Err(error)) => self.failed(&error).await,
                None => self.events = None,
            }
        }
    }

    /// Logs a failure and waits.
    async fn failed(&mut self, error: &watcher::Error) {
        if is_gone(error) {
            // It happens in a long outage, and says nothing of the next attempt.
            self.events = None;
            return;
        }
        if !std::mem::replace(&mut self.away, true) {
            let (what, reason) = (self.what, reason(self.what, error));
            match reason {
                DiscoveryError::Denied(_) => error!(what, %reason, "going on with what is known"),
                _ => warn!(what, %reason, "going on with what is known"),
            }
        }
        tokio::time::sleep(jittered(self.pause)).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }
}

fn fresh<K>(api: Api<K>, config: Config) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher(api, config)
}

/// Whether the changes since the last one known are no longer told, so that everything has to be
/// listed again. An API server may say so in the stream or instead of one.
fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == GONE,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == GONE,
        _ => false,
    }
}

fn reason(what: &str, error: &watcher::Error) -> DiscoveryError {
    match error {
        watcher::Error::InitialListFailed(error) => explain(&format!("list {what}"), error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            explain(&format!("watch {what}"), error)
        }
        watcher::Error::WatchError(status) => {
            explain(&format!("watch {what}"), &kube::Error::Api(status.clone()))
        }
        watcher::Error::NoResourceVersion => DiscoveryError::Unavailable(error.to_string()),
    }
}

/// Between half of `pause` and all of it, so that the processes of a cluster do not come at once.
fn jittered(pause: Duration) -> Duration {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    let share = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn pauses_are_spread() {
        let pause = Duration::from_secs(2);
        let spread: Vec<_> = (0..100).map(|_| jittered(pause)).collect();
        assert!(spread.iter().all(|it| *it >= pause / 2 && *it <= pause));
        assert!(spread.iter().max() > spread.iter().min());
    }

    #[test]
    fn lost_history_is_told_apart_from_other_failures() {
        let status = |code| Status::failure("", "").with_code(code).boxed();
        let api = |code| kube::Error::Api(status(code));
        assert!(is_gone(&watcher::Error::WatchError(status(410))));
        assert!(is_gone(&watcher::Error::WatchStartFailed(api(410))));
        assert!(!is_gone(&watcher::Error::WatchError(status(403))));
        assert!(!is_gone(&watcher::Error::WatchStartFailed(api(500))));
        assert!(!is_gone(&watcher::Error::InitialListFailed(api(410))));
    }
}
