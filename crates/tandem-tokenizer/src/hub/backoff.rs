//! When to try again.

use std::time::Duration;

/// Failures in a row after which a download is given up.
const MOST_FAILURES: u32 = 6;
/// Longest pause between two attempts, unless the hub asks for more.
const LONGEST: Duration = Duration::from_secs(30);
/// Longest pause that a hub may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

/// Pauses that double with each failure in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    failures: u32,
    /// How far a download has come.
    reached: u64,
}

/// What happened to an attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failed {
    /// Bytes that are there now. More than before means that trying again pays.
    pub(super) reached: u64,
    /// The pause that the hub asks for.
    pub(super) asked: Option<Duration>,
}

impl Backoff {
    /// Pauses for `first` after the first failure.
    pub(super) const fn new(first: Duration) -> Self {
        Self {
            first,
            failures: 0,
            reached: 0,
        }
    }

    /// How long to wait before the next attempt; `None` to give up. `jitter` in 0..1 keeps workers
    /// that start together from coming back together.
    pub(super) fn pause(&mut self, failed: Failed, jitter: f64) -> Option<Duration> {
        if failed.reached > self.reached {
            self.reached = failed.reached;
            self.failures = 0;
        }
        self.failures += 1;
        if self.failures > MOST_FAILURES {
            return None;
        }
        let doubled = self.first * 2_u32.pow(self.failures - 1);
        let pause = doubled.min(LONGEST).mul_f64(0.5 + jitter / 2.0);
        let asked = failed.asked.unwrap_or_default().min(LONGEST_ASKED);
        Some(pause.max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(reached: u64) -> Failed {
        Failed {
            reached,
            asked: None,
        }
    }

    #[test]
    fn pauses_double_and_end() {
        let mut backoff = Backoff::new(SECOND);
        let pauses: Vec<_> = (0..7).map(|_| backoff.pause(at(0), 1.0)).collect();
        let seconds = [1, 2, 4, 8, 16, 30].map(|n| Some(n * SECOND));
        assert_eq!(pauses[..6], seconds);
        assert_eq!(pauses[6], None);
    }

    #[test]
    fn progress_starts_over() {
        let mut backoff = Backoff::new(SECOND);
        for reached in 1..100 {
            assert_eq!(backoff.pause(at(reached), 0.0), Some(SECOND / 2));
        }
        // Coming less far than before is no progress.
        assert_eq!(backoff.pause(at(5), 0.0), Some(SECOND));
    }

    #[test]
    fn the_hub_may_ask_for_more_within_reason() {
        let mut backoff = Backoff::new(SECOND);
        let ask = |seconds: u32| Failed {
            reached: 0,
            asked: Some(seconds * SECOND),
        };
        assert_eq!(backoff.pause(ask(7), 0.0), Some(7 * SECOND));
        assert_eq!(backoff.pause(ask(100_000), 0.0), Some(LONGEST_ASKED));
        assert_eq!(backoff.pause(ask(0), 1.0), Some(4 * SECOND));
    }
}
