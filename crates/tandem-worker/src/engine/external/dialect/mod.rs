//! How each engine is spoken to: what it is sent, and what its answers mean. Nothing here does IO.

mod completions;
mod sglang;
mod trtllm;
mod vllm;

use std::path::Path;

use serde_json::{Map, Value};
use tandem_protocol::engine::{EngineRequest, FinishReason, TopLogprob};

use super::handoff::{Handoff, Params};
use super::http::{Answer, Call};
use super::kv_events::EventSource;
use super::launch::{Flags, LaunchOptions, Sockets};
use super::prometheus::Samples;
use crate::engine::EngineError;

/// An engine that is spoken to over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM.
    TrtLlm,
    /// Any server of the OpenAI API.
    OpenAi,
}

/// Which part of a request the engine takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Leg {
    /// All of it.
    Whole,
    /// The prompt, whose blocks are handed over.
    Prefill,
    /// The answer to a prompt that was handed over.
    Decode(Handoff),
    /// Either part of a request whose parts are started at the same time.
    Joined(Bootstrap),
}

/// Where the parts of a request meet, as SGLang has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bootstrap {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) room: u64,
    /// Whether this is the part that computes the prompt.
    pub(super) prefill: bool,
}

/// What an engine is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    /// Name of the request, without what the engine puts before it.
    pub(super) id: &'a str,
    /// Name of the model as the engine knows it.
    pub(super) model: &'a str,
    pub(super) request: &'a EngineRequest,
    pub(super) leg: &'a Leg,
    /// Most tokens to generate: engines have low limits of their own where nothing is said.
    pub(super) max_tokens: u32,
    /// Data-parallel rank, if there are several.
    pub(super) rank: Option<u32>,
    /// Whether the endpoint for tokens is there.
    pub(super) tokens_endpoint: bool,
    /// The prompt as text, for engines that do not take tokens.
    pub(super) text: Option<&'a str>,
}

/// What is known of an answer so far.
#[derive(Debug, Clone, Default)]
pub(super) struct SoFar {
    /// Tokens that came.
    pub(super) tokens: usize,
}

/// What a part of an answer says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Delta {
    pub(super) tokens: Vec<u32>,
    /// Text, where the engine says no tokens.
    pub(super) text: Option<String>,
    pub(super) log_probs: Option<Vec<f64>>,
    pub(super) top_logprobs: Option<Vec<Vec<TopLogprob>>>,
    pub(super) finish: Option<FinishReason>,
    /// Prompt tokens whose KV was reused.
    pub(super) cached: Option<u32>,
    /// What a decode worker needs.
    pub(super) params: Option<Params>,
}

/// Why an answer does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The engine has failed or is going: somebody else may go on.
    Gone(String),
    /// The engine does not do this request.
    Refused(EngineError),
}

/// What an engine says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Description {
    /// Models that it serves, adapters included.
    pub(super) models: Vec<String>,
    pub(super) context_length: Option<usize>,
    pub(super) block_size: Option<usize>,
    /// Blocks of each rank.
    pub(super) total_blocks: Option<usize>,
    pub(super) max_sequences: Option<usize>,
    pub(super) ranks: Option<u32>,
    pub(super) sources: Vec<EventSource>,
    /// Port on which the parts of a request meet.
    pub(super) bootstrap_port: Option<u16>,
}

/// The figures of a rank, where the engine shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) running: Option<f64>,
    pub(super) waiting: Option<f64>,
    /// Share of the KV blocks in use.
    pub(super) kv_usage: Option<f64>,
    pub(super) prompt_tokens: Option<f64>,
    pub(super) cached_prompt_tokens: Option<f64>,
    pub(super) computed_prompt_tokens: Option<f64>,
    pub(super) generated_tokens: Option<f64>,
    pub(super) steps: Option<f64>,
    pub(super) preemptions: Option<f64>,
    pub(super) draft_tokens: Option<f64>,
    pub(super) accepted_draft_tokens: Option<f64>,
}

impl Dialect {
    /// Its name, as users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TrtLlm => "trtllm",
            Self::OpenAi => "openai",
        }
    }

    /// What starts it, in the words of a shell; `None` for what somebody else has to start.
    pub const fn command(self) -> Option<&'static str> {
        match self {
            Self::Vllm => Some("vllm serve"),
            Self::Sglang => Some("python3 -m sglang.launch_server"),
            Self::TrtLlm => Some("trtllm-serve"),
            Self::OpenAi => None,
        }
    }

    /// Whether it can listen on a Unix socket.
    pub(super) const fn on_unix_socket(self) -> bool {
        matches!(self, Self::Vllm)
    }

    /// Whether both parts of a request are started at once, and meet.
    pub(super) const fn joins_parts(self) -> bool {
        matches!(self, Self::Sglang)
    }

    /// Whether it publishes KV events.
    pub(super) const fn publishes_events(self) -> bool {
        !matches!(self, Self::OpenAi)
    }

    /// Tokens per block, where nothing is said.
    pub(super) const fn block_size(self) -> usize {
        match self {
            Self::TrtLlm => 32,
            Self::Vllm | Self::Sglang | Self::OpenAi => 16,
        }
    }

    /// What it is started with, for the model in `model`.
    pub(super) fn flags(self, model: &Path, options: &LaunchOptions, sockets: &Sockets) -> Flags {
        match self {
            Self::Vllm => vllm::flags(model, options, sockets),
            Self::Sglang => sglang::flags(model, options, sockets),
            Self::TrtLlm => trtllm::flags(model, options, sockets),
            Self::OpenAi => Flags::default(),
        }
    }

    /// Answers with 200 once the engine serves.
    pub(super) const fn health(self) -> &'static str {
        match self {
            Self::OpenAi => "/v1/models",
            Self::Vllm | Self::Sglang | Self::TrtLlm => "/health",
        }
    }

    /// What an engine is asked about itself.
    pub(super) const fn questions(self) -> &'static [&'static str] {
        match self {
            Self::Vllm => &["/v1/models", "/metrics", "/kv_event_sources"],
            Self::Sglang => &["/v1/models", "/server_info"],
            Self::TrtLlm | Self::OpenAi => &["/v1/models"],
        }
    }

    /// What the answers to the questions say; `None` for those that were not answered. `host` is
    /// where the engine is.
    pub(super) fn describe(self, answers: &[Option<Answer>], host: &str) -> Description {
        let models = answers.first().and_then(Option::as_ref);
        let rest = answers.get(1..).unwrap_or_default();
        let description = models.map_or_else(Description::default, completions::models);
        match self {
            Self::Vllm => vllm::describe(description, rest, host),
            Self::Sglang => sglang::describe(description, rest, host),
            Self::TrtLlm | Self::OpenAi => description,
        }
    }

    /// Where figures are, if there are any.
    pub(super) const fn metrics(self) -> Option<&'static str> {
        match self {
            Self::Vllm | Self::Sglang => Some("/metrics"),
            Self::TrtLlm | Self::OpenAi => None,
        }
    }

    /// The figures of a rank.
    pub(super) fn figures(self, samples: &Samples, rank: u32) -> Figures {
        match self {
            Self::Vllm => vllm::figures(samples, rank),
            Self::Sglang => sglang::figures(samples, rank),
            Self::TrtLlm | Self::OpenAi => Figures::default(),
        }
    }

    /// Whether it does what the request asks for.
    pub(super) fn check(self, request: &EngineRequest) -> Result<(), EngineError> {
        let options = &request.sampling_options;
        let unsupported = |what| Err(EngineError::Unsupported(what));
        if options.use_beam_search == Some(true) {
            return unsupported("beam search");
        }
        if options.n.is_some_and(|n| n > 1) || options.best_of.is_some_and(|n| n > 1) {
            return unsupported("more than one sequence a request");
        }
        // It would be guided from the beginning of its grammar again.
        if options.guided_decoding.is_some() && request.generated_tokens.is_some() {
            let reason = "a guided answer cannot be continued by another worker";
            return Err(EngineError::Failed(reason.to_owned()));
        }
        let salted = request.cache_salt.is_some();
        match self {
            // Without salts, tenants would share blocks that must not be shared.
            Self::TrtLlm | Self::OpenAi if salted => unsupported("a cache salt"),
            Self::OpenAi if options.guided_decoding.is_some() => unsupported("guided decoding"),
            Self::Vllm | Self::Sglang | Self::TrtLlm | Self::OpenAi => Ok(()),
        }
    }

    /// Whether it may have an endpoint for tokens beside the one for text.
    pub(super) const fn has_tokens_endpoint(self) -> bool {
        matches!(self, Self::Vllm)
    }

    /// What starts a request.
    pub(super) fn call(self, job: &Job<'_>) -> Call {
        match self {
            Self::Vllm if job.tokens_endpoint => vllm::generate(job),
            Self::Vllm => vllm::complete(job),
            Self::Sglang => sglang::generate(job),
            Self::TrtLlm => trtllm::complete(job),
            Self::OpenAi => completions::complete(job),
        }
    }

    /// Whether the answer to a leg comes in parts. What vLLM hands over is not in the parts of a
    /// prompt's answer, so that is never one.
    pub(super) const fn streams(self, leg: &Leg) -> bool {
        match leg {
            Leg::Prefill => false,
            Leg::Whole | Leg::Decode(_) | Leg::Joined(_) => true,
        }
    }

    /// What a part of an answer says.
    pub(super) fn read(self, part: &Value, so_far: &SoFar, job: &Told) -> Result<Delta, Trouble> {
        if let Some(trouble) = completions::trouble(part) {
            return Err(trouble);
        }
        match self {
            Self::Vllm if job.tokens_endpoint => vllm::read(part, job),
            Self::Vllm | Self::OpenAi => completions::read(part, job),
            Self::Sglang => sglang::read(part, so_far, job),
            Self::TrtLlm => trtllm::read(part, job),
        }
    }

    /// What ends a request whose connection was closed, for servers behind something that keeps
    /// their connection open.
    pub(super) fn abort(self, id: &str) -> Option<Call> {
        match self {
            Self::Vllm => Some(vllm::abort(id)),
            Self::Sglang => Some(sglang::abort(id)),
            Self::TrtLlm | Self::OpenAi => None,
        }
    }
}

/// What has to be known of a request to read its answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) tokens_endpoint: bool,
    /// Tokens that end the sequence.
    pub(super) eos: Vec<u32>,
    /// Alternatives that were asked for, if probabilities were.
    pub(super) logprobs: Option<usize>,
}

impl Told {
    pub(super) fn of(request: &EngineRequest, tokens_endpoint: bool) -> Self {
        let logprobs = request.output_options.logprobs;
        Self {
            tokens_endpoint,
            eos: request.eos_token_ids.clone(),
            logprobs: logprobs.map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
        }
    }

    /// What a stop token means: nothing is said of it if it is the model's own.
    fn stopped_by(&self, token: Option<&Value>) -> FinishReason {
        match token.and_then(Value::as_u64) {
            None if token.is_none_or(Value::is_null) => FinishReason::Eos,
            Some(token) if self.eos.iter().any(|eos| u64::from(*eos) == token) => FinishReason::Eos,
            _ => FinishReason::Stop,
        }
    }

    /// As many alternatives as were asked for, the best first.
    fn best(&self, mut all: Vec<TopLogprob>) -> Vec<TopLogprob> {
        all.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
        all.truncate(self.logprobs.unwrap_or(0));
        all
    }
}

/// Collects members that have a value.
#[derive(Debug, Default)]
struct Body(Map<String, Value>);

impl Body {
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn maybe(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Tokens that end the answer beside the model's own.
fn stop_tokens(request: &EngineRequest) -> Option<Vec<u32>> {
    let conditions = &request.stop_conditions;
    let stops = conditions.stop_token_ids_hidden.clone().unwrap_or_default();
    (conditions.ignore_eos != Some(true) && !stops.is_empty()).then_some(stops)
}

/// A list of tokens; `None` if it is none.
fn tokens(value: Option<&Value>) -> Option<Vec<u32>> {
    let tokens = value?.as_array()?.iter();
    tokens
        .map(|token| token.as_u64().and_then(|token| u32::try_from(token).ok()))
        .collect()
}

fn size(value: Option<&Value>) -> Option<usize> {
    value?.as_u64().and_then(|size| usize::try_from(size).ok())
}

#[cfg(test)]
mod tests;
