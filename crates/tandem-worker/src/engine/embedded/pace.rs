//! How long the engine takes to compute a prompt.

use std::time::Duration;

/// Fewest prompt tokens of a step that says something about them.
const LEAST_TOKENS: usize = 16;
/// How much a step counts.
const WEIGHT: f64 = 0.2;

/// Time per prompt token, lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    seconds: Option<f64>,
}

impl Pace {
    /// Notes that a step with `tokens` prompt tokens took `time`.
    #[allow(
        clippy::cast_precision_loss,
        reason = "tokens of a step, far below 2^52"
    )]
    pub(super) fn observe(&mut self, tokens: usize, time: Duration) {
        if tokens < LEAST_TOKENS {
            return;
        }
        let latest = time.as_secs_f64() / tokens as f64;
        let seconds = self
            .seconds
            .map_or(latest, |before| before + WEIGHT * (latest - before));
        self.seconds = Some(seconds);
    }

    /// How long `tokens` prompt tokens would take; `None` before any were computed.
    #[allow(clippy::cast_precision_loss, reason = "tokens of a block")]
    pub(super) fn of(&self, tokens: usize) -> Option<Duration> {
        let seconds = self.seconds? * tokens as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_steps_that_compute_prompts() {
        let mut pace = Pace::default();
        pace.observe(15, Duration::from_secs(1));
        assert_eq!(pace.of(16), None);
        pace.observe(100, Duration::from_secs(1));
        assert_eq!(pace.of(16), Some(Duration::from_millis(160)));
        for _ in 0..100 {
            pace.observe(100, Duration::from_secs(2));
        }
        let later = pace.of(16).unwrap().as_secs_f64();
        assert!((later - 0.32).abs() < 1e-6, "{later}");
    }
}
