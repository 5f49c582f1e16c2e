//! How fast models have been lately, as observed by whoever carries requests to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::load_view::LoadViews;

/// Observations that are remembered of each model.
const WINDOW: usize = 256;

/// What was observed of every model. Shared by the transport, which reports, and the router, which
/// reads; it keeps the last 256 observations of each kind and knows no clock.
#[derive(Debug, Default)]
pub struct ModelStatistics {
    models: Mutex<HashMap<String, Observed>>,
    loads: Mutex<Arc<LoadViews>>,
}

#[derive(Debug, Default)]
struct Observed {
    /// Milliseconds to the first token.
    ttft: Ring,
    /// Milliseconds per output token.
    tpot: Ring,
    inflight: u64,
    /// Requests that were in flight when the load was told.
    told: u64,
}

/// The last values, the oldest of which is replaced first.
#[derive(Debug, Default)]
struct Ring {
    values: Vec<f64>,
    next: usize,
}

impl ModelStatistics {
    /// A model began its answer this long after it was asked.
    pub fn observe_ttft(&self, model: &str, after: Duration) {
        self.with(model, |observed| observed.ttft.push(millis(after)));
    }

    /// A model needed this long for each output token after the first, on average over an answer.
    pub fn observe_tpot(&self, model: &str, per_token: Duration) {
        self.with(model, |observed| observed.tpot.push(millis(per_token)));
    }

    /// A request was sent to a model. Pair it with [`Self::finished`].
    pub fn started(&self, model: &str) {
        self.with(model, |observed| observed.inflight += 1);
    }

    /// A request to a model ended, however it did.
    pub fn finished(&self, model: &str) {
        self.with(model, |observed| {
            observed.inflight = observed.inflight.saturating_sub(1);
        });
    }

    /// Percentile (1 to 100) of the time to the first token, in milliseconds; `None` without
    /// observations.
    pub fn ttft_ms(&self, model: &str, percentile: u8) -> Option<f64> {
        self.models.lock().get(model)?.ttft.percentile(percentile)
    }

    /// Percentile (1 to 100) of the time per output token, in milliseconds; `None` without
    /// observations.
    pub fn tpot_ms(&self, model: &str, percentile: u8) -> Option<f64> {
        self.models.lock().get(model)?.tpot.percentile(percentile)
    }

    /// Requests that were sent to a model and have not ended.
    pub fn inflight(&self, model: &str) -> u64 {
        self.models
            .lock()
            .get(model)
            .map_or(0, |observed| observed.inflight)
    }

    /// The servers of models told how busy they are; what was told before is forgotten.
    pub fn tell_loads(&self, loads: LoadViews) {
        for observed in self.models.lock().values_mut() {
            observed.told = observed.inflight;
        }
        *self.loads.lock() = Arc::new(loads);
    }

    /// What servers told last.
    pub fn loads(&self) -> Arc<LoadViews> {
        Arc::clone(&self.loads.lock())
    }

    /// Requests in flight to a model that are more than when its servers told of their load.
    pub(crate) fn sent_since(&self, model: &str) -> u64 {
        let models = self.models.lock();
        models.get(model).map_or(0, |observed| {
            observed.inflight.saturating_sub(observed.told)
        })
    }

    fn with(&self, model: &str, change: impl FnOnce(&mut Observed)) {
        let mut models = self.models.lock();
        match models.get_mut(model) {
            Some(observed) => change(observed),
            None => change(models.entry(model.to_owned()).or_default()),
        }
    }
}

impl Ring {
    fn push(&mut self, value: f64) {
        if self.values.len() < WINDOW {
            self.values.push(value);
        } else {
            self.values[self.next] = value;
            self.next = (self.next + 1) % WINDOW;
        }
    }

    /// Nearest rank.
    fn percentile(&self, percentile: u8) -> Option<f64> {
        let count = self.values.len();
        let rank = (count * usize::from(percentile.min(100))).div_ceil(100);
        let at = rank.max(1) - 1;
        let mut values = self.values.clone();
        if at >= count {
            return None;
        }
        let (_, value, _) = values.select_nth_unstable_by(at, f64::total_cmp);
        Some(*value)
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_last_values() {
        let statistics = ModelStatistics::default();
        assert_eq!(statistics.ttft_ms("m", 50), None);
        for i in 1..=100 {
            statistics.observe_ttft("m", Duration::from_millis(i));
        }
        let check = |percentile: u8, want: f64| {
            let got = statistics.ttft_ms("m", percentile).unwrap();
            assert!((got - want).abs() < 1e-9, "{percentile}: {got}");
        };
        check(1, 1.0);
        check(50, 50.0);
        check(95, 95.0);
        check(100, 100.0);
        for _ in 0..WINDOW {
            statistics.observe_ttft("m", Duration::from_millis(7));
        }
        check(1, 7.0);
        check(100, 7.0);
        assert_eq!(statistics.tpot_ms("m", 50), None);
    }

    #[test]
    fn requests_in_flight_never_go_below_none() {
        let statistics = ModelStatistics::default();
        statistics.started("m");
        statistics.started("m");
        statistics.finished("m");
        assert_eq!(statistics.inflight("m"), 1);
        statistics.finished("m");
        statistics.finished("m");
        assert_eq!(statistics.inflight("m"), 0);
        assert_eq!(statistics.inflight("other"), 0);
    }

    #[test]
    fn requests_count_as_new_until_servers_tell_of_their_load() {
        let statistics = ModelStatistics::default();
        statistics.started("m");
        statistics.tell_loads(LoadViews::from([("m".to_owned(), Vec::new())]));
        assert_eq!(statistics.sent_since("m"), 0);
        statistics.started("m");
        assert_eq!(statistics.sent_since("m"), 1);
        assert!(statistics.loads().contains_key("m"));
        statistics.tell_loads(LoadViews::default());
        assert_eq!(statistics.sent_since("m"), 0);
        assert!(statistics.loads().is_empty());
    }
}
