//! What the router is told to do. Both file layouts (the flat one of v0.1.0 and `version: v0.3`)
//! become this one model; everything in it has been checked.

mod decision;
mod extension;
mod flat;
mod layered;
mod load;
mod provider;
mod reader;
mod signal;
mod substitute;
mod tree;

use std::fmt;
use std::time::Duration;

pub use load::{ConfigError, Loaded};
pub use reader::Problem;

/// Names of the domain classifier's labels (MMLU-Pro).
pub const DOMAINS: [&str; 14] = [
    "biology",
    "business",
    "chemistry",
    "computer science",
    "economics",
    "engineering",
    "health",
    "history",
    "law",
    "math",
    "other",
    "philosophy",
    "physics",
    "psychology",
];

/// Personal data that nobody sends by accident: refused by the built-in policy.
pub const SECRET_PII: [&str; 4] = ["US_SSN", "CREDIT_CARD", "IBAN_CODE", "US_DRIVER_LICENSE"];

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Model names that ask the router to choose; `auto` is always one.
    pub auto_models: Vec<String>,
    /// Model when no decision matches.
    pub default_model: Option<String>,
    /// Models, in file order.
    pub models: Vec<ModelConfig>,
    /// Whether `/v1/models` names the models beside the auto names.
    pub list_models: bool,
    /// What happens to a request for a model that is not configured.
    pub unknown_models: UnknownModels,
    /// Whether Envoy must choose its route again after the change.
    pub clear_route_cache: bool,
    /// How the winning decision is found.
    pub strategy: Strategy,
    /// Domain rules.
    pub domains: Vec<DomainRule>,
    /// Keyword rules.
    pub keywords: Vec<KeywordRule>,
    /// Jailbreak rules for use in decisions.
    pub jailbreaks: Vec<JailbreakRule>,
    /// Personal data rules for use in decisions.
    pub pii: Vec<PiiRule>,
    /// Decisions, in file order.
    pub decisions: Vec<Decision>,
    /// Policies for every request.
    pub security: SecurityPolicy,
    /// Longest wait for the classifier.
    pub deadline: Duration,
}

/// What happens to a request for a model that is not configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownModels {
    /// 404 that names the models.
    Reject,
    /// The upstream decides.
    Forward,
}

/// How the winning decision is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Highest priority, then confidence, then name.
    Priority,
    /// Highest confidence, then priority, then name.
    Confidence,
}

/// A model that requests can be sent to.
#[derive(Debug, Clone, Default)]
pub struct ModelConfig {
    /// Name in requests and decisions.
    pub name: String,
    /// Name that the upstream knows, where it differs.
    pub upstream_name: Option<String>,
    /// How reasoning is switched.
    pub reasoning: Option<ReasoningFamily>,
    /// Credential for the upstream.
    pub credential: Option<Credential>,
    /// `ip:port` for `x-vsr-destination-endpoint`.
    pub endpoint: Option<String>,
    /// `LoRA` adapters that the model serves.
    pub loras: Vec<String>,
}

/// How reasoning is switched for one family of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningFamily {
    /// Name of the family.
    pub name: String,
    /// Which member of the body switches it.
    pub switch: ReasoningSwitch,
    /// Effort when the decision names none.
    pub default_effort: String,
}

/// Which member of the body switches reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReasoningSwitch {
    /// `chat_template_kwargs.<parameter>` is true or false.
    TemplateKwarg(String),
    /// `<parameter>` at the top level holds the effort.
    Effort(String),
}

/// A header that authorises us to the upstream.
#[derive(Clone)]
pub struct Credential {
    /// Lower-case header name.
    pub header: String,
    /// Whole header value.
    pub value: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credential({}: [redacted])", self.header)
    }
}

/// Matches when the text's domain is one of `labels`.
#[derive(Debug, Clone)]
pub struct DomainRule {
    /// Name in conditions and headers.
    pub name: String,
    /// Classifier labels, normalised.
    pub labels: Vec<String>,
}

/// Matches on words.
#[derive(Debug, Clone)]
pub struct KeywordRule {
    /// Name in conditions and headers.
    pub name: String,
    /// How the words combine.
    pub operator: KeywordOperator,
    /// The words.
    pub keywords: Vec<String>,
    /// Whether case counts.
    pub case_sensitive: bool,
}

/// How the words of a keyword rule combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeywordOperator {
    /// Any word.
    Or,
    /// Every word.
    And,
    /// No word.
    Nor,
}

/// Matches when a text looks like a jailbreak.
#[derive(Debug, Clone)]
pub struct JailbreakRule {
    /// Name in conditions.
    pub name: String,
    /// What counts.
    pub policy: JailbreakPolicy,
}

/// Matches when denied personal data is found.
#[derive(Debug, Clone)]
pub struct PiiRule {
    /// Name in conditions.
    pub name: String,
    /// What counts.
    pub policy: PiiPolicy,
}

/// Policies that apply to every request unless its decision has its own.
#[derive(Debug, Clone, Default)]
pub struct SecurityPolicy {
    /// Jailbreak check.
    pub jailbreak: Option<JailbreakPolicy>,
    /// Personal data check.
    pub pii: Option<PiiPolicy>,
}

/// When a prompt counts as a jailbreak.
#[derive(Debug, Clone, PartialEq)]
pub struct JailbreakPolicy {
    /// Least probability.
    pub threshold: f32,
    /// What an unavailable classifier means.
    pub on_error: OnError,
}

/// Which personal data is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct PiiPolicy {
    /// The types.
    pub types: PiiTypes,
    /// Least probability.
    pub threshold: f32,
    /// What an unavailable classifier means.
    pub on_error: OnError,
}

/// A set of personal data types, without BIO prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PiiTypes {
    /// Every type but these is refused.
    AllBut(Vec<String>),
    /// Only these are refused.
    Only(Vec<String>),
}

/// What an unavailable signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// As if nothing was found.
    Allow,
    /// As if it was found with certainty.
    Block,
}

/// When this rule matches, these models and plugins are used.
#[derive(Debug, Clone)]
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

/// A rule of one signal family, by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalRef {
    /// [`RouterConfig::domains`].
    Domain(usize),
    /// [`RouterConfig::keywords`].
    Keyword(usize),
    /// [`RouterConfig::jailbreaks`].
    Jailbreak(usize),
    /// [`RouterConfig::pii`].
    Pii(usize),
}

/// A candidate model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRef {
    /// Name in [`RouterConfig::models`].
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Highest weight, the first of equals.
    Static,
    /// At random, in proportion to the weights.
    Weighted,
}

/// What a decision does to a request.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    /// Text for the model.
    pub system_prompt: Option<SystemPrompt>,
    /// Changes of the request's headers.
    pub headers: HeaderMutation,
    /// Jailbreak check instead of the global one.
    pub jailbreak: Override<JailbreakPolicy>,
    /// Personal data check instead of the global one.
    pub pii: Override<PiiPolicy>,
    /// Answer without asking a model.
    pub fast_response: Option<String>,
}

/// A decision's own word on a global policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Override<T> {
    /// The global policy applies.
    #[default]
    Inherit,
    /// Nothing applies.
    Off,
    /// This applies.
    On(T),
}

impl<T> Override<T> {
    /// The policy that applies.
    pub fn or<'a>(&'a self, global: Option<&'a T>) -> Option<&'a T> {
        match self {
            Self::Inherit => global,
            Self::Off => None,
            Self::On(policy) => Some(policy),
        }
    }
}

/// Text for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemPrompt {
    /// The text.
    pub text: String,
    /// What happens to the client's own.
    pub mode: PromptMode,
}

/// What happens to the client's own system prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptMode {
    /// It is replaced.
    Replace,
    /// Ours goes before it.
    Insert,
}

/// Changes of the request's headers on their way to the upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderMutation {
    /// Set to a value; names in lower case.
    pub set: Vec<(String, String)>,
    /// Taken out; names in lower case.
    pub remove: Vec<String>,
}

impl RouterConfig {
    /// Adds the built-in security policies where the file says nothing: jailbreaks, and personal
    /// data that is a secret.
    #[must_use]
    pub fn with_default_security(mut self) -> Self {
        let defaults = SecurityPolicy::built_in();
        self.security.jailbreak = self.security.jailbreak.or(defaults.jailbreak);
        self.security.pii = self.security.pii.or(defaults.pii);
        self
    }

    /// A model by name.
    pub fn model(&self, name: &str) -> Option<&ModelConfig> {
        self.models.iter().find(|model| model.name == name)
    }

    /// Whether `name` asks the router to choose.
    pub fn is_auto(&self, name: &str) -> bool {
        name == "auto" || self.auto_models.iter().any(|auto| auto == name)
    }
}

impl SecurityPolicy {
    /// Jailbreaks and secrets are refused; a broken classifier stops nobody.
    pub fn built_in() -> Self {
        Self {
            jailbreak: Some(JailbreakPolicy {
                threshold: JailbreakPolicy::DEFAULT_THRESHOLD,
                on_error: OnError::Allow,
            }),
            pii: Some(PiiPolicy {
                types: PiiTypes::Only(SECRET_PII.map(str::to_owned).to_vec()),
                threshold: PiiPolicy::DEFAULT_THRESHOLD,
                on_error: OnError::Allow,
            }),
        }
    }
}

impl JailbreakPolicy {
    /// Threshold when none is configured.
    pub const DEFAULT_THRESHOLD: f32 = 0.7;
}

impl PiiPolicy {
    /// Threshold when none is configured.
    pub const DEFAULT_THRESHOLD: f32 = 0.7;
}

impl PiiTypes {
    /// Whether `kind` (without BIO prefix) is refused.
    pub fn denies(&self, kind: &str) -> bool {
        match self {
            Self::AllBut(allowed) => !allowed.iter().any(|name| name == kind),
            Self::Only(denied) => denied.iter().any(|name| name == kind),
        }
    }
}

/// Labels compare without regard to case, and `_` is a space.
pub(crate) fn normalise_label(label: &str) -> String {
    label.to_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests;
