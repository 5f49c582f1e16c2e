use serde_json::json;
use tandem_protocol::engine::{SamplingOptions, StopConditions};

use super::super::http::Answer;
use super::super::launch::{KvConnector, Listening, NixlOptions};
use super::*;
use crate::serve::WorkerRole;

fn request() -> EngineRequest {
    EngineRequest {
        model: "m".to_owned(),
        token_ids: vec![5, 6, 7],
        stop_conditions: StopConditions {
            max_tokens: Some(9),
            stop_token_ids_hidden: Some(vec![13]),
            ..StopConditions::default()
        },
        sampling_options: SamplingOptions {
            temperature: Some(0.5),
            seed: Some(7),
            guided_decoding: Some(json!({"json": {"type": "object"}, "regex": null})),
            ..SamplingOptions::default()
        },
        eos_token_ids: vec![2],
        cache_salt: Some("tenant".to_owned()),
        priority: Some(-3),
        ..EngineRequest::default()
    }
}

fn call(dialect: Dialect, leg: &Leg, tokens_endpoint: bool) -> Call {
    let request = request();
    dialect.call(&Job {
        id: "r1",
        model: "m",
        request: &request,
        leg,
        max_tokens: if *leg == Leg::Prefill { 1 } else { 9 },
        rank: Some(1),
        tokens_endpoint,
        text: None,
    })
}

fn handoff(params: Params) -> Leg {
    Leg::Decode(Handoff::unlimited(params))
}

#[test]
fn vllm_is_sent_tokens() {
    let Call { path, body, rank } = call(Dialect::Vllm, &Leg::Whole, true);
    assert_eq!((path, rank), ("/inference/v1/generate", Some(1)));
    let expected = json!({
        "request_id": "r1", "model": "m", "token_ids": [5, 6, 7],
        "sampling_params": {
            "max_tokens": 9, "temperature": 0.5, "seed": 7, "stop_token_ids": [13],
            "structured_outputs": {"json": {"type": "object"}}, "detokenize": false,
        },
        "cache_salt": "tenant", "priority": -3, "stream": true,
        "stream_options": {"include_usage": true},
    });
    assert_eq!(body, expected);
    let older = call(Dialect::Vllm, &Leg::Whole, false);
    assert_eq!(older.path, "/v1/completions");
    assert_eq!(older.body["prompt"], json!([5, 6, 7]));
    assert_eq!(older.body["return_token_ids"], true);
    assert_eq!(older.body["cache_salt"], "tenant");
}

#[test]
fn what_vllm_hands_over_is_never_asked_for_in_parts() {
    for tokens_endpoint in [true, false] {
        let body = call(Dialect::Vllm, &Leg::Prefill, tokens_endpoint).body;
        assert_eq!(body["stream"], false);
        assert_eq!(body["kv_transfer_params"]["do_remote_decode"], true);
        let opaque = json!({"remote_block_ids": [[1]], "do_remote_prefill": true});
        let leg = handoff(Params::KvTransferParams(opaque.clone()));
        let body = call(Dialect::Vllm, &leg, tokens_endpoint).body;
        assert_eq!(body["kv_transfer_params"], opaque);
        assert_eq!(body["stream"], true);
    }
    assert!(!Dialect::Vllm.streams(&Leg::Prefill));
}

#[test]
fn vllm_knows_requests_by_their_prefix() {
    let abort = Dialect::Vllm.abort("r1").unwrap();
    assert_eq!(abort.body, json!({"request_ids": ["generate-tokens-r1"]}));
}

fn told(logprobs: Option<usize>) -> Told {
    Told {
        tokens_endpoint: true,
        eos: vec![2],
        logprobs,
    }
}

#[test]
fn vllms_captured_answers_are_read() {
    // As vLLM 0.32 sent them, shortened.
    let part = json!({
        "request_id": "generate-tokens-r1", "usage": {
            "prompt_tokens": 70, "completion_tokens": 3, "total_tokens": 73,
            "prompt_tokens_details": {"cached_tokens": 64}
        },
        "kv_transfer_params": null, "output_mode": "tokens",
        "choices": [{"index": 0, "finish_reason": "length", "stop_reason": null,
            "token_ids": [770, 569], "logprobs": {"content": [
                {"token_id": 770, "logprob": -8.5, "rank": 5, "top_logprobs": [
                    {"token_id": 770, "logprob": -8.5, "rank": 5},
                    {"token_id": 3, "logprob": -8.25, "rank": 1}]},
                {"token_id": 569, "logprob": -8.0, "rank": 1, "top_logprobs": [
                    {"token_id": 569, "logprob": -8.0, "rank": 1}]},
            ]}}]
    });
    let read = |logprobs| {
        Dialect::Vllm
            .read(&part, &SoFar::default(), &told(logprobs))
            .unwrap()
    };
    let delta = read(Some(1));
    assert_eq!(delta.tokens, [770, 569]);
    assert_eq!(delta.cached, Some(64));
    assert_eq!(delta.finish, Some(FinishReason::Length));
    assert_eq!(delta.log_probs, Some(vec![-8.5, -8.0]));
    let best: Vec<u32> = delta
        .top_logprobs
        .unwrap()
        .iter()
        .map(|top| top[0].token_id)
        .collect();
    assert_eq!(best, [3, 569]);
    assert_eq!(read(Some(0)).top_logprobs, None);
    assert_eq!(read(None).log_probs, None);

    let usage = json!({"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 32}}});
    let delta = Dialect::Vllm
        .read(&usage, &SoFar::default(), &told(None))
        .unwrap();
    assert_eq!((delta.tokens, delta.cached), (vec![], Some(32)));
}

#[test]
fn ends_are_told_apart() {
    let end = |reason: &str, stop: Value| {
        let part =
            json!({"choices": [{"token_ids": [1], "finish_reason": reason, "stop_reason": stop}]});
        let delta = Dialect::Vllm.read(&part, &SoFar::default(), &told(None))?;
        Ok::<_, Trouble>(delta.finish.unwrap())
    };
    assert_eq!(end("stop", Value::Null), Ok(FinishReason::Eos));
    assert_eq!(end("stop", json!(2)), Ok(FinishReason::Eos));
    assert_eq!(end("stop", json!(13)), Ok(FinishReason::Stop));
    assert_eq!(end("stop", json!("text")), Ok(FinishReason::Stop));
    assert_eq!(end("repetition", Value::Null), Ok(FinishReason::Stop));
    // An engine that drains answers so, and says that it is well.
    assert!(matches!(end("abort", Value::Null), Err(Trouble::Gone(_))));
    assert!(matches!(
        end("error", Value::Null),
        Err(Trouble::Refused(EngineError::Failed(_)))
    ));
}

#[test]
fn errors_inside_an_answer_have_kinds() {
    let read = |code: u64| {
        let part = json!({"error": {"message": "EngineCore encountered an issue", "code": code}});
        Dialect::Vllm
            .read(&part, &SoFar::default(), &told(None))
            .unwrap_err()
    };
    assert!(matches!(read(500), Trouble::Gone(_)));
    assert!(matches!(read(503), Trouble::Refused(EngineError::Busy(_))));
    assert!(matches!(
        read(400),
        Trouble::Refused(EngineError::Invalid(_))
    ));
}

fn answer(body: &str) -> Option<Answer> {
    Some(Answer {
        status: hyper::StatusCode::OK,
        body: body.to_owned().into(),
    })
}

#[test]
fn vllm_describes_itself() {
    let description = Dialect::Vllm.describe(
        &[
            answer(r#"{"data": [{"id": "m", "max_model_len": 4096}, {"id": "adapter"}]}"#),
            answer("vllm:cache_config_info{block_size=\"32\",num_gpu_blocks=\"128\"} 1.0\n"),
            answer(r#"{"1": {"enable_kv_cache_events": true, "endpoint": "tcp://*:24",
                "replay_endpoint": "tcp://127.0.0.1:26"},
                "0": {"enable_kv_cache_events": true, "endpoint": "tcp://*:23", "replay_endpoint": null}}"#),
        ],
        "10.0.0.1",
    );
    assert_eq!(description.models, ["m", "adapter"]);
    assert_eq!(description.context_length, Some(4096));
    assert_eq!(
        (description.block_size, description.total_blocks),
        (Some(32), Some(128))
    );
    assert_eq!(description.ranks, Some(2));
    let ranks: Vec<u32> = description
        .sources
        .iter()
        .map(|source| source.rank)
        .collect();
    assert_eq!(ranks, [0, 1]);
    let old = Dialect::Vllm.describe(&[answer("{}"), None, None], "h");
    assert_eq!(old, Description::default());
}

fn options(role: WorkerRole) -> LaunchOptions {
    LaunchOptions {
        command: None,
        extra_args: String::new(),
        served_name: "m".to_owned(),
        role,
        block_size: Some(32),
        kv_blocks: None,
        context_length: Some(4096),
        max_sequences: None,
        max_batched_tokens: None,
        memory_fraction: Some(0.8),
        tensor_parallel: 2,
        data_parallel: 1,
        enforce_eager: true,
        adapters: Vec::new(),
        speculation: Some(r#"{"method":"ngram","num_speculative_tokens":4}"#.to_owned()),
        connector: KvConnector::Nixl(NixlOptions {
            host: "10.0.0.1".parse().unwrap(),
            port: None,
            buffer_device: Some("cpu".to_owned()),
            lease: std::time::Duration::from_secs(30),
        }),
        offloading: None,
        start_timeout: std::time::Duration::from_secs(1),
        stop_timeout: std::time::Duration::from_secs(1),
    }
}

fn sockets() -> Sockets {
    Sockets {
        directory: "/run/x".into(),
        http: Listening::Unix("/run/x/http".into()),
        events: "ipc:///run/x/events".to_owned(),
        replay: "ipc:///run/x/replay".to_owned(),
        side_channel: 5600,
    }
}

/// The value of a flag.
fn flag<'a>(flags: &'a Flags, name: &str) -> Option<&'a str> {
    let at = flags
        .arguments
        .iter()
        .position(|argument| argument == name)?;
    flags.arguments.get(at + 1).map(String::as_str)
}

#[test]
fn vllm_is_started_as_the_flags_say() {
    let model = Path::new("/models/m");
    for (role, kv_role) in [
        (WorkerRole::Prefill, "kv_producer"),
        (WorkerRole::Decode, "kv_consumer"),
    ] {
        let flags = Dialect::Vllm.flags(model, &options(role), &sockets());
        assert_eq!(flags.arguments[0], "/models/m");
        for (name, value) in [
            ("--uds", "/run/x/http"),
            ("--tensor-parallel-size", "2"),
            ("--max-model-len", "4096"),
            ("--block-size", "32"),
            ("--gpu-memory-utilization", "0.8"),
            ("--prefix-caching-hash-algo", "sha256_cbor"),
        ] {
            assert_eq!(flag(&flags, name), Some(value), "{name}");
        }
        assert!(flags.arguments.contains(&"--enforce-eager".to_owned()));
        assert_eq!(flag(&flags, "--max-num-seqs"), None);
        let json = |name| serde_json::from_str::<Value>(flag(&flags, name).unwrap()).unwrap();
        assert_eq!(json("--speculative-config")["method"], "ngram");
        let connector = json("--kv-transfer-config");
        assert_eq!(connector["kv_role"], kv_role);
        assert_eq!(connector["kv_load_failure_policy"], "recompute");
        assert_eq!(connector["kv_buffer_device"], "cpu");
        assert_eq!(
            json("--kv-events-config")["endpoint"],
            "ipc:///run/x/events"
        );
        for variable in [
            ("TORCH_COMPILE_DISABLE", "1"),
            ("PYTHONHASHSEED", "0"),
            ("VLLM_NIXL_SIDE_CHANNEL_HOST", "10.0.0.1"),
            ("VLLM_NIXL_SIDE_CHANNEL_PORT", "5600"),
        ] {
            let (name, value) = variable;
            assert!(
                flags.variables.contains(&(name, value.to_owned())),
                "{name}"
            );
        }
    }
    let alone = LaunchOptions {
        connector: KvConnector::Null,
        ..options(WorkerRole::Decode)
    };
    let flags = Dialect::Vllm.flags(model, &alone, &sockets());
    assert_eq!(flag(&flags, "--kv-transfer-config"), None);
    let tiered = LaunchOptions {
        offloading: Some(json!({"kv_connector": "OffloadingConnector"})),
        ..alone
    };
    let flags = Dialect::Vllm.flags(model, &tiered, &sockets());
    let connector = flag(&flags, "--kv-transfer-config");
    assert_eq!(connector, Some(r#"{"kv_connector":"OffloadingConnector"}"#));
}

#[test]
fn sglang_is_sent_tokens_and_a_place_to_meet() {
    let leg = Leg::Joined(Bootstrap {
        host: "10.0.0.1".to_owned(),
        port: 8998,
        room: 77,
        prefill: false,
    });
    let Call { path, body, rank } = call(Dialect::Sglang, &leg, true);
    assert_eq!((path, rank), ("/generate", None));
    let expected = json!({
        "rid": "r1", "input_ids": [5, 6, 7], "stream": true, "cache_salt": "tenant",
        "routed_dp_rank": 1, "bootstrap_host": "10.0.0.1", "bootstrap_port": 8998,
        "bootstrap_room": 77,
        "sampling_params": {"max_new_tokens": 9, "temperature": 0.5, "sampling_seed": 7,
            "stop_token_ids": [13], "json_schema": "{\"type\":\"object\"}"},
    });
    assert_eq!(body, expected);
}

#[test]
fn sglangs_lists_are_read_whether_they_grow_or_not() {
    let part = |ids: Value, total: usize, finish: Value| {
        json!({"output_ids": ids, "meta_info": {
            "completion_tokens": total, "cached_tokens": 4, "finish_reason": finish,
            "output_token_logprobs": [[-1.0, 8, null], [-2.0, 9, null]],
        }})
    };
    let read = |part: &Value, tokens| {
        Dialect::Sglang
            .read(part, &SoFar { tokens }, &told(Some(0)))
            .unwrap()
    };
    let grown = read(&part(json!([8, 9]), 2, Value::Null), 1);
    assert_eq!((grown.tokens, grown.log_probs), (vec![9], Some(vec![-2.0])));
    let fresh = read(
        &part(json!([9]), 2, json!({"type": "length", "length": 2})),
        1,
    );
    assert_eq!(
        (fresh.tokens, fresh.finish),
        (vec![9], Some(FinishReason::Length))
    );
    assert_eq!(fresh.cached, Some(4));
    let last = read(
        &part(json!([8, 9]), 2, json!({"type": "stop", "matched": 13})),
        2,
    );
    assert_eq!(
        (last.tokens, last.finish),
        (vec![], Some(FinishReason::Stop))
    );
    let abort = |status: Value| {
        let finish = json!({"type": "abort", "message": "x", "status_code": status});
        let part = part(json!([]), 0, finish);
        Dialect::Sglang
            .read(&part, &SoFar::default(), &told(None))
            .unwrap_err()
    };
    assert!(matches!(
        abort(json!(503)),
        Trouble::Refused(EngineError::Busy(_))
    ));
    assert!(matches!(
        abort(json!(400)),
        Trouble::Refused(EngineError::Invalid(_))
    ));
    assert!(matches!(abort(Value::Null), Trouble::Gone(_)));
}

#[test]
fn sglang_describes_itself() {
    let info = json!({
        "page_size": 16, "max_total_num_tokens": 1600, "dp_size": 1, "context_length": 2048,
        "disaggregation_mode": "prefill", "disaggregation_bootstrap_port": 8998,
        "kv_events_config": r#"{"publisher": "zmq", "endpoint": "tcp://*:5557"}"#,
    });
    let answers = [
        answer(r#"{"data": [{"id": "m"}]}"#),
        answer(&info.to_string()),
    ];
    let description = Dialect::Sglang.describe(&answers, "127.0.0.1");
    assert_eq!(description.total_blocks, Some(100));
    assert_eq!(description.context_length, Some(2048));
    assert_eq!(description.bootstrap_port, Some(8998));
    assert_eq!(description.sources.len(), 1);
}

#[test]
fn tensorrt_llm_is_told_the_phase() {
    let mut salted = request();
    assert!(
        Dialect::TrtLlm.check(&salted).is_err(),
        "tenants would share blocks"
    );
    salted.cache_salt = None;
    assert!(Dialect::TrtLlm.check(&salted).is_ok());
    let body = call(Dialect::TrtLlm, &Leg::Prefill, true).body;
    assert_eq!(
        body["disaggregated_params"],
        json!({"request_type": "context_only"})
    );
    assert_eq!(
        (&body["stream"], &body["max_tokens"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(body["response_format"]["type"], "json_schema");
    assert_eq!(body.get("cache_salt"), None, "unknown members are refused");
    let said = json!({"request_type": "context_only", "ctx_request_id": 5, "first_gen_tokens": [8],
        "encoded_opaque_state": "abc"});
    let part = json!({"choices": [{"index": 0, "text": "", "token_ids": [8], "finish_reason": "length",
        "disaggregated_params": said}]});
    let delta = Dialect::TrtLlm
        .read(&part, &SoFar::default(), &told(None))
        .unwrap();
    assert_eq!(delta.params, Some(Params::ContextParams(said.clone())));
    let body = call(Dialect::TrtLlm, &handoff(delta.params.unwrap()), true).body;
    let mut expected = said;
    expected["request_type"] = json!("generation_only");
    assert_eq!(body["disaggregated_params"], expected);
}

#[test]
fn other_servers_are_sent_what_all_understand() {
    let body = call(Dialect::OpenAi, &Leg::Whole, true).body;
    let known = [
        "model",
        "prompt",
        "max_tokens",
        "temperature",
        "seed",
        "stream",
        "stream_options",
    ];
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert!(
        members.iter().all(|name| known.contains(&name.as_str())),
        "{members:?}"
    );
    let part = json!({"choices": [{"index": 0, "text": "hello", "finish_reason": null}]});
    let delta = Dialect::OpenAi
        .read(&part, &SoFar::default(), &told(None))
        .unwrap();
    assert_eq!(
        (delta.tokens, delta.text.as_deref()),
        (vec![], Some("hello"))
    );
    let salted = request();
    assert!(Dialect::OpenAi.check(&salted).is_err());
}
