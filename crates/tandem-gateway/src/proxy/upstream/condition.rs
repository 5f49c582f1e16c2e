//! Whether a server is given requests.

use std::time::{Duration, Instant};

use tandem_semantic_router::config::Ejection;

/// What is known of a server from its answers: one that failed several times in a row is left
/// alone for a while, then a single request tries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It is given requests; so many failed in a row.
    Trusted { failures: u32 },
    /// It is given none until then; so many times in a row.
    Ejected { until: Instant, times: u32 },
    /// One request finds out whether it works again.
    OnTrial { times: u32 },
}

impl Condition {
    pub(super) const fn new() -> Self {
        Self::Trusted { failures: 0 }
    }

    /// Whether it may be given a request.
    pub(super) fn admits(self, now: Instant) -> bool {
        match self {
            Self::Trusted { .. } => true,
            Self::Ejected { until, .. } => now >= until,
            Self::OnTrial { .. } => false,
        }
    }

    pub(super) const fn is_trusted(self) -> bool {
        matches!(self, Self::Trusted { .. })
    }

    /// It is given a request.
    pub(super) fn chosen(&mut self, now: Instant) {
        if let Self::Ejected { until, times } = *self
            && now >= until
        {
            *self = Self::OnTrial { times };
        }
    }

    /// It answered.
    pub(super) const fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// It did not answer, or with a server error. Returns for how long it is left alone, if it was
    /// trusted before; `allowed` says whether there are enough other servers.
    pub(super) fn failed(
        &mut self,
        ejection: &Ejection,
        allowed: bool,
        now: Instant,
    ) -> Option<Duration> {
        match *self {
            Self::Trusted { failures } => {
                let failures = failures.saturating_add(1);
                let limit = ejection.consecutive_5xx;
                if limit == 0 || failures < limit || !allowed {
                    *self = Self::Trusted { failures };
                    return None;
                }
                *self = Self::Ejected {
                    until: now + ejection.base_time,
                    times: 1,
                };
                Some(ejection.base_time)
            }
            Self::OnTrial { times } => {
                let times = times.saturating_add(1);
                let until = now + ejection.base_time.saturating_mul(times);
                *self = Self::Ejected { until, times };
                None
            }
            // A request that was sent before.
            Self::Ejected { .. } => None,
        }
    }

    /// The request was given up before it told anything.
    pub(super) fn undecided(&mut self, now: Instant) {
        if let Self::OnTrial { times } = *self {
            *self = Self::Ejected { until: now, times };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EJECTION: Ejection = Ejection {
        consecutive_5xx: 2,
        base_time: Duration::from_secs(10),
        max_percent: 50.0,
    };

    #[test]
    fn failures_in_a_row_eject_and_one_request_tries() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut condition = Condition::new();
        assert_eq!(condition.failed(&EJECTION, true, start), None);
        condition.succeeded();
        assert_eq!(condition.failed(&EJECTION, true, start), None, "in a row");
        assert!(condition.admits(start));
        let ejected = condition.failed(&EJECTION, true, start);
        assert_eq!(ejected, Some(EJECTION.base_time));
        assert!(!condition.admits(after(9)));
        assert!(condition.admits(after(10)));
        condition.chosen(after(10));
        assert!(!condition.admits(after(10)), "one at a time");
        condition.undecided(after(11));
        assert!(condition.admits(after(11)), "the client had left");
        condition.chosen(after(11));
        condition.failed(&EJECTION, true, after(12));
        assert!(!condition.admits(after(31)), "twice as long");
        condition.chosen(after(32));
        condition.succeeded();
        assert!(condition.admits(after(32)) && condition.is_trusted());
    }

    #[test]
    fn some_servers_are_never_left_alone() {
        let now = Instant::now();
        let mut condition = Condition::new();
        for _ in 0..5 {
            assert_eq!(condition.failed(&EJECTION, false, now), None);
        }
        let never = Ejection {
            consecutive_5xx: 0,
            ..EJECTION
        };
        assert_eq!(condition.failed(&never, true, now), None);
        assert!(condition.admits(now));
    }
}
