//! A request body is what it was, apart from what the router changes.

#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tandem_protocol::openai::body::JsonObject;
use tandem_protocol::openai::json::Json;
use tandem_semantic_router::testing::FixedClassifier;
use tandem_semantic_router::{Endpoint, RouteRequest, Router, RouterConfig, Routing};
use tokio::runtime::{Builder, Runtime};

/// A decision that matches every text and edits in every way.
const CONFIG: &str = "
model_config: {m: {reasoning_family: qwen3}}
reasoning_families: {qwen3: {type: chat_template_kwargs, parameter: enable_thinking}}
categories: [{name: other}]
decisions:
  - name: any
    rules: {operator: OR, conditions: [{type: domain, name: other}]}
    modelRefs: [{model: m, use_reasoning: true}]
    plugins:
      - type: system_prompt
        configuration: {system_prompt: P, mode: insert}
      - type: request_params
        configuration: {blocked_params: [logprobs], max_tokens_limit: 100, max_n: 2}
";

/// Members that the decision may change; `messages` is looked at apart.
const EDITED: [&str; 8] = [
    "model",
    "messages",
    "chat_template_kwargs",
    "reasoning_effort",
    "logprobs",
    "max_tokens",
    "max_completion_tokens",
    "n",
];

static ROUTER: LazyLock<(Runtime, Router)> = LazyLock::new(|| {
    let config = RouterConfig::parse(CONFIG, &|_| None).expect("the configuration is right");
    let classifier = Arc::new(FixedClassifier::default());
    let runtime = Builder::new_current_thread().enable_time().build();
    (
        runtime.expect("a thread can have a runtime"),
        Router::new(config.config, classifier),
    )
});

fuzz_target!(|body: &[u8]| {
    let parsed = JsonObject::parse(body);
    let value: Result<Json, _> = serde_json::from_slice(body);
    if let Ok(Json(value)) = &value {
        assert_eq!(parsed.is_ok(), value.is_object());
    }
    if let Ok(object) = &parsed {
        edit(object, value.ok());
    }
    for endpoint in [Endpoint::Chat, Endpoint::Completion] {
        route(body, endpoint);
    }
});

/// Members in order, with their text.
fn members(object: &JsonObject) -> Vec<(String, String)> {
    let bytes = object.to_bytes();
    let text = std::str::from_utf8(&bytes).expect("JSON is text");
    let again = JsonObject::parse(text.as_bytes()).expect("what is written can be read");
    assert_eq!(again.to_bytes(), bytes);
    assert_eq!(again.names().count(), object.names().count());
    let member = |name: &str| {
        (
            name.to_owned(),
            again.raw(name).map_or("", RawValue::get).to_owned(),
        )
    };
    again.names().map(member).collect()
}

fn edit(object: &JsonObject, value: Option<Json>) {
    let before = members(object);
    for (name, raw) in &before {
        assert_eq!(object.raw(name).map(RawValue::get), Some(raw.as_str()));
    }
    let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
    for name in names.into_iter().take(3).chain(["new"]) {
        let mut edited = object.clone();
        edited.set(name, &[1.5]);
        assert_eq!(edited.raw(name).map(RawValue::get), Some("[1.5]"));
        let rest = |all: Vec<(String, String)>| -> Vec<(String, String)> {
            all.into_iter().filter(|(other, _)| other != name).collect()
        };
        assert_eq!(rest(members(&edited)), rest(before.clone()));
        edited.remove(name);
        assert_eq!(members(&edited), rest(before.clone()));
        if let Some(Json(serde_json::Value::Object(mut map))) = value.clone() {
            map.shift_remove(name);
            let Json(left) = serde_json::from_slice(&edited.to_bytes()).expect("still JSON");
            assert_eq!(left, serde_json::Value::Object(map));
        }
    }
}

fn route(body: &[u8], endpoint: Endpoint) {
    let (runtime, router) = &*ROUTER;
    let bytes = Bytes::copy_from_slice(body);
    let request = RouteRequest {
        endpoint,
        body: &bytes,
        request_id: "r",
    };
    let Routing::Forward(forward) = runtime.block_on(router.route(request)).routing else {
        return;
    };
    if !forward.body_changed {
        assert_eq!(&forward.body[..], body);
        return;
    }
    let before = JsonObject::parse(body).expect("what is forwarded was understood");
    let after = JsonObject::parse(&forward.body).expect("what is forwarded is JSON");
    let kept = |object| -> Vec<(String, String)> {
        let all = members(object).into_iter();
        all.filter(|(name, _)| !EDITED.contains(&name.as_str()))
            .collect()
    };
    assert_eq!(kept(&before), kept(&after));
    if endpoint == Endpoint::Chat {
        let messages = |object: &JsonObject| -> Vec<String> {
            let messages: Option<Vec<Box<RawValue>>> = object.get("messages").expect("a list");
            let messages = messages.unwrap_or_default();
            messages
                .iter()
                .map(|message| message.get().to_owned())
                .collect()
        };
        let (before, after) = (messages(&before), messages(&after));
        let same = before.len().saturating_sub(1);
        assert!(
            after.ends_with(&before)
                || after[after.len() - same..] == before[before.len() - same..]
        );
    }
}
