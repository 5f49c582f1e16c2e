//! `POST /v1/chat/completions` and `POST /v1/completions`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tandem_protocol::header::REQUEST_ID;
use tandem_protocol::openai::Sampling;
use tandem_protocol::openai::chat::ChatRequest;
use tandem_protocol::openai::completion::CompletionRequest;
use tandem_runtime::http::read_body;
use tandem_runtime::telemetry;
use tracing::Instrument;

use crate::answer::{Answer, Form};
use crate::choice::Choice;
use crate::config::BODY_TIMEOUT;
use crate::error::FrontendError;
use crate::generation::Origin;
use crate::metrics::Endpoint;
use crate::model_registry::Model;
use crate::preprocess::{self, Prepared};
use crate::respond::{Delivery, respond};
use crate::server::Frontend;
use crate::spans::{self, Received};

/// `POST /v1/chat/completions`.
pub(crate) async fn chat(
    State(frontend): State<Arc<Frontend>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FrontendError> {
    let body = read(&frontend, body).await?;
    let request = ChatRequest::from_body(&body)?;
    let model = frontend.registry.get(&request.model)?;
    let prepared = vec![preprocess::chat(&model, &request)?];
    let wanted = Wanted {
        form: Form::Chat,
        sampling: &request.sampling,
        logprobs: request.wanted_logprobs().is_some(),
    };
    let tokens = prompt_tokens(&prepared);
    let response = answer(&frontend, &headers, &model, &wanted, prepared).await?;
    // Who reads of cached prompts does not know whose they are.
    if request.sampling.cache_salt().is_none() {
        frontend.load.served(&model, &body, &tokens);
    }
    Ok(response)
}

/// `POST /v1/completions`.
pub(crate) async fn completions(
    State(frontend): State<Arc<Frontend>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FrontendError> {
    let body = read(&frontend, body).await?;
    let request = CompletionRequest::from_body(&body)?;
    let model = frontend.registry.get(&request.model)?;
    let prepared = preprocess::completion(&model, &request)?;
    let wanted = Wanted {
        form: Form::Completion,
        sampling: &request.sampling,
        logprobs: request.logprobs.is_some(),
    };
    let tokens = prompt_tokens(&prepared);
    let response = answer(&frontend, &headers, &model, &wanted, prepared).await?;
    // Who reads of cached prompts does not know whose they are.
    if request.sampling.cache_salt().is_none() {
        frontend.load.served(&model, &body, &tokens);
    }
    Ok(response)
}

struct Wanted<'a> {
    form: Form,
    sampling: &'a Sampling,
    logprobs: bool,
}

fn prompt_tokens(prepared: &[Prepared]) -> Vec<usize> {
    let tokens = prepared.iter().map(|one| one.engine.token_ids.len());
    tokens.collect()
}

async fn read(frontend: &Frontend, body: Body) -> Result<Bytes, FrontendError> {
    Ok(read_body(body, frontend.body_limit, BODY_TIMEOUT).await?)
}

/// Answers with `n` choices for each prompt.
async fn answer(
    frontend: &Frontend,
    headers: &HeaderMap,
    model: &Arc<Model>,
    wanted: &Wanted<'_>,
    prepared: Vec<Prepared>,
) -> Result<Response, FrontendError> {
    let request_id = request_id(headers);
    let stream = wanted.sampling.stream == Some(true);
    let endpoint = match wanted.form {
        Form::Chat => Endpoint::chat_completions,
        Form::Completion => Endpoint::completions,
    };
    let timer = frontend
        .dispatcher
        .metrics
        .start(&model.card.display_name, endpoint, stream);
    let prompt_tokens: usize = prepared.iter().map(|one| one.engine.token_ids.len()).sum();
    let delivery = Delivery {
        stream,
        include_usage: wanted.sampling.include_usage(),
        prompt_tokens: u32::try_from(prompt_tokens).unwrap_or(u32::MAX),
    };
    let name = &model.card.display_name;
    let received = Received {
        request_id: &request_id,
        model: name,
        prompt_tokens: delivery.prompt_tokens,
        stream,
    };
    let span = spans::request(headers, &received);
    let origin = Origin {
        request_id: request_id.clone(),
        traceparent: telemetry::traceparent(&span),
    };
    let mut choices = Vec::new();
    for prompt in &prepared {
        for i in 0..wanted.sampling.choices() {
            choices.push(choice(frontend, model, (prompt, i), &origin));
        }
    }
    let answer = Answer::new(wanted.form, &request_id, name, wanted.logprobs);
    let begins = respond(answer, choices, delivery, timer);
    let mut response = begins.instrument(span).await?;
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
}

/// The i-th choice of a prompt. Each has its own seed, or all of them would be equal.
fn choice(
    frontend: &Frontend,
    model: &Arc<Model>,
    (prompt, i): (&Prepared, u32),
    origin: &Origin,
) -> Choice {
    let mut request = prompt.engine.clone();
    let seed = &mut request.sampling_options.seed;
    *seed = seed.map(|seed| seed.wrapping_add(i64::from(i)));
    let outputs = frontend
        .dispatcher
        .generate(Arc::clone(model), request, origin.clone());
    Choice::new(&model.tokenizer, prompt, outputs)
}

/// The client's id if it is a sane one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(sane)
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_request_ids_are_kept() {
        let check = |id: &'static str, kept: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(id));
            assert_eq!(request_id(&headers) == id, kept, "{id}");
        };
        check("a1-b2", true);
        check("", false);
        check("a b", false);
        assert_eq!(request_id(&HeaderMap::new()).len(), 36);
    }
}
