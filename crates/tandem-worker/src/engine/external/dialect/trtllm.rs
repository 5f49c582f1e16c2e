//! TensorRT-LLM: `/v1/completions` of `trtllm-serve`, with tokens on both sides.

use std::path::Path;

use serde_json::{Value, json};

use super::completions;
use super::{Body, Delta, Job, Leg, Params, Told, Trouble};
use crate::engine::external::http::Call;
use crate::engine::external::launch::{Flags, KvConnector, LaunchOptions, Listening, Sockets};

/// File with the options that have no flag.
const OPTIONS: &str = "options.yaml";

pub(super) fn complete(job: &Job<'_>) -> Call {
    let prefill = *job.leg == Leg::Prefill;
    let guided = job.request.sampling_options.guided_decoding.as_ref();
    let body = completions::extended(completions::openai(job, !prefill), job)
        .with("detokenize", false)
        .with("add_special_tokens", false)
        .maybe("response_format", guided.and_then(response_format))
        .maybe("disaggregated_params", params(job.leg));
    Call {
        path: completions::PATH,
        body: body.into_value(),
        rank: None,
    }
}

/// Guided decoding as it is asked for here.
fn response_format(guided: &Value) -> Option<Value> {
    let some = |name: &str| guided.get(name).filter(|value| !value.is_null());
    some("json")
        .map(|schema| json!({"type": "json_schema", "json_schema": schema}))
        .or_else(|| some("regex").map(|regex| json!({"type": "regex", "regex": regex})))
        .or_else(|| some("grammar").map(|grammar| json!({"type": "ebnf", "ebnf": grammar})))
}

/// Which phase of a request it is. The generation phase is told what the context phase said.
fn params(leg: &Leg) -> Option<Value> {
    match leg {
        Leg::Prefill => Some(json!({"request_type": "context_only"})),
        Leg::Decode(handoff) => match &handoff.params {
            Params::ContextParams(said) => {
                let mut params = said.clone();
                params["request_type"] = json!("generation_only");
                Some(params)
            }
            Params::KvTransferParams(_) => None,
        },
        Leg::Whole | Leg::Joined(_) => None,
    }
}

pub(super) fn read(part: &Value, told: &Told) -> Result<Delta, Trouble> {
    let mut delta = completions::read(part, told)?;
    let params = part.pointer("/choices/0/disaggregated_params");
    delta.params = params
        .filter(|params| params.is_object())
        .map(|params| Params::ContextParams(params.clone()));
    Ok(delta)
}

pub(super) fn flags(model: &Path, options: &LaunchOptions, sockets: &Sockets) -> Flags {
    let mut flags = Flags::default();
    flags.argument(model.display());
    flags.flag("--host", "127.0.0.1");
    if let Listening::Loopback(port) = sockets.http {
        flags.flag("--port", port);
    }
    flags.maybe("--max_batch_size", options.max_sequences);
    flags.maybe("--max_num_tokens", options.max_batched_tokens);
    flags.maybe("--max_seq_len", options.context_length);
    flags.unless("--tp_size", options.tensor_parallel, 1);
    let events = json!({
        "publisher": "zmq",
        "endpoint": sockets.events,
        "replay_endpoint": sockets.replay,
        "topic": "",
    });
    let cache = Body::default()
        .with("enable_block_reuse", true)
        .with("kv_events_config", events)
        .maybe("tokens_per_block", options.block_size)
        .maybe("free_gpu_memory_fraction", options.memory_fraction);
    let transceiver = match &options.connector {
        KvConnector::Nixl(_) => Some(json!({"backend": "NIXL"})),
        KvConnector::Null => None,
    };
    let extra = Body::default()
        .with("kv_cache_config", cache.into_value())
        .maybe("cache_transceiver_config", transceiver)
        .maybe(
            "cuda_graph_config",
            options.enforce_eager.then_some(Value::Null),
        );
    // JSON is YAML.
    let file = sockets.directory.join(OPTIONS);
    flags.flag("--extra_llm_api_options", file.display());
    flags.file(OPTIONS, extra.into_value().to_string());
    flags
}
