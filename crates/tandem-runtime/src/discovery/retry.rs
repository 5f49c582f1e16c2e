//! Waiting for a store that is out of reach.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::DiscoveryError;

/// Pause after the first failed attempt; doubles up to [`MAX_PAUSE`].
pub(super) const MIN_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between attempts.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(1);
/// Most time that a write waits for a store that is out of reach.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// Repeats `attempt` while `store` is out of reach, until `deadline`.
pub(super) async fn retry<T, F>(
    store: &'static str,
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
) -> Result<T, DiscoveryError>
where
    F: Future<Output = Result<T, DiscoveryError>>,
{
    let mut pause = MIN_PAUSE;
    let mut warned = false;
    loop {
        match attempt().await {
            Err(DiscoveryError::Unavailable(reason)) if Instant::now() + pause < deadline => {
                if !std::mem::replace(&mut warned, true) {
                    warn!(%reason, "waiting for {store}");
                }
            }
            result => return result,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
