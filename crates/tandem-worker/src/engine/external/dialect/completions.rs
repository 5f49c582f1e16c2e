//! `/v1/completions`, with what vLLM and TensorRT-LLM add to it; and what all OpenAI servers share.

use serde_json::{Map, Value, json};
use tandem_protocol::engine::{FinishReason, TopLogprob};

use super::{Body, Delta, Description, Job, Told, Trouble, size, stop_tokens, tokens};
use crate::engine::EngineError;
use crate::engine::external::http::{Answer, Call};

/// Where it is.
pub(super) const PATH: &str = "/v1/completions";
/// What vLLM writes before the number of a token where a text is due.
const TOKEN_NAME: &str = "token_id:";

/// What every server of this API understands, and no more.
pub(super) fn complete(job: &Job<'_>) -> Call {
    Call {
        path: PATH,
        body: openai(job, true).into_value(),
        rank: None,
    }
}

/// The members of the API itself.
pub(super) fn openai(job: &Job<'_>, streams: bool) -> Body {
    let options = &job.request.sampling_options;
    let prompt = match job.text {
        Some(text) => json!(text),
        None => json!(job.request.token_ids),
    };
    let body = Body::default()
        .with("model", job.model)
        .with("prompt", prompt)
        .with("max_tokens", job.max_tokens)
        .maybe("temperature", options.temperature)
        .maybe("top_p", options.top_p)
        .maybe("presence_penalty", options.presence_penalty)
        .maybe("frequency_penalty", options.frequency_penalty)
        .maybe("seed", options.seed)
        .maybe("logprobs", job.request.output_options.logprobs)
        .with("stream", streams);
    match streams {
        true => body.with("stream_options", json!({"include_usage": true})),
        false => body,
    }
}

/// What vLLM and TensorRT-LLM take beside it.
pub(super) fn extended(body: Body, job: &Job<'_>) -> Body {
    let options = &job.request.sampling_options;
    let conditions = &job.request.stop_conditions;
    body.maybe("top_k", options.top_k)
        .maybe("min_p", options.min_p)
        .maybe("repetition_penalty", options.repetition_penalty)
        .maybe("min_tokens", conditions.min_tokens)
        .maybe("ignore_eos", conditions.ignore_eos)
        .maybe("stop_token_ids", stop_tokens(job.request))
}

/// What a part of an answer says, or a whole one.
pub(super) fn read(part: &Value, told: &Told) -> Result<Delta, Trouble> {
    let mut delta = Delta {
        cached: cached(part),
        ..Delta::default()
    };
    let Some(choice) = part.pointer("/choices/0") else {
        return Ok(delta);
    };
    match tokens(choice.get("token_ids")) {
        Some(tokens) => delta.tokens = tokens,
        None => delta.text = choice["text"].as_str().map(str::to_owned),
    }
    (delta.log_probs, delta.top_logprobs) = logprobs(&choice["logprobs"], told);
    delta.finish = finish(choice, told)?;
    Ok(delta)
}

/// Why an answer has ended; `None` if it has not. An engine that ends it itself is going.
pub(super) fn finish(choice: &Value, told: &Told) -> Result<Option<FinishReason>, Trouble> {
    match choice["finish_reason"].as_str() {
        None => Ok(None),
        Some("length") => Ok(Some(FinishReason::Length)),
        Some("stop") => Ok(Some(told.stopped_by(choice.get("stop_reason")))),
        Some("abort" | "cancelled") => {
            Err(Trouble::Gone("the engine ended the request".to_owned()))
        }
        Some("error") => Err(Trouble::Refused(EngineError::Failed(
            "the request ended with an error".to_owned(),
        ))),
        Some("content_filter") => Ok(Some(FinishReason::ContentFilter)),
        // vLLM ends endless repetitions, and later versions may know more reasons.
        Some(_) => Ok(Some(FinishReason::Stop)),
    }
}

/// The trouble that a part tells of: after the head of an answer there is no status to say it.
pub(super) fn trouble(part: &Value) -> Option<Trouble> {
    let error = match part.get("error") {
        Some(Value::Null) | None if part["object"] == "error" => part,
        Some(Value::Null) | None => return None,
        Some(error) => error,
    };
    let text = error["message"].as_str().or(error.as_str());
    let text = text.unwrap_or("the engine says no more").to_owned();
    let code = error["code"].as_u64().unwrap_or(500);
    Some(match code {
        429 | 503 => Trouble::Refused(EngineError::Busy(text)),
        400..500 => Trouble::Refused(EngineError::Invalid(text)),
        _ => Trouble::Gone(text),
    })
}

/// Prompt tokens whose KV was reused.
pub(super) fn cached(part: &Value) -> Option<u32> {
    let cached = part.pointer("/usage/prompt_tokens_details/cached_tokens")?;
    u32::try_from(cached.as_u64()?).ok()
}

/// Logarithms of the probabilities of tokens, and of their alternatives.
pub(super) type Logprobs = (Option<Vec<f64>>, Option<Vec<Vec<TopLogprob>>>);

fn logprobs(value: &Value, told: &Told) -> Logprobs {
    let (Some(_), Some(chosen)) = (told.logprobs, value["token_logprobs"].as_array()) else {
        return (None, None);
    };
    let chosen = chosen
        .iter()
        .map(|one| one.as_f64().unwrap_or(0.0))
        .collect();
    let empty = Vec::new();
    let tops = value["top_logprobs"].as_array().unwrap_or(&empty).iter();
    let tops: Vec<_> = tops
        .map(|top| told.best(alternatives(top.as_object())))
        .collect();
    let any = tops.iter().any(|top| !top.is_empty());
    (Some(chosen), any.then_some(tops))
}

/// Alternatives by name; names that are texts say nothing of tokens.
fn alternatives(top: Option<&Map<String, Value>>) -> Vec<TopLogprob> {
    let named = top.into_iter().flatten();
    named
        .filter_map(|(name, logprob)| {
            Some(TopLogprob {
                token_id: name.strip_prefix(TOKEN_NAME)?.parse().ok()?,
                logprob: logprob.as_f64()?,
            })
        })
        .collect()
}

/// What `/v1/models` says.
pub(super) fn models(answer: &Answer) -> Description {
    let list: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let models = list["data"].as_array().map(Vec::as_slice);
    let models = models.unwrap_or_default();
    let names = models.iter().filter_map(|model| model["id"].as_str());
    Description {
        models: names.map(str::to_owned).collect(),
        context_length: models
            .first()
            .and_then(|model| size(model.get("max_model_len"))),
        ..Description::default()
    }
}
