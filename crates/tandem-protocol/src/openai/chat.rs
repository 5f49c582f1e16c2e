//! `POST /v1/chat/completions`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Guided, InvalidParameter, Sampling, Usage, error::from_json, json};

/// A chat request, as far as a frontend needs to understand it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ChatRequest {
    /// Model name.
    pub model: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// Most tokens to generate (the older name).
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// Most tokens to generate.
    #[serde(default)]
    pub max_completion_tokens: Option<u32>,
    /// Whether log probabilities are wanted.
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// Alternatives per token, 0 to 20; needs `logprobs`.
    #[serde(default)]
    pub top_logprobs: Option<u32>,
    /// Tool descriptions, for the chat template.
    #[serde(default, deserialize_with = "json::optional_list")]
    pub tools: Option<Vec<Value>>,
    /// Which tool to call.
    #[serde(default, deserialize_with = "json::optional_value")]
    pub tool_choice: Option<Value>,
    /// Extra variables of the chat template.
    #[serde(
        default,
        alias = "chat_template_args",
        deserialize_with = "json::optional_object"
    )]
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// Form of the answer; read by itself, like the sampling.
    #[serde(skip)]
    pub guided: Guided,
    /// Sampling and stopping; read by itself, since a flattened struct loses the path of an error.
    #[serde(skip)]
    pub sampling: Sampling,
}

/// One turn of a conversation. Members that this crate does not know are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Text, or parts; absent on assistant turns that only call tools.
    #[serde(default)]
    pub content: Option<Content>,
    /// Everything else: `name`, `tool_calls`, `tool_call_id` and so on.
    #[serde(flatten, deserialize_with = "json::object")]
    pub rest: Map<String, Value>,
}

/// Text, or a list of parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Parts, each with a `type`.
    Parts(#[serde(deserialize_with = "json::list")] Vec<Value>),
}

impl Content {
    /// All text parts, joined by `separator`.
    pub fn text(&self, separator: &str) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts
                .iter()
                .filter(|part| part["type"] == "text" || part["type"] == "input_text")
                .filter_map(|part| part["text"].as_str())
                .collect::<Vec<_>>()
                .join(separator),
        }
    }
}

impl ChatRequest {
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

    /// Most tokens to generate, if the client said so.
    pub fn max_tokens(&self) -> Option<u32> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// Alternatives per generated token; `None` when no log probabilities are wanted.
    pub fn wanted_logprobs(&self) -> Option<u32> {
        (self.logprobs == Some(true)).then(|| self.top_logprobs.unwrap_or(0))
    }

    fn validate(&self) -> Result<(), InvalidParameter> {
        if self.messages.is_empty() {
            return Err(InvalidParameter::new(
                "messages",
                "messages must hold at least one message",
            ));
        }
        for (i, message) in self.messages.iter().enumerate() {
            if ![
                "system",
                "developer",
                "user",
                "assistant",
                "tool",
                "function",
            ]
            .contains(&message.role.as_str())
            {
                return Err(InvalidParameter::new(
                    format!("messages[{i}].role"),
                    format!(
                        "unknown role `{}`; use system, developer, user, assistant or tool",
                        message.role
                    ),
                ));
            }
        }
        for (name, value) in [
            ("max_tokens", self.max_tokens),
            ("max_completion_tokens", self.max_completion_tokens),
        ] {
            if value == Some(0) {
                return Err(InvalidParameter::new(
                    name,
                    format!("{name} must be at least 1"),
                ));
            }
        }
        if self.top_logprobs.is_some_and(|top| top > 20) {
            return Err(InvalidParameter::new(
                "top_logprobs",
                "top_logprobs must be between 0 and 20",
            ));
        }
        if self.top_logprobs.is_some() && self.logprobs != Some(true) {
            return Err(InvalidParameter::new(
                "top_logprobs",
                "top_logprobs is only allowed when logprobs is true",
            ));
        }
        self.guided.decoding()?;
        self.sampling.validate()
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatResponse {
    /// `chatcmpl-…`.
    pub id: String,
    /// Always `chat.completion`.
    pub object: String,
    /// Unix seconds.
    pub created: u64,
    /// Model that answered.
    pub model: String,
    /// One per requested choice, in order.
    pub choices: Vec<Choice>,
    /// Token counts.
    pub usage: Usage,
}

/// One whole choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Which of the `n`.
    pub index: u32,
    /// The answer.
    pub message: AssistantMessage,
    /// Log probabilities, when asked for.
    pub logprobs: Option<Logprobs>,
    /// Why it ended.
    pub finish_reason: Option<String>,
}

/// The assistant's turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AssistantMessage {
    /// Always `assistant`.
    pub role: String,
    /// The text.
    pub content: Option<String>,
    /// Set when the model refused.
    #[serde(default)]
    pub refusal: Option<String>,
}

/// One event of a streamed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatChunk {
    /// `chatcmpl-…`, the same on every chunk.
    pub id: String,
    /// Always `chat.completion.chunk`.
    pub object: String,
    /// Unix seconds, the same on every chunk.
    pub created: u64,
    /// Model that answers.
    pub model: String,
    /// Empty on the usage chunk.
    pub choices: Vec<ChunkChoice>,
    /// Token counts; on the last chunk, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// One choice of a chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkChoice {
    /// Which of the `n`.
    pub index: u32,
    /// What is new.
    pub delta: Delta,
    /// Log probabilities of the new tokens, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Logprobs>,
    /// Set on the last chunk of the choice.
    pub finish_reason: Option<String>,
}

/// What is new in a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// `assistant`, on the first chunk of a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// New text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// Log probabilities of a choice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Logprobs {
    /// One per token.
    pub content: Vec<TokenLogprob>,
}

/// Log probability of one token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The token's bytes, since a token may be part of a character.
    pub bytes: Option<Vec<u8>>,
    /// Alternatives, best first.
    pub top_logprobs: Vec<TopTokenLogprob>,
}

/// An alternative token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopTokenLogprob {
    /// The token's text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The token's bytes.
    pub bytes: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(body: &str, param: Option<&str>) {
        let error = ChatRequest::from_body(body.as_bytes()).expect_err(body);
        assert_eq!(error.param.as_deref(), param, "{body}: {error}");
    }

    #[test]
    fn errors_name_the_member_at_fault() {
        check("{", None);
        check("{} x", None);
        check(r#"{"model":"m"}"#, None);
        check(r#"{"model":"m","messages":[]}"#, Some("messages"));
        check(r#"{"model":"m","messages":"hi"}"#, Some("messages"));
        check(
            r#"{"model":"m","messages":[{"role":"wizard","content":"x"}]}"#,
            Some("messages[0].role"),
        );
        let with = |member: &str| {
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{member}}}"#)
        };
        check(&with(r#""temperature":9"#), Some("temperature"));
        check(&with(r#""temperature":"hot""#), Some("temperature"));
        check(&with(r#""seed":[]"#), Some("seed"));
        check(&with(r#""n":0"#), Some("n"));
        check(&with(r#""max_tokens":0"#), Some("max_tokens"));
        check(&with(r#""top_logprobs":3"#), Some("top_logprobs"));
        check(&with(r#""stop":["a","b","c","d","e"]"#), Some("stop"));
        check(&with(r#""stop":"""#), Some("stop"));
        check(
            &with(r#""stream_options":{"include_usage":true}"#),
            Some("stream_options"),
        );
        check(
            &with(r#""response_format":{"type":"xml"}"#),
            Some("response_format.type"),
        );
    }

    #[test]
    fn unknown_members_of_messages_survive() {
        let body =
            r#"{"model":"m","messages":[{"role":"tool","content":"4","tool_call_id":"c1"}]}"#;
        let request = ChatRequest::from_body(body.as_bytes()).unwrap();
        let back = serde_json::to_string(&request.messages[0]).unwrap();
        assert_eq!(back, r#"{"role":"tool","content":"4","tool_call_id":"c1"}"#);
    }

    #[test]
    fn members_may_have_any_name() {
        for name in [
            "$serde_json::private::RawValue",
            "$serde_json::private::Number",
        ] {
            let odd = format!(r#"{{"{name}":"{{}}"}}"#);
            let body = format!(
                r#"{{"{name}":44,"model":"m","messages":[{{"role":"user","content":[{odd}],"{name}":44,"x":{odd}}}],"tools":[{odd}],"tool_choice":{odd},"chat_template_kwargs":{{"{name}":{odd}}}}}"#
            );
            let request = ChatRequest::from_body(body.as_bytes()).unwrap();
            let message = serde_json::to_string(&request.messages[0]).unwrap();
            let want = format!(r#"{{"role":"user","content":[{odd}],"{name}":44,"x":{odd}}}"#);
            assert_eq!(message, want);
            let rest = json!([
                request.tools,
                request.tool_choice,
                request.chat_template_kwargs
            ]);
            let want = format!(r#"[[{odd}],{odd},{{"{name}":{odd}}}]"#);
            assert_eq!(rest.to_string(), want);
        }
    }

    #[test]
    fn text_parts_are_joined() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":[
            {"type":"text","text":"a"},{"type":"image_url","image_url":{}},{"type":"text","text":"b"}]}]}"#;
        let request = ChatRequest::from_body(body.as_bytes()).unwrap();
        let content = request.messages[0].content.as_ref().unwrap();
        assert_eq!(content.text(" "), "a b");
    }
}
