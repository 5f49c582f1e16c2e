//! SGLang: tokens in and tokens out at `/generate`.

use std::path::Path;

use serde_json::{Value, json};
use tandem_protocol::engine::{FinishReason, TopLogprob};

use super::completions::Logprobs;
use super::{
    Body, Delta, Description, Figures, Job, Leg, SoFar, Told, Trouble, size, stop_tokens, tokens,
};
use crate::engine::EngineError;
use crate::engine::external::http::{Answer, Call};
use crate::engine::external::kv_events::EventSource;
use crate::engine::external::launch::{Flags, KvConnector, LaunchOptions, Listening, Sockets};
use crate::engine::external::prometheus::Samples;
use crate::serve::WorkerRole;

pub(super) fn generate(job: &Job<'_>) -> Call {
    let request = job.request;
    let options = &request.sampling_options;
    let conditions = &request.stop_conditions;
    let guided = options.guided_decoding.as_ref();
    let guide = |name: &str| {
        guided
            .and_then(|guided| guided.get(name))
            .filter(|it| !it.is_null())
    };
    let sampling = Body::default()
        .with("max_new_tokens", job.max_tokens)
        .maybe("min_new_tokens", conditions.min_tokens)
        .maybe("temperature", options.temperature)
        .maybe("top_p", options.top_p)
        .maybe("top_k", options.top_k.map(|k| if k <= 0 { -1 } else { k }))
        .maybe("min_p", options.min_p)
        .maybe("presence_penalty", options.presence_penalty)
        .maybe("frequency_penalty", options.frequency_penalty)
        .maybe("repetition_penalty", options.repetition_penalty)
        .maybe("sampling_seed", options.seed)
        .maybe("ignore_eos", conditions.ignore_eos)
        .maybe("stop_token_ids", stop_tokens(request))
        .maybe("json_schema", guide("json").map(schema))
        .maybe("regex", guide("regex").cloned())
        .maybe("ebnf", guide("grammar").cloned());
    let logprobs = request.output_options.logprobs;
    let bootstrap = match job.leg {
        Leg::Joined(bootstrap) => Some(bootstrap),
        Leg::Whole | Leg::Prefill | Leg::Decode(_) => None,
    };
    let body = Body::default()
        .with("rid", job.id)
        .with("input_ids", request.token_ids.clone())
        .with("sampling_params", sampling.into_value())
        .with("stream", true)
        .maybe("return_logprob", logprobs.map(|_| true))
        .maybe("top_logprobs_num", logprobs)
        .maybe("cache_salt", request.cache_salt.as_deref())
        .maybe("routed_dp_rank", job.rank)
        .maybe("bootstrap_host", bootstrap.map(|at| at.host.clone()))
        .maybe("bootstrap_port", bootstrap.map(|at| at.port))
        .maybe("bootstrap_room", bootstrap.map(|at| at.room));
    Call {
        path: "/generate",
        body: body.into_value(),
        rank: None,
    }
}

/// A schema has to be a text.
fn schema(schema: &Value) -> String {
    schema
        .as_str()
        .map_or_else(|| schema.to_string(), str::to_owned)
}

pub(super) fn abort(id: &str) -> Call {
    Call {
        path: "/abort_request",
        body: json!({"rid": id}),
        rank: None,
    }
}

/// What a part of an answer says. Depending on how the server was started, its lists hold what is
/// new or everything so far; how much there is in all, it always says.
pub(super) fn read(part: &Value, so_far: &SoFar, told: &Told) -> Result<Delta, Trouble> {
    let about = &part["meta_info"];
    let finish = finish(&about["finish_reason"], told)?;
    let ids = tokens(part.get("output_ids")).unwrap_or_default();
    let total = size(about.get("completion_tokens"));
    let fresh = total.map_or(ids.len(), |total| total.saturating_sub(so_far.tokens));
    let fresh = fresh.min(ids.len());
    let (log_probs, top_logprobs) = logprobs(about, fresh, told);
    Ok(Delta {
        tokens: ids[ids.len() - fresh..].to_vec(),
        log_probs,
        top_logprobs,
        finish,
        cached: size(about.get("cached_tokens")).and_then(|cached| u32::try_from(cached).ok()),
        ..Delta::default()
    })
}

fn finish(reason: &Value, told: &Told) -> Result<Option<FinishReason>, Trouble> {
    let text = || reason["message"].as_str().unwrap_or("aborted").to_owned();
    match reason["type"].as_str() {
        None => Ok(None),
        Some("length") => Ok(Some(FinishReason::Length)),
        Some("abort") => Err(match reason["status_code"].as_u64() {
            Some(429 | 503) => Trouble::Refused(EngineError::Busy(text())),
            Some(400..500) => Trouble::Refused(EngineError::Invalid(text())),
            _ => Trouble::Gone(text()),
        }),
        Some(_) => Ok(Some(told.stopped_by(reason.get("matched")))),
    }
}

/// The last `fresh` entries of the lists of probabilities.
fn logprobs(about: &Value, fresh: usize, told: &Told) -> Logprobs {
    let list = |name: &str| about[name].as_array();
    let (Some(_), Some(chosen)) = (told.logprobs, list("output_token_logprobs")) else {
        return (None, None);
    };
    let last = |list: &[Value]| list[list.len().saturating_sub(fresh)..].to_vec();
    // [logarithm, token, text]
    let one = |entry: &Value| {
        Some(TopLogprob {
            token_id: u32::try_from(entry[1].as_u64()?).ok()?,
            logprob: entry[0].as_f64()?,
        })
    };
    let chosen = last(chosen)
        .iter()
        .map(|entry| entry[0].as_f64().unwrap_or(0.0))
        .collect();
    let tops = last(list("output_top_logprobs").map_or(&[], Vec::as_slice));
    let tops: Vec<_> = tops
        .iter()
        .map(|top| {
            told.best(
                top.as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(one)
                    .collect(),
            )
        })
        .collect();
    let any = tops.iter().any(|top| !top.is_empty());
    (Some(chosen), any.then_some(tops))
}

pub(super) fn describe(
    description: Description,
    answers: &[Option<Answer>],
    host: &str,
) -> Description {
    let info = answers.first().and_then(Option::as_ref);
    let info: Value = info
        .and_then(|answer| serde_json::from_slice(&answer.body).ok())
        .unwrap_or_default();
    let number = |name: &str| size(info.get(name)).filter(|number| *number > 0);
    let block_size = number("page_size");
    let ranks = number("dp_size").and_then(|ranks| u32::try_from(ranks).ok());
    // The configuration of events is a text with JSON in it.
    let events: Value = info["kv_events_config"]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let source = events["endpoint"].as_str().map(|endpoint| {
        let replay = events["replay_endpoint"].as_str();
        EventSource::resolve(0, endpoint, replay, host)
    });
    let prefill = info["disaggregation_mode"] == "prefill";
    let port = number("disaggregation_bootstrap_port").filter(|_| prefill);
    Description {
        context_length: description.context_length.or(number("context_length")),
        total_blocks: number("max_total_num_tokens").map(|tokens| tokens / block_size.unwrap_or(1)),
        block_size,
        max_sequences: number("max_running_requests"),
        // With several ranks, where each of them publishes is not said.
        sources: source
            .into_iter()
            .filter(|_| ranks.unwrap_or(1) == 1)
            .collect(),
        ranks,
        bootstrap_port: port.and_then(|port| u16::try_from(port).ok()),
        ..description
    }
}

pub(super) fn figures(samples: &Samples, rank: u32) -> Figures {
    let name = rank.to_string();
    let sum = |figure: &str| {
        let of_rank = samples.sum(figure, &[("dp_rank", &name)]);
        // A server with one rank does not name it.
        of_rank.or_else(|| samples.sum(figure, &[]).filter(|_| rank == 0))
    };
    Figures {
        running: sum("sglang:num_running_reqs"),
        waiting: sum("sglang:num_queue_reqs"),
        kv_usage: sum("sglang:token_usage"),
        prompt_tokens: sum("sglang:prompt_tokens_total"),
        cached_prompt_tokens: sum("sglang:cached_tokens_total"),
        generated_tokens: sum("sglang:generation_tokens_total"),
        ..Figures::default()
    }
}

pub(super) fn flags(model: &Path, options: &LaunchOptions, sockets: &Sockets) -> Flags {
    let mut flags = Flags::default();
    flags.flag("--model-path", model.display());
    flags.flag("--served-model-name", &options.served_name);
    flags.flag("--host", "127.0.0.1");
    if let Listening::Loopback(port) = sockets.http {
        flags.flag("--port", port);
    }
    flags.switch("--skip-tokenizer-init");
    flags.switch("--enable-metrics");
    flags.maybe("--page-size", options.block_size);
    flags.maybe("--context-length", options.context_length);
    flags.maybe("--max-running-requests", options.max_sequences);
    flags.maybe("--mem-fraction-static", options.memory_fraction);
    flags.unless("--tp-size", options.tensor_parallel, 1);
    flags.unless("--dp-size", options.data_parallel, 1);
    if options.enforce_eager {
        flags.switch("--disable-cuda-graph");
    }
    let events = json!({
        "publisher": "zmq",
        "endpoint": sockets.events,
        "replay_endpoint": sockets.replay,
        "topic": "",
    });
    flags.flag("--kv-events-config", events);
    if let KvConnector::Nixl(_) = &options.connector {
        let mode = match options.role {
            WorkerRole::Prefill => "prefill",
            WorkerRole::Decode => "decode",
        };
        flags.flag("--disaggregation-mode", mode);
        flags.flag("--disaggregation-transfer-backend", "nixl");
        if options.role == WorkerRole::Prefill {
            flags.flag("--disaggregation-bootstrap-port", sockets.side_channel);
        }
    }
    flags
}
