//! vLLM: tokens in and tokens out at `/inference/v1/generate`, or `/v1/completions` where that is
//! not there.

use std::path::Path;

use serde_json::{Value, json};
use tandem_protocol::engine::TopLogprob;

use super::completions::{self, Logprobs};
use super::{
    Body, Delta, Description, Figures, Job, Leg, Params, Told, Trouble, stop_tokens, tokens,
};
use crate::engine::external::http::{Answer, Call};
use crate::engine::external::kv_events::EventSource;
use crate::engine::external::launch::{Flags, KvConnector, LaunchOptions, Listening, Sockets};
use crate::engine::external::prometheus::Samples;
use crate::serve::WorkerRole;

/// What vLLM puts before the name of a request; it silently knows nothing of a name without it.
const ID_PREFIX: &str = "generate-tokens-";
/// What makes the hashes of blocks equal in all processes.
const HASH_SEED: &str = "0";

/// The endpoint for tokens.
pub(super) fn generate(job: &Job<'_>) -> Call {
    let request = job.request;
    let options = &request.sampling_options;
    let prefill = *job.leg == Leg::Prefill;
    let conditions = &request.stop_conditions;
    let sampling = Body::default()
        .with("max_tokens", job.max_tokens)
        .maybe(
            "min_tokens",
            conditions.min_tokens.map(|min| min.min(job.max_tokens)),
        )
        .maybe("temperature", options.temperature)
        .maybe("top_p", options.top_p)
        .maybe("top_k", options.top_k)
        .maybe("min_p", options.min_p)
        .maybe("presence_penalty", options.presence_penalty)
        .maybe("frequency_penalty", options.frequency_penalty)
        .maybe("repetition_penalty", options.repetition_penalty)
        .maybe("seed", options.seed)
        .maybe("ignore_eos", conditions.ignore_eos)
        .maybe("stop_token_ids", stop_tokens(request))
        .maybe("logprobs", request.output_options.logprobs)
        .maybe(
            "structured_outputs",
            options.guided_decoding.as_ref().map(structure),
        )
        // The frontend makes the text.
        .with("detokenize", false);
    let body = Body::default()
        .with("request_id", job.id)
        .with("model", job.model)
        .with("token_ids", request.token_ids.clone())
        .with("sampling_params", sampling.into_value())
        .maybe("cache_salt", request.cache_salt.as_deref())
        .maybe("priority", request.priority)
        .maybe("kv_transfer_params", transfer(job.leg))
        .with("stream", !prefill);
    let body = match prefill {
        true => body,
        false => body.with("stream_options", json!({"include_usage": true})),
    };
    Call {
        path: "/inference/v1/generate",
        body: body.into_value(),
        rank: job.rank,
    }
}

/// The endpoint for text, with tokens in its place.
pub(super) fn complete(job: &Job<'_>) -> Call {
    let prefill = *job.leg == Leg::Prefill;
    let body = completions::extended(completions::openai(job, !prefill), job)
        .with("return_token_ids", true)
        .with("return_tokens_as_token_ids", true)
        .maybe(
            "structured_outputs",
            job.request
                .sampling_options
                .guided_decoding
                .as_ref()
                .map(structure),
        )
        .maybe("cache_salt", job.request.cache_salt.as_deref())
        .maybe("priority", job.request.priority)
        .maybe("kv_transfer_params", transfer(job.leg));
    Call {
        path: completions::PATH,
        body: body.into_value(),
        rank: job.rank,
    }
}

/// Guided decoding under vLLM's names.
fn structure(guided: &Value) -> Value {
    let names = ["json", "regex", "choice", "grammar", "whitespace_pattern"];
    let members = guided.as_object().into_iter().flatten();
    let members = members.filter(|(name, value)| names.contains(&&***name) && !value.is_null());
    Value::Object(
        members
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// What connectors are told.
fn transfer(leg: &Leg) -> Option<Value> {
    match leg {
        Leg::Prefill => Some(json!({
            "do_remote_decode": true,
            "do_remote_prefill": false,
            "remote_engine_id": null,
            "remote_block_ids": null,
            "remote_host": null,
            "remote_port": null,
        })),
        Leg::Decode(handoff) => match &handoff.params {
            Params::KvTransferParams(params) => Some(params.clone()),
            Params::ContextParams(_) => None,
        },
        Leg::Whole | Leg::Joined(_) => None,
    }
}

pub(super) fn abort(id: &str) -> Call {
    Call {
        path: "/inference/v1/abort_requests",
        body: json!({"request_ids": [format!("{ID_PREFIX}{id}")]}),
        rank: None,
    }
}

/// What a part of the answer of the endpoint for tokens says, or a whole one.
pub(super) fn read(part: &Value, told: &Told) -> Result<Delta, Trouble> {
    let params = part.get("kv_transfer_params");
    let mut delta = Delta {
        cached: completions::cached(part),
        params: params
            .filter(|params| params.is_object())
            .map(|params| Params::KvTransferParams(params.clone())),
        ..Delta::default()
    };
    let Some(choice) = part.pointer("/choices/0") else {
        return Ok(delta);
    };
    delta.tokens = tokens(choice.get("token_ids")).unwrap_or_default();
    (delta.log_probs, delta.top_logprobs) = logprobs(choice, told);
    delta.finish = completions::finish(choice, told)?;
    Ok(delta)
}

fn logprobs(choice: &Value, told: &Told) -> Logprobs {
    let content = choice
        .pointer("/logprobs/content")
        .and_then(Value::as_array);
    let (Some(_), Some(content)) = (told.logprobs, content) else {
        return (None, None);
    };
    let one = |value: &Value| {
        let token_id = value["token_id"].as_u64()?;
        Some(TopLogprob {
            token_id: u32::try_from(token_id).ok()?,
            logprob: value["logprob"].as_f64()?,
        })
    };
    let chosen = content
        .iter()
        .map(|token| token["logprob"].as_f64().unwrap_or(0.0));
    let tops: Vec<Vec<TopLogprob>> = content
        .iter()
        .map(|token| {
            let top = token["top_logprobs"].as_array().into_iter().flatten();
            told.best(top.filter_map(one).collect())
        })
        .collect();
    let any = tops.iter().any(|top| !top.is_empty());
    (Some(chosen.collect()), any.then_some(tops))
}

pub(super) fn describe(
    description: Description,
    answers: &[Option<Answer>],
    host: &str,
) -> Description {
    let body = |index: usize| answers.get(index)?.as_ref().map(|answer| &*answer.body);
    let samples = Samples::parse(&String::from_utf8_lossy(body(0).unwrap_or_default()));
    let configured = |label| samples.label("vllm:cache_config_info", label)?.parse().ok();
    let sources: Value = body(1)
        .and_then(|body| serde_json::from_slice(body).ok())
        .unwrap_or_default();
    let sources = sources.as_object().into_iter().flatten();
    let mut sources: Vec<EventSource> = sources
        .filter(|(_, source)| source["enable_kv_cache_events"] == true)
        .filter_map(|(rank, source)| {
            let (endpoint, replay) = (source["endpoint"].as_str()?, &source["replay_endpoint"]);
            let rank = rank.parse().ok()?;
            Some(EventSource::resolve(rank, endpoint, replay.as_str(), host))
        })
        .collect();
    sources.sort_by_key(|source| source.rank);
    Description {
        block_size: configured("block_size"),
        total_blocks: configured("num_gpu_blocks"),
        ranks: sources.last().map(|source| source.rank + 1),
        sources,
        ..description
    }
}

pub(super) fn figures(samples: &Samples, rank: u32) -> Figures {
    let rank = rank.to_string();
    let engine = [("engine", &*rank)];
    let sum = |name: &str| samples.sum(name, &engine);
    let computed = [("engine", &*rank), ("source", "local_compute")];
    Figures {
        running: sum("vllm:num_requests_running"),
        waiting: sum("vllm:num_requests_waiting"),
        kv_usage: sum("vllm:kv_cache_usage_perc"),
        prompt_tokens: sum("vllm:prompt_tokens_total"),
        cached_prompt_tokens: sum("vllm:prefix_cache_hits_total"),
        computed_prompt_tokens: samples.sum("vllm:prompt_tokens_by_source_total", &computed),
        generated_tokens: sum("vllm:generation_tokens_total"),
        steps: sum("vllm:iteration_tokens_total_count"),
        preemptions: sum("vllm:num_preemptions_total"),
        draft_tokens: sum("vllm:spec_decode_num_draft_tokens_total"),
        accepted_draft_tokens: sum("vllm:spec_decode_num_accepted_tokens_total"),
    }
}

pub(super) fn flags(model: &Path, options: &LaunchOptions, sockets: &Sockets) -> Flags {
    let mut flags = Flags::default();
    flags.argument(model.display());
    flags.flag("--served-model-name", &options.served_name);
    match &sockets.http {
        Listening::Unix(path) => flags.flag("--uds", path.display()),
        Listening::Loopback(port) => {
            flags.flag("--host", "127.0.0.1");
            flags.flag("--port", port);
        }
    }
    flags.switch("--enable-scale-out");
    flags.switch("--enable-prefix-caching");
    flags.flag("--prefix-caching-hash-algo", "sha256_cbor");
    flags.switch("--enable-prompt-tokens-details");
    // It would say twice a second that it was asked for its figures.
    flags.switch("--disable-uvicorn-access-log");
    flags.maybe("--block-size", options.block_size);
    flags.maybe("--max-model-len", options.context_length);
    flags.maybe("--max-num-seqs", options.max_sequences);
    flags.maybe("--max-num-batched-tokens", options.max_batched_tokens);
    flags.maybe("--num-gpu-blocks-override", options.kv_blocks);
    flags.maybe("--gpu-memory-utilization", options.memory_fraction);
    flags.unless("--tensor-parallel-size", options.tensor_parallel, 1);
    flags.unless("--data-parallel-size", options.data_parallel, 1);
    if options.enforce_eager {
        flags.switch("--enforce-eager");
    }
    if !options.adapters.is_empty() {
        flags.switch("--enable-lora");
        flags.argument("--lora-modules");
        for module in &options.adapters {
            flags.argument(module);
        }
    }
    flags.maybe("--speculative-config", options.speculation.as_ref());
    let events = json!({
        "enable_kv_cache_events": true,
        "publisher": "zmq",
        "endpoint": sockets.events,
        "replay_endpoint": sockets.replay,
        "topic": "",
    });
    flags.flag("--kv-events-config", events);
    if let Some(connector) = connector(options) {
        flags.flag("--kv-transfer-config", connector);
    }
    // Without it, the first request that samples waits for a compiler.
    flags.variable("TORCH_COMPILE_DISABLE", "1");
    flags.variable("PYTHONHASHSEED", HASH_SEED);
    flags.variable("VLLM_NO_USAGE_STATS", "1");
    if let KvConnector::Nixl(nixl) = &options.connector {
        flags.variable("VLLM_NIXL_SIDE_CHANNEL_HOST", nixl.host);
        flags.variable("VLLM_NIXL_SIDE_CHANNEL_PORT", sockets.side_channel);
    }
    flags
}

/// Configuration of the connector that moves blocks, if one does: to another engine, or to tiers.
fn connector(options: &LaunchOptions) -> Option<Value> {
    let KvConnector::Nixl(nixl) = &options.connector else {
        return options.offloading.clone();
    };
    let role = match options.role {
        WorkerRole::Prefill => "kv_producer",
        WorkerRole::Decode => "kv_consumer",
    };
    let config = Body::default()
        .with("kv_connector", "NixlConnector")
        .with("kv_role", role)
        // Otherwise a request fails whose blocks do not come.
        .with("kv_load_failure_policy", "recompute")
        .maybe("kv_buffer_device", nixl.buffer_device.as_deref())
        .with(
            "kv_connector_extra_config",
            json!({"kv_lease_duration": nixl.lease.as_secs()}),
        );
    Some(config.into_value())
}
