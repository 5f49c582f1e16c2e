//! Decisions: when a rule matches, these models and plugins are used.

use super::plugin::Plugins;

/// When this rule matches, these models and plugins are used.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Name in headers, logs and metrics.
    pub name: String,
    /// Higher wins.
    pub priority: i64,
    /// Lower wins before everything else.
    pub tier: i64,
    /// When it matches.
    pub rule: Rule,
    /// Candidates; at least one unless `plugins.fast_response` is set.
    pub models: Vec<ModelRef>,
    /// How one candidate is chosen.
    pub selection: Selection,
    /// Whether models whose score is close compete by their predicted time to the first token.
    pub load_aware: Option<LoadAware>,
    /// What is done to the request.
    pub plugins: Plugins,
}

/// A boolean expression over signals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// All of them.
    All(Vec<Rule>),
    /// At least one of them.
    Any(Vec<Rule>),
    /// Not this one.
    Not(Box<Rule>),
    /// A signal matched.
    Signal(SignalRef),
    /// Every request.
    Always,
    /// No request.
    Never,
}

/// A signal rule, by its place in [`super::RouterConfig::signals`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalRef(pub usize);

impl Rule {
    /// The same expression without parts that are always or never true.
    #[must_use]
    pub fn simplified(self) -> Self {
        match self {
            Self::All(parts) => {
                let parts: Vec<Self> = parts.into_iter().map(Self::simplified).collect();
                if parts.contains(&Self::Never) || parts.is_empty() {
                    return Self::Never;
                }
                if parts.iter().all(|part| *part == Self::Always) {
                    return Self::Always;
                }
                Self::All(parts)
            }
            Self::Any(parts) => {
                let parts = parts.into_iter().map(Self::simplified);
                let mut parts: Vec<Self> = parts.filter(|part| *part != Self::Never).collect();
                match parts.len() {
                    0 => Self::Never,
                    1 if parts[0] == Self::Always => parts.remove(0),
                    _ => Self::Any(parts),
                }
            }
            Self::Not(part) => match part.simplified() {
                Self::Always => Self::Never,
                Self::Never => Self::Always,
                part => Self::Not(Box::new(part)),
            },
            Self::Signal(_) | Self::Always | Self::Never => self,
        }
    }

    /// Every signal that the expression looks at.
    pub fn signals(&self, found: &mut Vec<SignalRef>) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.signals(found));
            }
            Self::Not(part) => part.signals(found),
            Self::Signal(signal) => found.push(*signal),
            Self::Always | Self::Never => {}
        }
    }
}

/// A candidate model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRef {
    /// Name in [`super::RouterConfig::models`].
    pub model: String,
    /// Adapter to ask for instead of the model itself.
    pub lora: Option<String>,
    /// Score or share.
    pub weight: f32,
    /// Whether the model should reason.
    pub use_reasoning: bool,
    /// How hard.
    pub effort: Option<String>,
}

impl ModelRef {
    /// What the request's `model` becomes.
    pub fn served_name(&self) -> &str {
        self.lora.as_deref().unwrap_or(&self.model)
    }
}

/// How one candidate is chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// Highest weight, the first of equals.
    Static,
    /// At random, in proportion to the weights.
    Weighted,
    /// The fastest by what was observed.
    LatencyAware(LatencyAware),
    /// The best by quality, latency, cost and load together.
    MultiFactor(MultiFactor),
}

/// Models whose score is close compete by their predicted time to the first token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadAware {
    /// Scores are close that are less than the best one by at most this share of it, 0 to 1.
    pub tolerance: f64,
}

impl LoadAware {
    /// Tolerance when none is configured.
    pub const DEFAULT_TOLERANCE: f64 = 0.1;
}

/// Which observed latencies count.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyAware {
    /// Percentile of the time to the first token, 1 to 100; not looked at if `None`.
    pub ttft_percentile: Option<u8>,
    /// Percentile of the time per output token, 1 to 100; not looked at if `None`.
    pub tpot_percentile: Option<u8>,
}

/// How much each factor counts, and which candidates are out.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiFactor {
    /// Share of each factor; only their proportions matter.
    pub weights: FactorWeights,
    /// What a candidate must keep to.
    pub limits: Limits,
    /// Percentile of the observed latencies, 1 to 100.
    pub latency_percentile: u8,
    /// Who is chosen when no candidate keeps to the limits.
    pub fallback: Fallback,
}

/// Share of each factor, 0 or more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FactorWeights {
    /// `quality_score` of the model.
    pub quality: f64,
    /// Observed latencies.
    pub latency: f64,
    /// Configured prices.
    pub cost: f64,
    /// Requests in flight.
    pub load: f64,
}

/// What a candidate must keep to, where something is known about it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Milliseconds per output token.
    pub max_tpot_ms: Option<f64>,
    /// Milliseconds to the first token.
    pub max_ttft_ms: Option<f64>,
    /// Mean of the prices per million tokens.
    pub max_cost_per_1m: Option<f64>,
    /// Requests in flight.
    pub max_inflight: Option<u64>,
}

/// Who is chosen when no candidate keeps to the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The least expensive.
    Cheapest,
    /// The fastest by what was observed.
    Fastest,
    /// The one of the highest quality.
    Best,
    /// The first in the file.
    First,
}
