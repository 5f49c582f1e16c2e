//! The two JSON forms of an answer: chat and text completion, whole and in chunks.

use std::time::{SystemTime, UNIX_EPOCH};

use tandem_protocol::openai::Usage;
use tandem_protocol::openai::chat::{
    AssistantMessage, ChatChunk, ChatResponse, Choice as ChatChoice, ChunkChoice, Delta, Logprobs,
    TokenLogprob, TopTokenLogprob,
};
use tandem_protocol::openai::completion::{
    CompletionChoice, CompletionLogprobs, CompletionResponse,
};

use crate::choice::{ChoiceDelta, TokenInfo};

/// Which API the answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completion,
}

/// What all chunks of an answer have in common.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    form: Form,
    id: String,
    created: u64,
    model: String,
    logprobs: bool,
}

/// Everything that one choice said, put together.
#[derive(Debug, Clone, Default)]
pub(crate) struct WholeChoice {
    text: String,
    tokens: Vec<TokenInfo>,
    finish_reason: Option<&'static str>,
}

impl WholeChoice {
    /// Adds what is new.
    pub(crate) fn push(&mut self, delta: ChoiceDelta) {
        self.text.push_str(&delta.text);
        self.tokens.extend(delta.tokens);
        if let Some(reason) = delta.finish_reason {
            self.finish_reason = Some(reason.openai());
        }
    }
}

impl Answer {
    /// An answer to the request `request_id`, from `model`, that starts now.
    pub(crate) fn new(form: Form, request_id: &str, model: &str, logprobs: bool) -> Self {
        let prefix = match form {
            Form::Chat => "chatcmpl",
            Form::Completion => "cmpl",
        };
        Self {
            form,
            id: format!("{prefix}-{request_id}"),
            created: unix_seconds(),
            model: model.to_owned(),
            logprobs,
        }
    }

    /// JSON of one streamed delta; `text_offset` is the number of characters before it.
    pub(crate) fn chunk(
        &self,
        index: u32,
        delta: ChoiceDelta,
        first: bool,
        text_offset: usize,
    ) -> String {
        let finish_reason = delta
            .finish_reason
            .as_ref()
            .map(|reason| reason.openai().to_owned());
        match self.form {
            Form::Chat => to_json(&self.chat_chunk(vec![ChunkChoice {
                index,
                delta: Delta {
                    role: first.then(|| "assistant".to_owned()),
                    content: (first || !delta.text.is_empty()).then_some(delta.text),
                },
                logprobs: self.logprobs.then(|| chat_logprobs(delta.tokens)),
                finish_reason,
            }])),
            Form::Completion => to_json(&self.completion(vec![CompletionChoice {
                text: delta.text,
                index,
                logprobs: self.logprobs.then(|| columns(delta.tokens, text_offset)),
                finish_reason,
            }])),
        }
    }

    /// JSON of the chunk of token counts that ends a stream.
    pub(crate) fn usage_chunk(&self, usage: Usage) -> String {
        match self.form {
            Form::Chat => to_json(&ChatChunk {
                usage: Some(usage),
                ..self.chat_chunk(Vec::new())
            }),
            Form::Completion => to_json(&CompletionResponse {
                usage: Some(usage),
                ..self.completion(Vec::new())
            }),
        }
    }

    /// JSON of the whole answer.
    pub(crate) fn whole(&self, choices: Vec<WholeChoice>, usage: Usage) -> String {
        match self.form {
            Form::Chat => to_json(&ChatResponse {
                id: self.id.clone(),
                object: "chat.completion".to_owned(),
                created: self.created,
                model: self.model.clone(),
                choices: (0..)
                    .zip(choices)
                    .map(|(i, choice)| self.chat_choice(i, choice))
                    .collect(),
                usage,
            }),
            Form::Completion => {
                let choices = (0..).zip(choices).map(|(index, choice)| CompletionChoice {
                    text: choice.text,
                    index,
                    logprobs: self.logprobs.then(|| columns(choice.tokens, 0)),
                    finish_reason: choice.finish_reason.map(str::to_owned),
                });
                to_json(&CompletionResponse {
                    usage: Some(usage),
                    ..self.completion(choices.collect())
                })
            }
        }
    }

    fn chat_choice(&self, index: u32, choice: WholeChoice) -> ChatChoice {
        ChatChoice {
            index,
            message: AssistantMessage {
                role: "assistant".to_owned(),
                content: Some(choice.text),
                refusal: None,
            },
            logprobs: self.logprobs.then(|| chat_logprobs(choice.tokens)),
            finish_reason: choice.finish_reason.map(str::to_owned),
        }
    }

    fn chat_chunk(&self, choices: Vec<ChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk".to_owned(),
            created: self.created,
            model: self.model.clone(),
            choices,
            usage: None,
        }
    }

    fn completion(&self, choices: Vec<CompletionChoice>) -> CompletionResponse {
        CompletionResponse {
            id: self.id.clone(),
            object: "text_completion".to_owned(),
            created: self.created,
            model: self.model.clone(),
            choices,
            usage: None,
        }
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("answers have string keys only")
}

fn chat_logprobs(tokens: Vec<TokenInfo>) -> Logprobs {
    let content = tokens.into_iter().map(|token| TokenLogprob {
        token: token.text,
        logprob: token.logprob,
        bytes: Some(token.bytes),
        top_logprobs: token
            .top
            .into_iter()
            .map(|(token, bytes, logprob)| TopTokenLogprob {
                token,
                logprob,
                bytes: Some(bytes),
            })
            .collect(),
    });
    Logprobs {
        content: content.collect(),
    }
}

fn columns(tokens: Vec<TokenInfo>, text_offset: usize) -> CompletionLogprobs {
    let mut columns = CompletionLogprobs::default();
    let mut offset = text_offset;
    for token in tokens {
        columns
            .text_offset
            .push(u32::try_from(offset).unwrap_or(u32::MAX));
        offset += token.text.chars().count();
        let top = token
            .top
            .into_iter()
            .map(|(text, _, logprob)| (text, logprob.into()));
        columns.top_logprobs.push(top.collect());
        columns.tokens.push(token.text);
        columns.token_logprobs.push(token.logprob);
    }
    columns
}
