//! What computing prompts has cost lately.

use std::time::Duration;

/// Share of the old observations that counts after a new one: the last hundred or so matter.
const KEPT: f64 = 0.98;

/// Fits `seconds = floor + slope × tokens` to what was observed, by least squares that forget.
///
/// The tokens of an observation are all that the worker had to compute before the first output,
/// those of earlier prompts included. So it learns under load, too.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PrefillFit {
    weight: f64,
    tokens: f64,
    seconds: f64,
    tokens_squared: f64,
    tokens_seconds: f64,
}

/// What a prompt costs: neither number is negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PrefillLine {
    /// Seconds that every prompt takes.
    pub floor: f64,
    /// Seconds that each token takes.
    pub slope: f64,
}

impl PrefillLine {
    /// Seconds that it takes until `tokens` are computed.
    #[allow(
        clippy::cast_precision_loss,
        reason = "tokens are far below 2^53, where the cast is exact"
    )]
    pub(crate) fn seconds(&self, tokens: usize) -> f64 {
        self.slope.mul_add(tokens as f64, self.floor)
    }
}

impl PrefillFit {
    /// A prompt was computed this long after it was sent, `tokens` having had to be computed.
    #[allow(
        clippy::cast_precision_loss,
        reason = "tokens are far below 2^53, where the cast is exact"
    )]
    pub(crate) fn observe(&mut self, tokens: usize, after: Duration) {
        let (tokens, seconds) = (tokens as f64, after.as_secs_f64());
        let add = |sum: &mut f64, value: f64| *sum = *sum * KEPT + value;
        add(&mut self.weight, 1.0);
        add(&mut self.tokens, tokens);
        add(&mut self.seconds, seconds);
        add(&mut self.tokens_squared, tokens * tokens);
        add(&mut self.tokens_seconds, tokens * seconds);
    }

    /// The line; `None` without observations.
    pub(crate) fn line(&self) -> Option<PrefillLine> {
        if self.weight <= 0.0 {
            return None;
        }
        let (tokens, seconds) = (self.tokens / self.weight, self.seconds / self.weight);
        let variance = self.tokens_squared / self.weight - tokens * tokens;
        let covariance = self.tokens_seconds / self.weight - tokens * seconds;
        // Prompts of one length say nothing about others: their time is taken as proportional.
        let slope = if variance > 1e-6 * tokens * tokens {
            covariance / variance
        } else {
            f64::INFINITY
        };
        if slope <= 0.0 || self.tokens_squared <= 0.0 {
            return Some(PrefillLine {
                floor: seconds,
                slope: 0.0,
            });
        }
        let floor = seconds - slope * tokens;
        Some(if floor >= 0.0 {
            PrefillLine { floor, slope }
        } else {
            PrefillLine {
                floor: 0.0,
                slope: self.tokens_seconds / self.tokens_squared,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line through observations of tokens and milliseconds.
    fn check(observations: &[(usize, u64)], want: Option<(f64, f64)>) {
        let mut fit = PrefillFit::default();
        for (tokens, millis) in observations {
            fit.observe(*tokens, Duration::from_millis(*millis));
        }
        let line = fit.line();
        let near = |line: &PrefillLine, (floor, slope): (f64, f64)| {
            (line.floor - floor).abs() < 1e-9 && (line.slope - slope).abs() < 1e-9
        };
        let good = match (&line, want) {
            (Some(line), Some(want)) => near(line, want),
            (line, want) => line.is_none() && want.is_none(),
        };
        assert!(good, "{observations:?}: {line:?}");
    }

    #[test]
    fn the_line_runs_through_what_was_observed() {
        check(&[], None);
        check(&[(100, 30), (200, 50), (1000, 210)], Some((0.01, 0.0002)));
        // Cached prompts only: nothing is known of tokens.
        check(&[(0, 7), (0, 7)], Some((0.007, 0.0)));
        // One length only.
        check(&[(100, 50), (100, 50)], Some((0.0, 0.0005)));
        // Noise that would give a negative slope, or a negative floor.
        check(&[(100, 50), (200, 50), (150, 50)], Some((0.05, 0.0)));
        let proportional = (0.98 * 1.0 + 8.0) / (0.98 * 1e4 + 4e4);
        check(&[(100, 10), (200, 40)], Some((0.0, proportional)));
    }
}
