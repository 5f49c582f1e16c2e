//! Not asking a store that does not answer.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures in a row after which a store is not asked any more.
const MOST_FAILURES: u32 = 5;
/// First time after which it is tried again; each failed trial doubles it.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);

/// Whether requests ask a store. A background task tries one that they do not ask, so that no
/// request waits for a trial.
#[derive(Debug)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { trials: u32, until: Instant },
}

impl Breaker {
    /// Open, to be tried at once: a store is asked once it has answered.
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State::Open {
            trials: 0,
            until: now,
        }))
    }

    /// Whether requests may ask.
    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.0.lock(), State::Closed { .. })
    }

    /// Whether the store should be tried now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(*self.0.lock(), State::Open { until, .. } if until <= now)
    }

    /// The store has answered.
    pub(super) fn succeeded(&self) {
        *self.0.lock() = State::Closed { failures: 0 };
    }

    /// A call that was let through failed. `spread` is from 0 to 1: processes that lost a store
    /// together do not come back together.
    pub(super) fn failed(&self, now: Instant, spread: f64) {
        let mut state = self.0.lock();
        *state = match *state {
            State::Closed { failures } if failures + 1 < MOST_FAILURES => State::Closed {
                failures: failures + 1,
            },
            State::Closed { .. } => State::open(0, now, spread),
            open @ State::Open { .. } => open,
        };
    }

    /// A trial failed.
    pub(super) fn trial_failed(&self, now: Instant, spread: f64) {
        let mut state = self.0.lock();
        let trials = match *state {
            State::Closed { .. } => 0,
            State::Open { trials, .. } => trials + 1,
        };
        *state = State::open(trials, now, spread);
    }
}

impl State {
    fn open(trials: u32, now: Instant, spread: f64) -> Self {
        let wait = SHORTEST.saturating_mul(1 << trials.min(16)).min(LONGEST);
        Self::Open {
            trials,
            until: now + wait.mul_f64(0.5 + spread / 2.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_closes_it() {
        let now = Instant::now();
        let breaker = Breaker::new(now);
        assert!(!breaker.is_closed() && breaker.is_due(now));
        breaker.succeeded();
        for _ in 1..MOST_FAILURES {
            breaker.failed(now, 1.0);
        }
        breaker.succeeded();
        for _ in 1..MOST_FAILURES {
            breaker.failed(now, 1.0);
        }
        assert!(breaker.is_closed() && !breaker.is_due(now));
        breaker.failed(now, 1.0);
        assert!(!breaker.is_closed() && !breaker.is_due(now));
        assert!(breaker.is_due(now + SHORTEST));
        breaker.succeeded();
        assert!(breaker.is_closed());
    }

    #[test]
    fn trials_become_rarer_up_to_a_limit() {
        let now = Instant::now();
        let check = |trials: u32, spread: f64, wait: Duration| {
            let breaker = Breaker::new(now);
            for _ in 0..trials {
                breaker.trial_failed(now, spread);
            }
            let just_before = now + wait - Duration::from_millis(1);
            assert!(!breaker.is_due(just_before), "{trials} {spread}");
            assert!(breaker.is_due(now + wait), "{trials} {spread}");
        };
        check(1, 1.0, Duration::from_secs(1));
        check(1, 0.0, Duration::from_millis(500));
        check(2, 1.0, Duration::from_secs(2));
        check(99, 1.0, LONGEST);
    }

    #[test]
    fn late_failures_do_not_postpone_the_trial() {
        let now = Instant::now();
        let breaker = Breaker::new(now);
        breaker.failed(now, 1.0);
        assert!(breaker.is_due(now));
    }
}
