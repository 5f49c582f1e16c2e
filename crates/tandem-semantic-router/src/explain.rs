//! Why a request was routed as it was. Holds no text of the request.

use std::time::Duration;

use serde::Serialize;

/// How one request was decided.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Explanation {
    /// Model name that the client sent.
    pub requested_model: String,
    /// Model that serves it, if one was chosen.
    pub model: Option<String>,
    /// Why this model.
    pub reason: Option<ReasonCode>,
    /// Domains with their probabilities, most likely first.
    pub domains: Vec<(String, f32)>,
    /// Domain rules that matched.
    pub matched_domains: Vec<String>,
    /// Keyword rules that matched.
    pub matched_keywords: Vec<String>,
    /// Every signal rule that was evaluated.
    pub signals: Vec<SignalReading>,
    /// Estimated tokens of the request, if a rule asked.
    pub context_tokens: Option<u64>,
    /// Highest jailbreak probability over all turns.
    pub jailbreak: Option<f32>,
    /// Personal data found, allowed or not; `None` if nobody looked.
    pub pii: Option<Vec<PiiFinding>>,
    /// Signals that were needed and could not be had.
    pub unavailable: Vec<&'static str>,
    /// Decisions that matched, the winner first.
    pub matched: Vec<MatchedDecision>,
    /// The winner.
    pub decision: Option<String>,
    /// Category of the winner.
    pub category: Option<String>,
    /// What models were compared by whose scores are close; empty where scores alone decide.
    pub predictions: Vec<FirstTokenPrediction>,
    /// How reasoning was switched.
    pub reasoning: Option<Reasoning>,
    /// Whether a system prompt was added.
    pub system_prompt: bool,
    /// Types of personal data that were taken out of the request.
    pub redacted: Vec<String>,
    /// Plugins that changed the request, in the order in which they did.
    pub plugins: Vec<&'static str>,
    /// What the cache said, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheOutcome>,
    /// Time per stage.
    pub timings: Timings,
}

/// What a signal rule found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SignalReading {
    /// Family, as the `type` of a condition.
    pub family: &'static str,
    /// Name of the rule.
    pub name: String,
    /// Whether it counts as a match.
    pub matched: bool,
    /// How much, 0 to 1 for probabilities and similarities; `None` if it could not be found out.
    pub score: Option<f32>,
}

/// Why a model was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// The router chose it.
    AutoRouting,
    /// The client named it.
    ModelSpecified,
}

impl ReasonCode {
    /// Label in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::AutoRouting => "auto_routing",
            Self::ModelSpecified => "model_specified",
        }
    }
}

/// A type of personal data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PiiFinding {
    /// Type without BIO prefix.
    pub kind: String,
    /// Highest probability.
    pub score: f32,
}

/// A decision whose rule matched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MatchedDecision {
    /// Its name.
    pub name: String,
    /// Its priority.
    pub priority: i64,
    /// How sure the match is.
    pub confidence: f32,
}

/// When a model's first token would come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FirstTokenPrediction {
    /// Name of the model.
    pub model: String,
    /// Seconds until its first token; `None` if its servers told nothing lately.
    pub seconds: Option<f64>,
}

/// How reasoning was switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reasoning {
    /// Whether the model should reason.
    pub on: bool,
    /// Effort that was written into the request, if any.
    pub effort: Option<String>,
    /// Family of the model, if it has one.
    pub family: Option<String>,
}

/// What the cache said.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum CacheOutcome {
    /// The request was answered before.
    Hit {
        /// Of the two questions; `None` if the requests are the same.
        similarity: Option<f32>,
    },
    /// It goes to a model.
    Miss,
}

/// Time per stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// Reading the body.
    pub parse: Duration,
    /// Waiting for all signals.
    pub signals: Duration,
    /// Decisions and policies.
    pub decide: Duration,
    /// Editing the request.
    pub apply: Duration,
    /// All of it.
    pub total: Duration,
}
