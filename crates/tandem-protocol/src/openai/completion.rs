//! `POST /v1/completions`.

use serde::{Deserialize, Serialize};

use super::{Guided, InvalidParameter, Sampling, Usage, error::from_json};

/// A text completion request, as far as a frontend needs to understand it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CompletionRequest {
    /// Model name.
    pub model: String,
    /// One prompt.
    pub prompt: Prompt,
    /// Most tokens to generate; 16 unless said otherwise, as OpenAI documents.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// Alternatives per token, 0 to 5.
    #[serde(default)]
    pub logprobs: Option<u32>,
    /// Whether the prompt is part of the answer; not supported.
    #[serde(default)]
    pub echo: Option<bool>,
    /// Text after the gap to fill; not supported.
    #[serde(default)]
    pub suffix: Option<String>,
    /// Candidates of which the best are returned; only equal to `n`.
    #[serde(default)]
    pub best_of: Option<u32>,
    /// Form of the answer; read by itself, like the sampling.
    #[serde(skip)]
    pub guided: Guided,
    /// Sampling and stopping; read by itself, since a flattened struct loses the path of an error.
    #[serde(skip)]
    pub sampling: Sampling,
}

/// Text or token ids, alone or in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Text.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Several texts: each gets its own `n` choices.
    Texts(Vec<String>),
    /// Several token lists.
    TokenLists(Vec<Vec<u32>>),
}

/// One prompt of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptItem<'a> {
    /// Text.
    Text(&'a str),
    /// Token ids.
    Tokens(&'a [u32]),
}

impl Prompt {
    /// The prompts, in order.
    pub fn items(&self) -> Vec<PromptItem<'_>> {
        match self {
            Self::Text(text) => vec![PromptItem::Text(text)],
            Self::Tokens(tokens) => vec![PromptItem::Tokens(tokens)],
            Self::Texts(texts) => texts.iter().map(|text| PromptItem::Text(text)).collect(),
            Self::TokenLists(lists) => lists.iter().map(|list| PromptItem::Tokens(list)).collect(),
        }
    }
}

impl CompletionRequest {
    /// Decodes and checks a body.
    ///
    /// # Errors
    /// Names the member at fault.
    pub fn from_body(bytes: &[u8]) -> Result<Self, InvalidParameter> {
        let request = Self {
            guided: from_json(bytes)?,
            sampling: from_json(bytes)?,
            ..from_json(bytes)?
        };
        request.validate()?;
        Ok(request)
    }

    fn validate(&self) -> Result<(), InvalidParameter> {
        let items = self.prompt.items();
        let empty = |item: &PromptItem<'_>| match item {
            PromptItem::Text(text) => text.is_empty(),
            PromptItem::Tokens(tokens) => tokens.is_empty(),
        };
        if items.is_empty() || items.iter().any(empty) {
            return Err(InvalidParameter::new("prompt", "prompt must not be empty"));
        }
        if self.max_tokens == Some(0) {
            return Err(InvalidParameter::new(
                "max_tokens",
                "max_tokens must be at least 1",
            ));
        }
        if self.logprobs.is_some_and(|logprobs| logprobs > 5) {
            return Err(InvalidParameter::new(
                "logprobs",
                "logprobs must be between 0 and 5",
            ));
        }
        if self
            .suffix
            .as_ref()
            .is_some_and(|suffix| !suffix.is_empty())
        {
            return Err(InvalidParameter::new("suffix", "suffix is not supported"));
        }
        if self.echo == Some(true) {
            return Err(InvalidParameter::new("echo", "echo is not supported"));
        }
        if self
            .best_of
            .is_some_and(|best_of| best_of != self.sampling.choices())
        {
            return Err(InvalidParameter::new("best_of", "best_of must equal n"));
        }
        self.guided.decoding()?;
        self.sampling.validate()
    }
}

/// A whole answer or one event of a streamed one: both have the same form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletionResponse {
    /// `cmpl-…`.
    pub id: String,
    /// Always `text_completion`.
    pub object: String,
    /// Unix seconds.
    pub created: u64,
    /// Model that answered.
    pub model: String,
    /// One per prompt and requested choice, in order; empty on the usage chunk.
    pub choices: Vec<CompletionChoice>,
    /// Token counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// One choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletionChoice {
    /// The text, or what is new of it.
    pub text: String,
    /// Which choice.
    pub index: u32,
    /// Log probabilities, when asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// Why it ended.
    pub finish_reason: Option<String>,
}

/// Log probabilities in the older, columnar form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionLogprobs {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// Natural logarithms of their probabilities.
    pub token_logprobs: Vec<f64>,
    /// Alternatives of each token: text to log probability.
    pub top_logprobs: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Character offset of each token in the answer.
    pub text_offset: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, param: Option<&str>) {
        let error = CompletionRequest::from_body(body.as_bytes()).expect_err(body);
        assert_eq!(error.param.as_deref(), param, "{body}: {error}");
    }

    #[test]
    fn errors_name_the_member_at_fault() {
        check(r#"{"model":"m","prompt":""}"#, Some("prompt"));
        check(r#"{"model":"m","prompt":[]}"#, Some("prompt"));
        check(r#"{"model":"m","prompt":{}}"#, Some("prompt"));
        check(
            r#"{"model":"m","prompt":"x","logprobs":6}"#,
            Some("logprobs"),
        );
        check(r#"{"model":"m","prompt":"x","suffix":"y"}"#, Some("suffix"));
        check(r#"{"model":"m","prompt":"x","best_of":2}"#, Some("best_of"));
        check(r#"{"model":"m","prompt":"x","echo":true}"#, Some("echo"));
        check(
            r#"{"model":"m","prompt":"x","top_k":"many"}"#,
            Some("top_k"),
        );
        check(r#"{"model":"m","prompt":"x","top_p":1.5}"#, Some("top_p"));
    }

    #[test]
    fn prompts_come_in_four_forms() {
        let items = |prompt: &str| {
            let body = format!(r#"{{"model":"m","prompt":{prompt}}}"#);
            CompletionRequest::from_body(body.as_bytes())
                .unwrap()
                .prompt
                .items()
                .len()
        };
        assert_eq!(items(r#""a""#), 1);
        assert_eq!(items("[1,2,3]"), 1);
        assert_eq!(items(r#"["a","b"]"#), 2);
        assert_eq!(items("[[1],[2,3]]"), 2);
    }
}
