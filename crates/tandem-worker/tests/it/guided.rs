//! Answers have the form that was asked for, whatever the engine does to them.

use std::path::{Path, PathBuf};

use futures::StreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tandem_protocol::ErrorKind;
use tandem_protocol::engine::{EngineRequest, FinishReason};
use tandem_tokenizer::Tokenizer;
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine, Speculation};
use tandem_worker::engine::{Engine, EngineError};

use crate::disaggregation::{LONG, PrefillWorker};
use crate::support::{answer, answer_all, config, refusal};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tandem-nano-chat")
}

fn load(config: EmbeddedConfig) -> EmbeddedEngine {
    EmbeddedEngine::load(&directory(), config).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_dir(&directory()).unwrap()
}

/// A request for an answer of a form, sampled so that seeds give different ones.
fn request(form: &Value, seed: i64) -> EngineRequest {
    let prompt = "<|im_start|>user\nWhat is there?<|im_end|>\n<|im_start|>assistant\n";
    let mut request = EngineRequest {
        token_ids: tokenizer().encode(prompt, false).unwrap(),
        ..EngineRequest::default()
    };
    request.stop_conditions.max_tokens = Some(200);
    request.sampling_options.temperature = Some(1.2);
    request.sampling_options.seed = Some(seed);
    request.sampling_options.guided_decoding = Some(form.clone());
    request
}

async fn text(engine: &EmbeddedEngine, request: EngineRequest) -> (String, FinishReason) {
    let found = answer(engine.submit(request)).await;
    (
        tokenizer().decode(&found.tokens, true).unwrap(),
        found.reason,
    )
}

/// Whether `value` is what `schema`, made by [`schemas`], describes.
fn fits(value: &Value, schema: &Value) -> bool {
    if let Some(options) = schema["enum"].as_array() {
        return options.contains(value);
    }
    match schema["type"].as_str().unwrap() {
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => {
            let items = value.as_array();
            items.is_some_and(|items| {
                items.len() <= 3 && items.iter().all(|item| fits(item, &schema["items"]))
            })
        }
        _ => {
            let (Some(members), Some(parts)) =
                (value.as_object(), schema["properties"].as_object())
            else {
                return false;
            };
            let fit = |(name, part)| members.get(name).is_some_and(|value| fits(value, part));
            members.len() == parts.len() && parts.iter().all(fit)
        }
    }
}

fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "integer", "minimum": -99, "maximum": 999})),
        Just(json!({"type": "boolean"})),
        Just(json!({"type": "null"})),
        Just(json!({"enum": ["red", "a \"quoted\" word", 7, "é\n"]})),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let items = inner.clone();
        let array = items.prop_map(|items| json!({"type": "array", "items": items, "maxItems": 3}));
        let object = proptest::collection::btree_map("[a-z]{1,6}", inner, 1..3);
        let object = object.prop_map(|parts| {
            let names: Vec<_> = parts.keys().cloned().collect();
            json!({"type": "object", "properties": parts, "required": names,
                   "additionalProperties": false})
        });
        prop_oneof![array, object]
    })
}

#[test]
fn any_schema_gives_values_that_fit_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = load(config());
    let settings = ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(settings, |(schema in schemas(), seed: i64)| {
        let (text, reason) = runtime.block_on(text(&engine, request(&json!({"json": schema}), seed)));
        prop_assert_eq!(reason, FinishReason::Eos, "{}", &text);
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert!(fits(&value, &schema), "{} for {}", text, schema);
    });
}

#[tokio::test]
async fn choices_patterns_and_grammars() {
    let engine = load(config());
    let mut seen = Vec::new();
    for seed in 0..12 {
        let form = json!({"choice": ["yes", "no", "\"maybe\" | later"]});
        let (text, reason) = text(&engine, request(&form, seed)).await;
        assert_eq!(reason, FinishReason::Eos);
        assert!(
            ["yes", "no", "\"maybe\" | later"].contains(&&*text),
            "{text}"
        );
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    assert!(seen.len() > 1, "{seen:?}");
    let form = json!({"regex": "[a-c]{3}-(19|20)[0-9]{2}"});
    let (found, _) = text(&engine, request(&form, 3)).await;
    let (letters, year) = found.split_once('-').unwrap();
    assert!(
        letters.len() == 3 && letters.chars().all(|c| "abc".contains(c)),
        "{found}"
    );
    assert!((1900..2100).contains(&year.parse().unwrap()), "{found}");
    let form = json!({"grammar": "start: sum\nsum: NUMBER (\" + \" NUMBER)~2\nNUMBER: /[1-9]/"});
    let (found, _) = text(&engine, request(&form, 4)).await;
    assert_eq!(
        found
            .split(" + ")
            .filter(|n| n.parse::<u8>().is_ok())
            .count(),
        3,
        "{found}"
    );
}

#[tokio::test]
async fn schemas_may_refer_to_their_parts() {
    let engine = load(config());
    let schema = json!({
        "$defs": {"Point": {"type": "object", "required": ["x"], "additionalProperties": false,
                            "properties": {"x": {"type": "integer", "maximum": 9}}}},
        "type": "object", "required": ["from"], "additionalProperties": false,
        "properties": {"from": {"$ref": "#/$defs/Point"}},
    });
    let (text, _) = text(&engine, request(&json!({"json": schema}), 1)).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value["from"]["x"].is_i64(), "{text}");
}

#[tokio::test]
async fn nothing_that_the_engine_does_changes_an_answer() {
    let form = json!({"json": {"type": "array", "items": {"type": "integer"}, "minItems": 12}});
    let mut requests: Vec<_> = (0..4).map(|seed| request(&form, seed)).collect();
    for request in &mut requests {
        request.stop_conditions.max_tokens = Some(60);
        request.output_options.logprobs = Some(1);
    }
    let mut free = requests[0].clone();
    free.sampling_options.guided_decoding = None;
    requests.push(free);
    let plain = load(EmbeddedConfig {
        prefix_reuse: false,
        ..config()
    });
    let mut expect = Vec::new();
    for request in &requests {
        expect.push(answer(plain.submit(request.clone())).await);
    }
    let small = load(EmbeddedConfig {
        kv_blocks: Some(12),
        ..config()
    });
    assert_eq!(answer_all(&small, &requests).await, expect);
    assert!(small.load().counters.preemptions > 0);

    let guessing = load(EmbeddedConfig {
        speculation: Some(Speculation {
            num_speculative_tokens: 4,
            prompt_lookup_max: 2,
            prompt_lookup_min: 1,
        }),
        ..config()
    });
    assert_eq!(answer_all(&guessing, &requests).await, expect);
    assert!(guessing.load().counters.accepted_draft_tokens > 0);

    let prefill = PrefillWorker::with(load, LONG).await;
    let decode = load(config());
    for (request, expect) in requests.iter().zip(&expect) {
        let second_leg = prefill.prefill(request).await;
        assert_eq!(&answer(decode.submit(second_leg)).await, expect);
    }
    assert_eq!(decode.load().counters.remote_prefills, 5);
}

#[tokio::test]
async fn another_worker_goes_on_within_the_form() {
    let engine = load(config());
    let form = json!({"json": {"type": "array", "items": {"type": "integer"}, "minItems": 3}});
    let mut request = request(&form, 5);
    request.sampling_options.temperature = Some(0.0);
    let whole = answer(engine.submit(request.clone())).await;
    let said = 4;
    request.token_ids.extend(&whole.tokens[..said]);
    request.generated_tokens = Some(4);
    request.stop_conditions.max_tokens = Some(196);
    let rest = answer(engine.submit(request.clone())).await;
    assert_eq!(rest.tokens, whole.tokens[said..]);
    // What does not follow the grammar is no beginning of an answer.
    *request.token_ids.last_mut().unwrap() = tokenizer().encode("x", false).unwrap()[0];
    let refused = refusal(engine.submit(request)).await;
    assert!(matches!(refused, EngineError::Failed(_)), "{refused}");
}

#[tokio::test]
async fn limits_and_minimums_are_kept() {
    let engine = load(config());
    let mut long = request(&json!({"regex": "[a-z ]+"}), 1);
    long.stop_conditions.max_tokens = Some(7);
    let found = answer(engine.submit(long)).await;
    assert!(found.tokens.len() <= 7);
    // The form wins over a minimum that it cannot have.
    let mut short = request(&json!({"choice": ["yes"]}), 1);
    short.stop_conditions.min_tokens = Some(50);
    assert_eq!(
        text(&engine, short).await,
        ("yes".to_owned(), FinishReason::Eos)
    );
}

#[tokio::test]
async fn what_is_no_form_is_refused_before_anything_is_computed() {
    let engine = load(config());
    for form in [
        json!({"json": {"type": "strin"}}),
        json!({"json": "{"}),
        json!({"json": {"$ref": "#/$defs/missing"}}),
        json!({"json": false}),
        json!({"regex": "a("}),
        json!({"regex": 1}),
        json!({"choice": "yes"}),
        json!({"choice": ["a", 1]}),
        json!({"grammar": "start: missing"}),
        json!({"grammar": "root ::= \"a\""}),
        json!({}),
    ] {
        let refused = refusal(engine.submit(request(&form, 1))).await;
        assert_eq!(
            refused.kind(),
            ErrorKind::InvalidRequest,
            "{form}: {refused}"
        );
    }
    assert_eq!(engine.load().counters.requests, 0);
    // The engine is as good as before.
    let form = json!({"choice": ["yes"]});
    assert_eq!(text(&engine, request(&form, 1)).await.0, "yes");
    // And one without a tokenizer says so.
    let bare = crate::support::engine(config());
    let mut outputs = bare.submit(request(&form, 1));
    assert!(outputs.next().await.unwrap().is_err());
}
