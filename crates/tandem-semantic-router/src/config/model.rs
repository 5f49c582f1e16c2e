//! Models that requests can be sent to.

use std::fmt;
use std::time::Duration;

use super::{Backend, Reliability};

/// A model that requests can be sent to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelConfig {
    /// Name in requests and decisions.
    pub name: String,
    /// Name that the upstream knows, where it differs.
    pub upstream_name: Option<String>,
    /// How reasoning is switched.
    pub reasoning: Option<ReasoningFamily>,
    /// Credential for the upstream.
    pub credential: Option<Credential>,
    /// `host:port` for `x-vsr-destination-endpoint`.
    pub endpoint: Option<String>,
    /// `LoRA` adapters that the model serves.
    pub loras: Vec<String>,
    /// What its tokens cost.
    pub pricing: Option<Pricing>,
    /// How good its answers are, 0 to 1.
    pub quality: Option<f32>,
    /// Where it is served.
    pub backends: Vec<Backend>,
    /// How failing backends are treated.
    pub reliability: Reliability,
}

/// What a model's tokens cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Pricing {
    /// Currency code.
    pub currency: String,
    /// Price of a million prompt tokens.
    pub prompt_per_1m: f64,
    /// Price of a million generated tokens.
    pub completion_per_1m: f64,
}

impl Pricing {
    /// One number to compare models by: the mean of both prices.
    pub fn blended_per_1m(&self) -> f64 {
        f64::midpoint(self.prompt_per_1m, self.completion_per_1m)
    }

    /// The price of one answer.
    #[allow(
        clippy::cast_precision_loss,
        reason = "token counts are far below 2^53, where the cast is exact"
    )]
    pub fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        (prompt_tokens as f64 * self.prompt_per_1m
            + completion_tokens as f64 * self.completion_per_1m)
            / 1e6
    }
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
#[derive(Clone, PartialEq, Eq)]
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

/// A language model behind an `OpenAI` API that a signal asks.
#[derive(Debug, Clone, PartialEq)]
pub struct ExternalModel {
    /// `host:port`.
    pub authority: String,
    /// Name in the request.
    pub model: String,
    /// Longest wait for its answer.
    pub timeout: Duration,
    /// Credential for it.
    pub credential: Option<Credential>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_never_shows_its_value() {
        let credential = Credential {
            header: "authorization".into(),
            value: "Bearer sk-secret".into(),
        };
        let model = ModelConfig {
            credential: Some(credential),
            ..ModelConfig::default()
        };
        let shown = format!("{model:?}");
        assert!(!shown.contains("sk-secret"), "{shown}");
    }

    #[test]
    fn a_price_is_per_million() {
        let pricing = Pricing {
            currency: "USD".into(),
            prompt_per_1m: 2.0,
            completion_per_1m: 4.0,
        };
        assert!((pricing.blended_per_1m() - 3.0).abs() < 1e-9);
        assert!((pricing.cost(500_000, 250_000) - 2.0).abs() < 1e-9);
    }
}
