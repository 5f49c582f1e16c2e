//! Plans how many prefill and decode workers a graph needs, from its traffic or its load, and asks
//! for them.
//!
//! [`decide()`] is pure; what is seen (`observe`) and who is told (`apply`) are around it.

pub mod apply;
mod args;
pub mod decide;
mod metrics;
pub mod observe;
pub mod predict;
pub mod profile;
pub mod role;

use std::time::Duration;

use prometheus_client::registry::Registry;
use tandem_runtime::Lifecycle;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use apply::{ApplyError, Connector};
use decide::{Decision, Observation, Policy, State, decide};
use metrics::{Metrics, Step};
use observe::{Seen, Source};

pub use args::{ArgsError, Environment, OptimizationTarget, PlannerArgs};

/// Sees, decides and asks for workers, one interval after the other.
pub struct Planner {
    source: Source,
    connector: Connector,
    settings: Settings,
    metrics: Metrics,
    state: State,
}

/// How a planner works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What decides.
    pub policy: Policy,
    /// Time from one decision to the next.
    pub interval: Duration,
    /// Whether decisions are only told.
    pub dry_run: bool,
}

impl Planner {
    /// A planner whose figures are in `registry`.
    pub fn new(
        source: Source,
        connector: Connector,
        settings: Settings,
        registry: &mut Registry,
    ) -> Self {
        Self {
            source,
            connector,
            settings,
            metrics: Metrics::register(registry),
            state: State::default(),
        }
    }

    /// Decides once an interval until `lifecycle` stops, and passes every decision to `tell`.
    pub async fn run(mut self, lifecycle: &Lifecycle, mut tell: impl FnMut(&Decision) + Send) {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let work = async {
            loop {
                ticks.tick().await;
                if let Some(decision) = self.step(started.elapsed()).await {
                    tell(&decision);
                }
            }
        };
        let ended: Option<()> = lifecycle.stopping().run_until_cancelled(work).await;
        debug_assert!(ended.is_none(), "it has no end of its own");
    }

    /// One interval's decision; `None` while the last one is being carried out.
    async fn step(&mut self, at: Duration) -> Option<Decision> {
        // Frontends tell of the time since they were asked last, so they are asked in any case.
        let seen = self.source.see(self.settings.interval).await;
        let seen = seen.unwrap_or_else(|error| {
            self.metrics.failed(Step::Observe);
            warn!(%error, "failed to see the traffic");
            Seen::default()
        });
        let standing = match self.connector.standing().await {
            Ok(standing) => standing,
            Err(error) => {
                self.failed_to_apply(&error);
                return None;
            }
        };
        if !standing.settled && !self.settings.dry_run {
            info!("what was asked for last has not happened yet");
            return None;
        }
        let observation = Observation {
            at,
            replicas: standing.replicas,
            traffic: seen.traffic,
            latency: seen.latency,
            pressure: seen.pressure,
        };
        let decision = decide(&observation, &self.state, &self.settings.policy);
        self.state = decision.state.clone();
        self.metrics.decided(&decision);
        self.apply(&decision).await;
        Some(decision)
    }

    async fn apply(&self, decision: &Decision) {
        let changes: Vec<_> = decision.changes().collect();
        if changes.is_empty() || self.settings.dry_run {
            return;
        }
        info!(%decision, "asking for workers");
        if let Err(error) = self.connector.scale(&changes).await {
            self.failed_to_apply(&error);
        }
    }

    fn failed_to_apply(&self, error: &ApplyError) {
        self.metrics.failed(Step::Apply);
        let cause = std::error::Error::source(error).map(ToString::to_string);
        warn!(%error, cause, "failed to scale");
    }
}
