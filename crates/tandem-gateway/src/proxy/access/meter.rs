//! What one client has used.

use std::time::{Duration, Instant};

use tandem_semantic_router::config::UsageLimits;

use super::{Limited, Refusal};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A token bucket: it holds `limit` at most and is filled evenly, `limit` in each period. What is
/// known only afterwards may be taken beyond its bottom.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// What was taken and is not filled up yet.
    taken: f64,
    /// When it was looked at.
    at: Option<Instant>,
}

/// What is in a bucket, and when there is one more.
struct Reading {
    left: f64,
    wait: Duration,
}

impl Bucket {
    fn read(&mut self, limit: u64, period: Duration, now: Instant) -> Reading {
        let limit = number(limit);
        let rate = limit / period.as_secs_f64();
        if let Some(before) = self.at.replace(now) {
            let filled = rate * now.saturating_duration_since(before).as_secs_f64();
            self.taken = (self.taken - filled).max(0.0);
        }
        let left = limit - self.taken;
        let missing = (1.0 - left).max(0.0) / rate;
        Reading {
            left,
            wait: Duration::try_from_secs_f64(missing).unwrap_or(Duration::MAX),
        }
    }
}

/// What one client has used.
#[derive(Debug, Default)]
pub(super) struct Meter {
    requests: Bucket,
    tokens: Bucket,
    daily_tokens: Bucket,
    running: u64,
}

impl Meter {
    /// Takes one request, if it is within all limits.
    pub(super) fn admit(&mut self, limits: &UsageLimits, now: Instant) -> Result<(), Refusal> {
        if let Some(limit) = limits.concurrent_requests
            && self.running >= limit
        {
            return Err(Refusal::Limited {
                limit,
                what: Limited::Concurrency,
                wait: Duration::ZERO,
            });
        }
        let buckets = [
            (
                &mut self.daily_tokens,
                limits.tokens_per_day,
                DAY,
                Limited::DailyTokens,
            ),
            (
                &mut self.tokens,
                limits.tokens_per_minute,
                MINUTE,
                Limited::Tokens,
            ),
            (
                &mut self.requests,
                limits.requests_per_minute,
                MINUTE,
                Limited::Requests,
            ),
        ];
        for (bucket, limit, period, what) in buckets {
            let Some(limit) = limit else {
                continue;
            };
            let wait = bucket.read(limit, period, now).wait;
            if !wait.is_zero() {
                return Err(Refusal::Limited { limit, what, wait });
            }
        }
        self.requests.taken += 1.0;
        self.running += 1;
        Ok(())
    }

    pub(super) fn ended(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    pub(super) fn charge(&mut self, tokens: u64) {
        self.tokens.taken += number(tokens);
        self.daily_tokens.taken += number(tokens);
    }

    /// What is left of the limits in each minute.
    pub(super) fn headers(
        &mut self,
        limits: &UsageLimits,
        now: Instant,
    ) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(limit) = limits.requests_per_minute {
            let left = self.requests.read(limit, MINUTE, now).left;
            headers.push(("x-ratelimit-limit-requests", limit.to_string()));
            headers.push(("x-ratelimit-remaining-requests", whole(left)));
        }
        if let Some(limit) = limits.tokens_per_minute {
            let left = self.tokens.read(limit, MINUTE, now).left;
            headers.push(("x-ratelimit-limit-tokens", limit.to_string()));
            headers.push(("x-ratelimit-remaining-tokens", whole(left)));
        }
        headers
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "limits are far below 2^53, where the cast is exact"
)]
const fn number(count: u64) -> f64 {
    count as f64
}

fn whole(left: f64) -> String {
    format!("{:.0}", left.max(0.0).floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(requests: Option<u64>, tokens: Option<u64>, day: Option<u64>) -> UsageLimits {
        UsageLimits {
            requests_per_minute: requests,
            tokens_per_minute: tokens,
            tokens_per_day: day,
            concurrent_requests: None,
        }
    }

    fn what(result: Result<(), Refusal>) -> Option<(Limited, u64)> {
        match result {
            Err(Refusal::Limited { what, wait, .. }) => Some((what, wait.as_secs())),
            _ => None,
        }
    }

    #[test]
    fn requests_come_back_evenly() {
        let start = Instant::now();
        let limits = limits(Some(3), None, None);
        let mut meter = Meter::default();
        for _ in 0..3 {
            assert_eq!(what(meter.admit(&limits, start)), None);
        }
        assert_eq!(
            what(meter.admit(&limits, start)),
            Some((Limited::Requests, 20))
        );
        let later = start + Duration::from_secs(20);
        assert_eq!(what(meter.admit(&limits, later)), None);
        assert!(what(meter.admit(&limits, later)).is_some());
        let much_later = start + DAY;
        for _ in 0..3 {
            assert_eq!(what(meter.admit(&limits, much_later)), None);
        }
        assert!(
            what(meter.admit(&limits, much_later)).is_some(),
            "no more than the limit"
        );
    }

    #[test]
    fn an_answer_beyond_the_limit_is_paid_for_afterwards() {
        let start = Instant::now();
        let limits = limits(None, Some(60), Some(86_400));
        let mut meter = Meter::default();
        assert_eq!(what(meter.admit(&limits, start)), None);
        meter.charge(100);
        assert_eq!(
            what(meter.admit(&limits, start)),
            Some((Limited::Tokens, 41))
        );
        let later = start + Duration::from_secs(42);
        assert_eq!(what(meter.admit(&limits, later)), None);
        meter.charge(86_400);
        assert!(matches!(
            what(meter.admit(&limits, later)),
            Some((Limited::DailyTokens, _))
        ));
        let left = meter.headers(&limits, later);
        assert_eq!(left[1], ("x-ratelimit-remaining-tokens", "0".to_owned()));
    }

    #[test]
    fn requests_at_a_time() {
        let limits = UsageLimits {
            concurrent_requests: Some(1),
            ..UsageLimits::default()
        };
        let mut meter = Meter::default();
        let now = Instant::now();
        assert_eq!(what(meter.admit(&limits, now)), None);
        assert_eq!(
            what(meter.admit(&limits, now)),
            Some((Limited::Concurrency, 0))
        );
        meter.ended();
        assert_eq!(what(meter.admit(&limits, now)), None);
    }
}
