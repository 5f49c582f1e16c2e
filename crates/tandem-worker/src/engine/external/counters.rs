//! How busy an engine is: what was sent to it from here, and the figures that it shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::debug;

use super::dialect::{Dialect, Figures};
use super::http::HttpClient;
use super::prometheus::Samples;
use crate::engine::{EngineCounters, EngineLoad};

/// How often an engine is asked for its figures.
const INTERVAL: Duration = Duration::from_millis(500);

/// The counts of all data-parallel ranks.
#[derive(Debug)]
pub(super) struct Counters(Mutex<Vec<Rank>>);

/// What is known of a rank.
#[derive(Debug, Clone, Default)]
struct Rank {
    /// Requests that were sent and are not answered.
    in_flight: usize,
    requests: u64,
    prompt_tokens: u64,
    cached_prompt_tokens: u64,
    generated_tokens: u64,
    remote_prefills: u64,
    fallbacks: BTreeMap<&'static str, u64>,
    /// What the engine shows; nothing while it is away.
    figures: Figures,
}

impl Counters {
    pub(super) fn new(ranks: usize) -> Self {
        Self(Mutex::new(vec![Rank::default(); ranks.max(1)]))
    }

    /// Requests that were sent and are not answered, to any rank.
    pub(super) fn in_flight(&self) -> usize {
        self.0.lock().iter().map(|rank| rank.in_flight).sum()
    }

    /// Counts a request with `prompt_tokens` to a rank, until the result is dropped.
    pub(super) fn start(self: &Arc<Self>, rank: u32, prompt_tokens: usize) -> InFlight {
        let in_flight = InFlight {
            counters: Arc::clone(self),
            rank,
        };
        in_flight.with(|rank| {
            rank.in_flight += 1;
            rank.requests += 1;
            rank.prompt_tokens += prompt_tokens as u64;
        });
        in_flight
    }

    /// Counts a prompt for a rank whose blocks are of no use.
    pub(super) fn note_fallback(&self, rank: u32, reason: &'static str) {
        if let Some(rank) = self.0.lock().get_mut(rank as usize) {
            *rank.fallbacks.entry(reason).or_default() += 1;
        }
    }

    /// Forgets what the engine showed.
    pub(super) fn forget_figures(&self) {
        for rank in self.0.lock().iter_mut() {
            rank.figures = Figures::default();
        }
    }

    /// How busy each rank is; all have `total_blocks`, and `cached` says how many of them can be
    /// reused.
    pub(super) fn loads(
        &self,
        total_blocks: usize,
        cached: impl Fn(u32) -> usize,
    ) -> Vec<EngineLoad> {
        let ranks = self.0.lock();
        let ranks = ranks.iter().zip(0..);
        ranks
            .map(|(rank, number)| rank.load(total_blocks, cached(number)))
            .collect()
    }

    /// Asks the engine for its figures for as long as it is polled.
    pub(super) async fn poll(self: Arc<Self>, dialect: Dialect, client: HttpClient) {
        let Some(path) = dialect.metrics() else {
            return;
        };
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match client.get(path).await {
                Ok(answer) if answer.status.is_success() => {
                    let samples = Samples::parse(&String::from_utf8_lossy(&answer.body));
                    let mut ranks = self.0.lock();
                    for (rank, number) in ranks.iter_mut().zip(0..) {
                        rank.figures = dialect.figures(&samples, number);
                    }
                }
                Ok(answer) => debug!(status = %answer.status, "the engine shows no figures"),
                Err(error) => debug!(%error, "failed to read the engine's figures"),
            }
        }
    }
}

impl Rank {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts, which Prometheus has as floats"
    )]
    fn load(&self, total_blocks: usize, cached: usize) -> EngineLoad {
        let shown = |figure: Option<f64>| figure.map(|figure| figure.max(0.0) as u64);
        let count = |figure, own: u64| shown(figure).unwrap_or(own);
        let figures = &self.figures;
        let waiting = count(figures.waiting, 0) as usize;
        let usage = figures.kv_usage.unwrap_or(0.0).clamp(0.0, 1.0);
        let active_blocks = (usage * total_blocks as f64).round() as usize;
        let computed = self.prompt_tokens.saturating_sub(self.cached_prompt_tokens);
        EngineLoad {
            // What was just sent is not in the figures yet.
            running: (count(figures.running, 0) as usize)
                .max(self.in_flight.saturating_sub(waiting)),
            waiting,
            active_blocks,
            cached_blocks: cached.min(total_blocks.saturating_sub(active_blocks)),
            total_blocks,
            // An engine outside has its own.
            tiers: Vec::new(),
            counters: EngineCounters {
                requests: self.requests,
                prompt_tokens: count(figures.prompt_tokens, self.prompt_tokens),
                cached_prompt_tokens: count(
                    figures.cached_prompt_tokens,
                    self.cached_prompt_tokens,
                ),
                prefill_tokens_computed: count(figures.computed_prompt_tokens, computed),
                generated_tokens: count(figures.generated_tokens, self.generated_tokens),
                draft_tokens: count(figures.draft_tokens, 0),
                accepted_draft_tokens: count(figures.accepted_draft_tokens, 0),
                steps: count(figures.steps, 0),
                preemptions: count(figures.preemptions, 0),
                remote_prefills: self.remote_prefills,
                peer_blocks_served: 0,
                remote_prefill_fallbacks: self.fallbacks.clone(),
            },
        }
    }
}

/// A request that the engine works on.
#[derive(Debug)]
pub(super) struct InFlight {
    counters: Arc<Counters>,
    rank: u32,
}

impl InFlight {
    /// Counts what came of the answer.
    pub(super) fn answered(&self, tokens: usize, cached: Option<u32>) {
        self.with(|rank| {
            rank.generated_tokens += tokens as u64;
            rank.cached_prompt_tokens += u64::from(cached.unwrap_or(0));
        });
    }

    /// Counts a prompt whose blocks came from another engine.
    pub(super) fn remote_prefill(&self) {
        self.with(|rank| rank.remote_prefills += 1);
    }

    /// Counts a prompt that is computed here because its blocks do not come.
    pub(super) fn fall_back(&self, reason: &'static str) {
        self.counters.note_fallback(self.rank, reason);
    }

    fn with(&self, change: impl FnOnce(&mut Rank)) {
        if let Some(rank) = self.counters.0.lock().get_mut(self.rank as usize) {
            change(rank);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.with(|rank| rank.in_flight -= 1);
    }
}

/// All ranks together.
pub(super) fn sum(loads: Vec<EngineLoad>) -> EngineLoad {
    let mut sum = EngineLoad::default();
    for load in loads {
        sum.running += load.running;
        sum.waiting += load.waiting;
        sum.active_blocks += load.active_blocks;
        sum.cached_blocks += load.cached_blocks;
        sum.total_blocks += load.total_blocks;
        let (all, one) = (&mut sum.counters, load.counters);
        all.requests += one.requests;
        all.prompt_tokens += one.prompt_tokens;
        all.cached_prompt_tokens += one.cached_prompt_tokens;
        all.prefill_tokens_computed += one.prefill_tokens_computed;
        all.generated_tokens += one.generated_tokens;
        all.draft_tokens += one.draft_tokens;
        all.accepted_draft_tokens += one.accepted_draft_tokens;
        all.steps += one.steps;
        all.preemptions += one.preemptions;
        all.remote_prefills += one.remote_prefills;
        for (reason, count) in one.remote_prefill_fallbacks {
            *all.remote_prefill_fallbacks.entry(reason).or_default() += count;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_until_they_are_dropped() {
        let counters = Arc::new(Counters::new(2));
        let first = counters.start(1, 100);
        let second = counters.start(1, 50);
        first.answered(3, Some(64));
        second.fall_back("lease_expired");
        drop(second);
        assert_eq!(counters.in_flight(), 1);
        let loads = counters.loads(10, |_| 4);
        assert_eq!((loads[0].running, loads[1].running), (0, 1));
        let load = sum(loads);
        assert_eq!((load.total_blocks, load.cached_blocks), (20, 8));
        let figures = load.counters;
        assert_eq!(figures.prompt_tokens, 150);
        assert_eq!(figures.prefill_tokens_computed, 86);
        assert_eq!(figures.remote_prefill_fallbacks["lease_expired"], 1);
        drop(first);
        assert_eq!(counters.in_flight(), 0);
    }

    #[test]
    fn what_the_engine_shows_counts_more() {
        let rank = Rank {
            in_flight: 5,
            figures: Figures {
                running: Some(2.0),
                waiting: Some(1.0),
                kv_usage: Some(0.5),
                computed_prompt_tokens: Some(7.0),
                ..Figures::default()
            },
            ..Rank::default()
        };
        let load = rank.load(100, 80);
        assert_eq!((load.running, load.waiting), (4, 1));
        assert_eq!((load.active_blocks, load.cached_blocks), (50, 50));
        assert_eq!(load.counters.prefill_tokens_computed, 7);
    }
}
