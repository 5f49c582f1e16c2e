//! From the choices of an answer to an HTTP response, streamed or whole.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures::future::try_join_all;
use futures::stream::{self, FuturesUnordered, Stream, StreamExt};
use http::{HeaderValue, header};
use tandem_protocol::openai::Usage;

use crate::answer::{Answer, WholeChoice};
use crate::choice::{Choice, ChoiceDelta};
use crate::error::FrontendError;
use crate::metrics::RequestTimer;

/// How the client wants its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// As server-sent events.
    pub stream: bool,
    /// With a chunk of token counts at the end of the stream.
    pub include_usage: bool,
    /// Tokens of all prompts together.
    pub prompt_tokens: u32,
}

/// Answers with `choices`.
///
/// Nothing is sent before every choice has its first tokens, so that an early failure is still an
/// HTTP error. Dropping the response's body drops the choices and so stops the workers.
///
/// # Errors
/// A choice failed before its first tokens, or at any time if the answer is not streamed.
pub(crate) async fn respond(
    answer: Answer,
    choices: Vec<Choice>,
    delivery: Delivery,
    mut timer: RequestTimer,
) -> Result<Response, FrontendError> {
    let result = async {
        let mut counts = Counts {
            prompt: delivery.prompt_tokens,
            ..Counts::default()
        };
        let started = try_join_all(choices.into_iter().map(first_delta)).await?;
        for (_, delta) in &started {
            counts.add(delta, &mut timer);
        }
        if delivery.stream {
            return Ok(Started::Stream(started, counts));
        }
        let whole = try_join_all(
            started
                .into_iter()
                .map(|(choice, delta)| fold(choice, delta)),
        );
        Ok(Started::Whole(whole.await?, counts))
    };
    match result.await {
        Ok(Started::Stream(started, counts)) => Ok(event_stream(Writer::new(
            answer, started, counts, delivery, timer,
        ))),
        Ok(Started::Whole(whole, mut counts)) => {
            counts.completion += whole.iter().map(|(_, later)| later.completion).sum::<u32>();
            for (_, later) in &whole {
                timer.tokens(later.completion);
            }
            timer.succeed(counts.usage());
            let choices = whole.into_iter().map(|(choice, _)| choice).collect();
            Ok(json(answer.whole(choices, counts.usage())))
        }
        Err(error) => {
            timer.fail();
            Err(error)
        }
    }
}

enum Started {
    Stream(Vec<(Choice, ChoiceDelta)>, Counts),
    Whole(Vec<(WholeChoice, Counts)>, Counts),
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    prompt: u32,
    completion: u32,
    cached: u32,
}

impl Counts {
    fn add(&mut self, delta: &ChoiceDelta, timer: &mut RequestTimer) {
        timer.tokens(delta.token_count);
        self.completion += delta.token_count;
        self.cached = self.cached.max(delta.cached_tokens.unwrap_or(0));
    }

    fn usage(&self) -> Usage {
        Usage::new(self.prompt, self.completion, self.cached)
    }
}

async fn first_delta(mut choice: Choice) -> Result<(Choice, ChoiceDelta), FrontendError> {
    let first = choice
        .next()
        .await
        .unwrap_or(Err(FrontendError::WorkerLost))?;
    Ok((choice, first))
}

async fn fold(
    mut choice: Choice,
    first: ChoiceDelta,
) -> Result<(WholeChoice, Counts), FrontendError> {
    let mut whole = WholeChoice::default();
    let mut later = Counts::default();
    whole.push(first);
    while let Some(delta) = choice.next().await {
        let delta = delta?;
        later.completion += delta.token_count;
        whole.push(delta);
    }
    Ok((whole, later))
}

fn json(body: String) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

fn event_stream(writer: Writer) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // Tells reverse proxies such as nginx not to collect events.
        (
            header::HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    // A panic must not cut the answer off without a word.
    let events = AssertUnwindSafe(writer.events()).catch_unwind();
    let events = events.map(|event| {
        event.unwrap_or_else(|panic| Ok(error_event(&FrontendError::from_panic(&*panic))))
    });
    (headers, Body::from_stream(events)).into_response()
}

/// Writes a streamed answer: what is ready, then whichever choice is next.
struct Writer {
    answer: Answer,
    delivery: Delivery,
    counts: Counts,
    timer: RequestTimer,
    ready: VecDeque<(usize, ChoiceDelta)>,
    running: FuturesUnordered<futures::future::BoxFuture<'static, Step>>,
    choices: Vec<Sent>,
    phase: Phase,
}

/// What one choice has sent so far.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    started: bool,
    characters: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Deltas,
    Usage,
    Done,
    Ended,
}

struct Step {
    index: usize,
    choice: Choice,
    delta: Option<Result<ChoiceDelta, FrontendError>>,
}

impl Writer {
    fn new(
        answer: Answer,
        started: Vec<(Choice, ChoiceDelta)>,
        counts: Counts,
        delivery: Delivery,
        timer: RequestTimer,
    ) -> Self {
        let choices = vec![Sent::default(); started.len()];
        let mut ready = VecDeque::new();
        let running = FuturesUnordered::new();
        for (index, (choice, delta)) in started.into_iter().enumerate() {
            ready.push_back((index, delta));
            running.push(step(index, choice));
        }
        Self {
            answer,
            delivery,
            counts,
            timer,
            ready,
            running,
            choices,
            phase: Phase::Deltas,
        }
    }

    fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, |mut writer| async {
            let event = writer.next_event().await?;
            Some((Ok(event), writer))
        })
    }

    async fn next_event(&mut self) -> Option<Bytes> {
        match self.phase {
            Phase::Deltas => {
                if let Some(event) = self.next_delta().await {
                    return Some(event);
                }
                self.timer.succeed(self.counts.usage());
                self.phase = Phase::Done;
                if self.delivery.include_usage {
                    self.phase = Phase::Usage;
                }
                Box::pin(self.next_event()).await
            }
            Phase::Usage => {
                self.phase = Phase::Done;
                Some(event(&self.answer.usage_chunk(self.counts.usage())))
            }
            Phase::Done => {
                self.phase = Phase::Ended;
                Some(event("[DONE]"))
            }
            Phase::Ended => None,
        }
    }

    /// The next delta that a client can see, or an error event; `None` when all choices ended.
    async fn next_delta(&mut self) -> Option<Bytes> {
        loop {
            let (index, delta) = match self.ready.pop_front() {
                Some(ready) => ready,
                None => match self.next_step().await? {
                    Ok(next) => next,
                    Err(error) => return Some(self.fail(&error)),
                },
            };
            if let Some(event) = self.delta_event(index, delta) {
                return Some(event);
            }
        }
    }

    async fn next_step(&mut self) -> Option<Result<(usize, ChoiceDelta), FrontendError>> {
        loop {
            let Step {
                index,
                choice,
                delta,
            } = self.running.next().await?;
            let Some(delta) = delta else {
                continue;
            };
            self.running.push(step(index, choice));
            return Some(delta.map(|delta| {
                self.counts.add(&delta, &mut self.timer);
                (index, delta)
            }));
        }
    }

    fn delta_event(&mut self, index: usize, delta: ChoiceDelta) -> Option<Bytes> {
        let silent =
            delta.text.is_empty() && delta.tokens.is_empty() && delta.finish_reason.is_none();
        let sent = &mut self.choices[index];
        if silent && sent.started {
            return None;
        }
        let first = !std::mem::replace(&mut sent.started, true);
        let offset = sent.characters;
        sent.characters += delta.text.chars().count();
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        Some(event(&self.answer.chunk(index, delta, first, offset)))
    }

    /// The status line is sent already, so the error is an event, and nothing follows it.
    fn fail(&mut self, error: &FrontendError) -> Bytes {
        self.timer.fail();
        self.running.clear();
        self.phase = Phase::Ended;
        error_event(error)
    }
}

fn step(index: usize, mut choice: Choice) -> futures::future::BoxFuture<'static, Step> {
    Box::pin(async move {
        let delta = choice.next().await;
        Step {
            index,
            choice,
            delta,
        }
    })
}

fn error_event(error: &FrontendError) -> Bytes {
    let body = serde_json::to_string(&error.body()).expect("error bodies always serialise");
    event(&body)
}

/// One server-sent event. JSON text has no line breaks, so one `data` line is enough.
fn event(data: &str) -> Bytes {
    let mut bytes = Vec::with_capacity(data.len() + 8);
    bytes.extend_from_slice(b"data: ");
    bytes.extend_from_slice(data.as_bytes());
    bytes.extend_from_slice(b"\n\n");
    bytes.into()
}
