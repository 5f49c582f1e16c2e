//! Request members that chat and text completions share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::InvalidParameter;
use crate::engine::SamplingOptions;

/// Most stop strings per request.
const MAX_STOP_STRINGS: usize = 4;

/// Sampling and stopping members of a request, as the client sent them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Softmax temperature, 0 to 2.
    pub temperature: Option<f32>,
    /// Nucleus mass, 0 (exclusive) to 1.
    pub top_p: Option<f32>,
    /// Number of candidates; -1 or 0 is all.
    pub top_k: Option<i32>,
    /// Least probability relative to the best token, 0 to 1.
    pub min_p: Option<f32>,
    /// -2 to 2.
    pub presence_penalty: Option<f32>,
    /// -2 to 2.
    pub frequency_penalty: Option<f32>,
    /// Above 0, up to 2.
    pub repetition_penalty: Option<f32>,
    /// Seed of the random choice.
    pub seed: Option<i64>,
    /// Number of choices, 1 to 128.
    pub n: Option<u32>,
    /// One stop string or up to four.
    pub stop: Option<Stop>,
    /// Stop tokens.
    pub stop_token_ids: Option<Vec<u32>>,
    /// Fewest tokens to generate.
    pub min_tokens: Option<u32>,
    /// Whether end-of-sequence tokens are ordinary tokens.
    pub ignore_eos: Option<bool>,
    /// Whether the stop string is part of the answer.
    pub include_stop_str_in_output: Option<bool>,
    /// Whether special tokens are left out of the text; `true` unless said otherwise.
    pub skip_special_tokens: Option<bool>,
    /// Token biases; not supported by the embedded engine.
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// Whether the answer is streamed.
    pub stream: Option<bool>,
    /// Options of a stream.
    pub stream_options: Option<StreamOptions>,
    /// End user, for abuse tracking.
    pub user: Option<String>,
    /// Requests with different salts do not share cached prompts; vLLM's member.
    pub cache_salt: Option<String>,
    /// Which requests go first, the lower ones; vLLM's member.
    pub priority: Option<i32>,
    /// What NVIDIA's servers add.
    pub nvext: Option<NvExt>,
}

/// Members that NVIDIA's servers add, as far as we have a use for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NvExt {
    /// The same as [`Sampling::cache_salt`].
    pub cache_salt: Option<String>,
}

/// One stop string or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stop {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Stop {
    /// The strings.
    pub fn strings(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Options of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamOptions {
    /// Whether a last chunk with token counts is wanted.
    pub include_usage: bool,
}

impl Sampling {
    /// What keeps the cached prompts of this request apart from others'; never empty.
    pub fn cache_salt(&self) -> Option<&str> {
        let extended = self
            .nvext
            .as_ref()
            .and_then(|nvext| nvext.cache_salt.as_deref());
        let salt = extended.or(self.cache_salt.as_deref());
        salt.filter(|salt| !salt.is_empty())
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Names the member that is out of range.
    pub fn validate(&self) -> Result<(), InvalidParameter> {
        in_range("temperature", self.temperature, 0.0..=2.0)?;
        in_range("top_p", self.top_p, 0.0..=1.0)?;
        in_range("min_p", self.min_p, 0.0..=1.0)?;
        in_range("presence_penalty", self.presence_penalty, -2.0..=2.0)?;
        in_range("frequency_penalty", self.frequency_penalty, -2.0..=2.0)?;
        in_range("repetition_penalty", self.repetition_penalty, 0.0..=2.0)?;
        if self.repetition_penalty == Some(0.0) {
            return Err(InvalidParameter::new(
                "repetition_penalty",
                "repetition_penalty must be above 0",
            ));
        }
        if self.top_k.is_some_and(|top_k| top_k < -1) {
            return Err(InvalidParameter::new("top_k", "top_k must be -1 or more"));
        }
        if self.n.is_some_and(|n| !(1..=128).contains(&n)) {
            return Err(InvalidParameter::new("n", "n must be between 1 and 128"));
        }
        if self
            .logit_bias
            .as_ref()
            .is_some_and(|bias| !bias.is_empty())
        {
            return Err(InvalidParameter::new(
                "logit_bias",
                "logit_bias is not supported",
            ));
        }
        if self.stream_options.is_some() && self.stream != Some(true) {
            return Err(InvalidParameter::new(
                "stream_options",
                "stream_options is only allowed when stream is true",
            ));
        }
        self.validate_stop()
    }

    fn validate_stop(&self) -> Result<(), InvalidParameter> {
        let strings = self.stop.as_ref().map_or(&[][..], Stop::strings);
        if strings.len() > MAX_STOP_STRINGS {
            return Err(InvalidParameter::new(
                "stop",
                format!("at most {MAX_STOP_STRINGS} stop strings are allowed"),
            ));
        }
        if strings.iter().any(String::is_empty) {
            return Err(InvalidParameter::new(
                "stop",
                "a stop string must not be empty",
            ));
        }
        Ok(())
    }

    /// Number of choices.
    pub fn choices(&self) -> u32 {
        self.n.unwrap_or(1)
    }

    /// Whether a stream ends with a chunk of token counts.
    pub fn include_usage(&self) -> bool {
        self.stream_options
            .is_some_and(|options| options.include_usage)
    }

    /// The engine's form of these members, for one sequence.
    pub fn options(&self) -> SamplingOptions {
        SamplingOptions {
            n: Some(1),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repetition_penalty: self.repetition_penalty,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            seed: self.seed,
            include_stop_str_in_output: self.include_stop_str_in_output,
            ..SamplingOptions::default()
        }
    }
}

fn in_range(
    name: &str,
    value: Option<f32>,
    range: std::ops::RangeInclusive<f32>,
) -> Result<(), InvalidParameter> {
    match value {
        Some(value) if !range.contains(&value) => Err(InvalidParameter::new(
            name,
            format!(
                "{name} must be between {} and {}, got {value}",
                range.start(),
                range.end()
            ),
        )),
        _ => Ok(()),
    }
}
