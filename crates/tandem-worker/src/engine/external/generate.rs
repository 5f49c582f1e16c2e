//! One request, from tokens to tokens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use futures::stream::{self, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use serde_json::Value;
use tandem_protocol::engine::{EngineOutput, EngineRequest, FinishReason};
use tracing::{debug, warn};

use super::counters::InFlight;
use super::dialect::{Job, Leg, SoFar, Told, Trouble};
use super::handoff;
use super::http::{HttpError, whole};
use super::sse::EventReader;
use super::{Live, Shared};
use crate::engine::{EngineError, Outputs};

/// Marks the end of an answer that comes in parts.
const DONE: &str = "[DONE]";

/// The outputs for a leg of `request`; nothing is sent before they are polled.
pub(super) fn run(shared: Arc<Shared>, request: EngineRequest, leg: Leg) -> Outputs {
    let start = async move {
        let started = start(shared, request, leg).await;
        match started {
            Ok(answer) => stream::unfold(answer, |mut answer| async {
                let output = answer.next().await?;
                Some((output, answer))
            })
            .boxed(),
            Err(Trouble::Refused(error)) => stream::iter([Err(error)]).boxed(),
            Err(Trouble::Gone(reason)) => {
                warn!(reason, "the engine is gone, another worker may go on");
                stream::empty().boxed()
            }
        }
    };
    stream::once(start).flatten().boxed()
}

/// A request that was sent. Dropping it before it is answered aborts it.
struct Sent {
    shared: Arc<Shared>,
    live: Live,
    id: String,
    request: EngineRequest,
    in_flight: InFlight,
    answered: bool,
}

impl Drop for Sent {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        // The connection is closed as well, which is enough unless something is in between.
        let Some(abort) = self.shared.dialect.abort(&self.id) else {
            return;
        };
        let client = self.live.client.clone();
        let id = std::mem::take(&mut self.id);
        self.shared.tasks.spawn(async move {
            if let Err(error) = client.tell(&abort).await {
                debug!(id, %error, "failed to abort a request");
            }
        });
    }
}

/// Sends a request and waits for the head of its answer.
async fn start(
    shared: Arc<Shared>,
    request: EngineRequest,
    mut leg: Leg,
) -> Result<Answer, Trouble> {
    let Some(live) = shared.live() else {
        return Err(Trouble::Gone("it is being started".to_owned()));
    };
    shared.check(&request).map_err(Trouble::Refused)?;
    let rank = shared.rank(&request);
    let sent = Sent {
        in_flight: shared
            .counters
            .start(rank.unwrap_or(0), request.token_ids.len()),
        id: uuid::Uuid::new_v4().simple().to_string(),
        shared,
        live,
        request,
        answered: false,
    };
    loop {
        let response = sent.post(&leg, rank).await?;
        match sent.accept(response, &leg).await? {
            Head::Answer(response) => return sent.answer(response, leg).await,
            Head::Again => {}
            Head::WithoutHandoff(reason) => {
                sent.in_flight.fall_back(reason);
                leg = Leg::Whole;
            }
        }
    }
}

/// What the head of an answer means.
enum Head {
    Answer(Response<Incoming>),
    /// The engine wants to be asked in another way.
    Again,
    /// The blocks of the prompt do not come: it has to be computed here.
    WithoutHandoff(&'static str),
}

impl Sent {
    async fn post(&self, leg: &Leg, rank: Option<u32>) -> Result<Response<Incoming>, Trouble> {
        let shared = &self.shared;
        let prompt = self.request.token_ids.len();
        let asked = self.request.stop_conditions.max_tokens;
        let room = shared.info.context_length.saturating_sub(prompt);
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let text = match shared.wants_text.load(Ordering::Relaxed) {
            true => Some(shared.text_of(&self.request.token_ids)?),
            false => None,
        };
        let call = shared.dialect.call(&Job {
            id: &self.id,
            model: shared.model(&self.request),
            request: &self.request,
            leg,
            max_tokens: match leg {
                Leg::Prefill => 1,
                Leg::Joined(bootstrap) if bootstrap.prefill => 1,
                Leg::Whole | Leg::Decode(_) | Leg::Joined(_) => asked.unwrap_or(room),
            },
            rank,
            tokens_endpoint: shared.tokens_endpoint.load(Ordering::Relaxed),
            text: text.as_deref(),
        });
        self.live
            .client
            .post(&call)
            .await
            .map_err(|error| gone(&error))
    }

    /// Looks at the status of an answer.
    async fn accept(&self, response: Response<Incoming>, leg: &Leg) -> Result<Head, Trouble> {
        let status = response.status();
        if status.is_success() {
            return Ok(Head::Answer(response));
        }
        let shared = &self.shared;
        let answer = whole(response).await.map_err(|error| gone(&error))?;
        let text = message(&answer.body);
        match status {
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
                if shared.dialect.has_tokens_endpoint()
                    && !names_model(&answer.body)
                    && shared.tokens_endpoint.swap(false, Ordering::Relaxed) =>
            {
                warn!(
                    text,
                    "the engine has no endpoint for tokens: /v1/completions is used"
                );
                Ok(Head::Again)
            }
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
                if shared.may_want_text() && !shared.wants_text.swap(true, Ordering::Relaxed) =>
            {
                warn!(
                    text,
                    "the engine takes no tokens: it is sent text from now on"
                );
                Ok(Head::Again)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Err(Trouble::Refused(EngineError::Busy(text)))
            }
            status if status.is_client_error() => Err(Trouble::Refused(EngineError::Invalid(text))),
            // A broken engine says so to every request, and one whose blocks did not come to this.
            _ if !self.live.healthy(shared.dialect).await => Err(Trouble::Gone(text)),
            _ if matches!(leg, Leg::Decode(_)) => {
                warn!(
                    text,
                    "the prompt's blocks did not come, it is computed here"
                );
                Ok(Head::WithoutHandoff(handoff::LOAD_FAILED))
            }
            _ => Err(Trouble::Refused(EngineError::Failed(text))),
        }
    }

    async fn answer(self, response: Response<Incoming>, leg: Leg) -> Result<Answer, Trouble> {
        let endpoint = self.shared.tokens_endpoint.load(Ordering::Relaxed);
        let told = Told::of(&self.request, endpoint);
        let mut answer = Answer {
            told,
            so_far: SoFar::default(),
            cumulative: 0.0,
            cached: None,
            ready: VecDeque::new(),
            held: None,
            ended: false,
            events: EventReader::default(),
            body: None,
            sent: self,
            prefill: leg == Leg::Prefill,
        };
        if let Leg::Decode(handoff) = &leg {
            answer.sent.in_flight.remote_prefill();
            answer.cached = handoff.cached_tokens;
        }
        if answer.sent.shared.dialect.streams(&leg) {
            answer.body = Some(response.into_body());
            return Ok(answer);
        }
        let body = whole(response).await.map_err(|error| gone(&error))?.body;
        let part = serde_json::from_slice(&body)
            .map_err(|error| Trouble::Refused(EngineError::Failed(error.to_string())))?;
        answer.take_part(&part)?;
        answer.finish();
        Ok(answer)
    }
}

/// An answer that is coming.
struct Answer {
    sent: Sent,
    told: Told,
    so_far: SoFar,
    /// Sum of the log probabilities.
    cumulative: f64,
    cached: Option<u32>,
    ready: VecDeque<EngineOutput>,
    /// The last output waits for what is said of the whole answer.
    held: Option<EngineOutput>,
    ended: bool,
    events: EventReader,
    body: Option<Incoming>,
    prefill: bool,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<EngineOutput, EngineError>> {
        loop {
            if let Some(output) = self.ready.pop_front() {
                return Some(Ok(output));
            }
            if self.ended {
                return None;
            }
            match self.read().await {
                Ok(()) => {}
                Err(Trouble::Refused(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                Err(Trouble::Gone(reason)) => {
                    self.ended = true;
                    if self.held.is_some() {
                        // Everything that matters had come.
                        self.finish();
                        continue;
                    }
                    warn!(reason, "the engine is gone, another worker may go on");
                    return None;
                }
            }
        }
    }

    /// Takes the next bytes of the body.
    async fn read(&mut self) -> Result<(), Trouble> {
        let frame = match &mut self.body {
            Some(body) => body.frame().await,
            None => None,
        };
        let Some(frame) = frame else {
            return Err(Trouble::Gone("its answer ended early".to_owned()));
        };
        let frame = frame.map_err(|error| gone(&HttpError::Broken(error)))?;
        let Some(bytes) = frame.data_ref() else {
            return Ok(());
        };
        let odd = |error: &dyn std::fmt::Display| {
            Trouble::Refused(EngineError::Failed(error.to_string()))
        };
        self.events.push(bytes).map_err(|error| odd(&error))?;
        while let Some(event) = self.events.next() {
            if event == DONE {
                return match self.held.is_some() {
                    true => {
                        self.finish();
                        Ok(())
                    }
                    false => Err(Trouble::Gone(
                        "its answer ended without a reason".to_owned(),
                    )),
                };
            }
            let part: Value = serde_json::from_str(&event).map_err(|error| odd(&error))?;
            self.take_part(&part)?;
        }
        Ok(())
    }

    fn take_part(&mut self, part: &Value) -> Result<(), Trouble> {
        let shared = &self.sent.shared;
        let mut delta = shared.dialect.read(part, &self.so_far, &self.told)?;
        self.cached = self.cached.max(delta.cached);
        if let ([], Some(text)) = (&*delta.tokens, &delta.text)
            && !text.is_empty()
        {
            delta.tokens = shared.tokens_of(text)?;
            // They belong to the engine's tokens, which need not be these.
            (delta.log_probs, delta.top_logprobs) = (None, None);
        }
        let tokens = delta.tokens;
        if self.held.is_some() || tokens.is_empty() && delta.finish.is_none() {
            return Ok(());
        }
        self.so_far.tokens += tokens.len();
        if let Some(log_probs) = &delta.log_probs {
            self.cumulative += log_probs.iter().sum::<f64>();
        }
        let output = EngineOutput {
            cum_log_probs: delta.log_probs.as_ref().map(|_| self.cumulative),
            log_probs: delta.log_probs,
            top_logprobs: delta.top_logprobs,
            finish_reason: delta.finish,
            disaggregated_params: delta.params.map(|params| {
                let mut handoff = shared.hand_over(params, SystemTime::now());
                handoff.cached_tokens = delta.cached;
                handoff.to_json()
            }),
            token_ids: tokens,
            ..EngineOutput::default()
        };
        match output.finish_reason {
            Some(_) => self.held = Some(output),
            None => self.ready.push_back(output),
        }
        Ok(())
    }

    /// Lets the last output go.
    fn finish(&mut self) {
        let Some(mut last) = self.held.take() else {
            return;
        };
        last.cached_tokens = self.cached;
        if self.prefill {
            last.finish_reason = Some(FinishReason::Length);
        }
        self.sent
            .in_flight
            .answered(self.so_far.tokens, self.cached);
        self.sent.answered = true;
        self.ended = true;
        self.ready.push_back(last);
    }
}

fn gone(error: &HttpError) -> Trouble {
    Trouble::Gone(error.to_string())
}

/// What an error's body says.
fn message(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = value
        .pointer("/error/message")
        .or_else(|| value.get("message"))
        .or_else(|| value.get("error"))
        .or_else(|| value.get("detail"))
        .and_then(Value::as_str);
    text.unwrap_or("the engine says no more").to_owned()
}

/// Whether a refusal is about the model and not about the path: then its body is an error of the
/// API.
fn names_model(body: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let says = |member, text: &str| value.pointer(member).is_some_and(|said| said == text);
    says("/error/type", "NotFoundError") || says("/error/param", "model")
}
