//! From an OpenAI body to tokens: template, tokenize, check against the model's limits.

use serde_json::Value;
use tandem_protocol::engine::{EngineRequest, OutputOptions, SamplingOptions, StopConditions};
use tandem_protocol::openai::chat::{ChatRequest, Content, Message};
use tandem_protocol::openai::completion::{CompletionRequest, PromptItem};
use tandem_protocol::openai::{InvalidParameter, Sampling, sampling::Stop};
use tandem_tokenizer::{Conversation, ModelCard};

use crate::error::FrontendError;
use crate::model_registry::Model;

/// Tokens that a text completion generates unless said otherwise, as OpenAI documents.
const DEFAULT_COMPLETION_TOKENS: u32 = 16;

/// One prompt, ready for a worker, and what the text side needs to know of the request.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// The request for the engine; the same for each of the `n` choices but for its seed.
    pub engine: EngineRequest,
    /// Stop strings, which are matched on text.
    pub stop: Vec<String>,
    /// Whether the stop string is part of the answer.
    pub include_stop: bool,
    /// Whether special tokens are left out of the text.
    pub skip_special_tokens: bool,
}

/// Renders, tokenizes and checks a chat request.
pub(crate) fn chat(model: &Model, request: &ChatRequest) -> Result<Prepared, FrontendError> {
    let Some(template) = &model.template else {
        return Err(InvalidParameter::new(
            "messages",
            format!(
                "model `{}` has no chat template; use /v1/completions",
                model.card.display_name
            ),
        )
        .into());
    };
    refuse_media(&request.messages)?;
    let messages: Vec<_> = request.messages.iter().map(to_json).collect();
    let conversation = Conversation {
        tools: request.tools.as_deref(),
        variables: request.chat_template_kwargs.as_ref(),
        ..Conversation::new(&messages)
    };
    // The template writes the control tokens; those that a client spells out stay text.
    let control_tokens = model.tokenizer.control_tokens();
    let (prompt, marks) = template
        .render_marked(&conversation, control_tokens)
        .map_err(|error| InvalidParameter::new("messages", error.to_string()))?;
    let tokens = encoded(model.tokenizer.encode_prompt(&prompt, marks))?;
    prepare(
        model,
        tokens,
        &request.sampling,
        Wanted {
            max_tokens: request.max_tokens(),
            logprobs: request.wanted_logprobs(),
            guided: request.guided.decoding()?,
        },
    )
}

/// Tokenizes and checks each prompt of a text completion.
pub(crate) fn completion(
    model: &Model,
    request: &CompletionRequest,
) -> Result<Vec<Prepared>, FrontendError> {
    let wanted = Wanted {
        max_tokens: Some(request.max_tokens.unwrap_or(DEFAULT_COMPLETION_TOKENS)),
        logprobs: request.logprobs,
        guided: request.guided.decoding()?,
    };
    let mut prepared = Vec::new();
    for item in request.prompt.items() {
        let tokens = match item {
            PromptItem::Text(text) => encoded(model.tokenizer.encode(text, true))?,
            PromptItem::Tokens(tokens) => checked_tokens(model, tokens)?,
        };
        prepared.push(prepare(model, tokens, &request.sampling, wanted.clone())?);
    }
    Ok(prepared)
}

/// What is wanted beside what [`Sampling`] says.
#[derive(Debug, Clone)]
struct Wanted {
    max_tokens: Option<u32>,
    logprobs: Option<u32>,
    /// The form of the answer.
    guided: Option<Value>,
}

/// Text is all that our engines read; a picture that is silently left out would be worse.
fn refuse_media(messages: &[Message]) -> Result<(), InvalidParameter> {
    for (i, message) in messages.iter().enumerate() {
        let Some(Content::Parts(parts)) = &message.content else {
            continue;
        };
        for (j, part) in parts.iter().enumerate() {
            let kind = part["type"].as_str().unwrap_or("");
            if !["text", "input_text"].contains(&kind) {
                return Err(InvalidParameter::new(
                    format!("messages[{i}].content[{j}].type"),
                    format!(
                        "messages[{i}] has a content part of type `{kind}`; only `text` is supported"
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn to_json(message: &Message) -> Value {
    serde_json::to_value(message).expect("messages have string keys only")
}

fn encoded(tokens: Result<Vec<u32>, tandem_tokenizer::Error>) -> Result<Vec<u32>, FrontendError> {
    tokens.map_err(|error| FrontendError::Internal(error.to_string()))
}

/// An id outside the vocabulary would be a read outside the embedding table on the worker.
fn checked_tokens(model: &Model, tokens: &[u32]) -> Result<Vec<u32>, FrontendError> {
    let size = model.tokenizer.vocab_size();
    match tokens
        .iter()
        .find(|token| usize::try_from(**token).is_ok_and(|id| id >= size))
    {
        Some(token) => Err(InvalidParameter::new(
            "prompt",
            format!("token id {token} is outside the vocabulary of {size} tokens"),
        )
        .into()),
        None => Ok(tokens.to_vec()),
    }
}

fn prepare(
    model: &Model,
    token_ids: Vec<u32>,
    sampling: &Sampling,
    wanted: Wanted,
) -> Result<Prepared, FrontendError> {
    let card = &model.card;
    let max_tokens = checked_max_tokens(card, token_ids.len(), wanted.max_tokens)?;
    let stop = sampling
        .stop
        .as_ref()
        .map_or(&[][..], Stop::strings)
        .to_vec();
    let engine = EngineRequest {
        model: card.display_name.clone(),
        token_ids,
        stop_conditions: StopConditions {
            max_tokens: Some(max_tokens),
            stop: Some(stop.clone()).filter(|stop| !stop.is_empty()),
            stop_token_ids_hidden: sampling.stop_token_ids.clone(),
            min_tokens: sampling.min_tokens,
            ignore_eos: sampling.ignore_eos,
            max_thinking_tokens: None,
        },
        sampling_options: SamplingOptions {
            guided_decoding: wanted.guided,
            ..sampling.options()
        },
        output_options: OutputOptions {
            logprobs: wanted.logprobs,
            ..OutputOptions::default()
        },
        eos_token_ids: model.eos_token_ids.clone(),
        mdc_sum: Some(card.mdcsum()),
        cache_salt: sampling.cache_salt().map(str::to_owned),
        lora_name: card.lora.as_ref().map(|lora| lora.name.clone()),
        priority: sampling.priority,
        ..EngineRequest::default()
    };
    Ok(Prepared {
        engine,
        stop,
        include_stop: sampling.include_stop_str_in_output == Some(true),
        skip_special_tokens: sampling.skip_special_tokens != Some(false),
    })
}

/// The room for the answer; an error if the prompt leaves none or not as much as was asked for.
fn checked_max_tokens(
    card: &ModelCard,
    prompt: usize,
    wanted: Option<u32>,
) -> Result<u32, InvalidParameter> {
    let context = card.context_length;
    let prompt = u32::try_from(prompt).unwrap_or(u32::MAX);
    let room = context.saturating_sub(prompt);
    if prompt == 0 {
        return Err(InvalidParameter::new("prompt", "the prompt has no tokens"));
    }
    if room == 0 {
        return Err(InvalidParameter {
            param: Some("messages".to_owned()),
            message: format!(
                "the prompt has {prompt} tokens, the model's context length is {context}"
            ),
        });
    }
    match wanted {
        Some(wanted) if wanted > room => Err(InvalidParameter::new(
            "max_tokens",
            format!(
                "the prompt's {prompt} tokens and max_tokens {wanted} exceed the model's context \
                 length of {context}"
            ),
        )),
        Some(wanted) => Ok(wanted),
        None => Ok(room),
    }
}
