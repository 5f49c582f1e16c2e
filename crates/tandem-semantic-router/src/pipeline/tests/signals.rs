//! Signals, from the request to the decision.

use std::fmt::Write as _;

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::*;
use crate::signal::{CallError, ChatCall};

/// A layered file whose decisions are `NAME: condition`; the first that matches wins.
fn config(signals: &str, decisions: &[(&str, &str)]) -> RouterConfig {
    let mut file = format!(
        "
version: v0.3
providers: {{defaults: {{default_model: none}}, models: [{{name: none}}]}}
routing:
  signals: {{{signals}}}
  decisions:
"
    );
    for (i, (name, condition)) in decisions.iter().enumerate() {
        let priority = decisions.len() - i;
        writeln!(
            file,
            "    - {{name: {name}, priority: {priority}, modelRefs: [{{model: none}}], rules: \
             {{operator: AND, conditions: [{condition}]}}}}"
        )
        .unwrap();
    }
    let loaded = RouterConfig::parse(&file, &|_| None);
    loaded
        .unwrap_or_else(|error| panic!("{error}\n{file}"))
        .config
}

async fn decide_for(router: &Router, body: &str, client: &Client) -> Routed {
    let body = Bytes::from(body.to_owned());
    let request = RouteRequest {
        endpoint: Endpoint::Chat,
        body: &body,
        request_id: "r-1",
    };
    router.route_for(request, client).await
}

fn user(text: &str) -> String {
    serde_json::json!({ "model": "MoM", "messages": [{ "role": "user", "content": text }] })
        .to_string()
}

#[track_caller]
fn header<'a>(routed: &'a Routed, name: &str) -> Option<&'a str> {
    let Routing::Forward(forward) = &routed.routing else {
        panic!("{:?}", routed.routing);
    };
    let mut headers = forward.response_headers.iter();
    let found = headers.find(|(key, _)| *key == name);
    found.map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn each_family_decides_and_says_so_in_its_header() {
    let signals = "
    embeddings: [{name: support, threshold: 0.8, candidates: [help me]}],
    language: [{name: es}],
    context: [{name: long, min_tokens: 1K}],
    structure: [{name: listy, feature: {type: exists, source: {type: regex, pattern: '1[.] '}}}],
    conversation: [{name: tooled, feature: {type: exists, source: {type: tool_definition}}}],
    keywords: [{name: fuzzy, method: fuzzy, keywords: [password]}]";
    let decisions = [
        ("support", "{type: embedding, name: support}"),
        ("spanish", "{type: language, name: es}"),
        ("long", "{type: context, name: long}"),
        ("listy", "{type: structure, name: listy}"),
        ("tooled", "{type: conversation, name: tooled}"),
        ("fuzzy", "{type: keyword, name: fuzzy}"),
    ];
    let classifier = FixedClassifier::default().embedding("help", [1.0, 0.0]);
    let router = Router::new(config(signals, &decisions), Arc::new(classifier));
    let check = async |body: &str, decision: &str, (name, value): (&str, &str)| {
        let routed = decide_for(&router, body, &Client::default()).await;
        let got = routed.explanation.decision.as_deref();
        assert_eq!(got, Some(decision), "{body}");
        assert_eq!(header(&routed, name), Some(value), "{body}");
    };
    let help = user("please help");
    check(&help, "support", ("x-vsr-matched-embeddings", "support")).await;
    let spanish = user("¿Cuál es la mejor manera de aprender a tocar la guitarra en casa?");
    check(&spanish, "spanish", ("x-vsr-matched-language", "es")).await;
    let long = user(&"word ".repeat(1000));
    check(&long, "long", ("x-vsr-matched-context", "long")).await;
    check(&long, "long", ("x-vsr-context-token-count", "1250")).await;
    check(
        &user("1. this"),
        "listy",
        ("x-vsr-matched-structure", "listy"),
    )
    .await;
    check(
        &user("my pasword"),
        "fuzzy",
        ("x-vsr-matched-keywords", "fuzzy"),
    )
    .await;
    let tooled = r#"{"model":"MoM","messages":[{"role":"user","content":"x"}],"tools":[{}]}"#;
    check(tooled, "tooled", ("x-vsr-matched-conversation", "tooled")).await;
    let nothing = decide_for(&router, &user("nothing"), &Client::default()).await;
    assert_eq!(nothing.explanation.decision, None);
}

#[tokio::test]
async fn long_requests_are_read_on_other_threads_with_the_same_result() {
    let signals = "keywords: [{name: end, keywords: [finally]}]";
    let config = config(signals, &[("end", "{type: keyword, name: end}")]);
    let router = Router::new(config, Arc::new(FixedClassifier::default()));
    let text = format!("{} finally", "word ".repeat(20_000));
    let routed = decide_for(&router, &user(&text), &Client::default()).await;
    assert_eq!(routed.explanation.decision.as_deref(), Some("end"));
}

#[tokio::test]
async fn roles_come_from_the_client() {
    let signals =
        "role_bindings: [{name: staff, role: admin, subjects: [{kind: Group, name: ops}]}]";
    let by_name = ("by_name", "{type: authz, name: staff}");
    let by_role = ("by_role", "{type: authz, name: admin}");
    for decision in [by_name, by_role] {
        let config = config(signals, &[decision]);
        let router = Router::new(config, Arc::new(FixedClassifier::default()));
        let client = Client {
            groups: vec!["ops".into()],
            ..Client::default()
        };
        let routed = decide_for(&router, &user("x"), &client).await;
        assert_eq!(routed.explanation.decision.as_deref(), Some(decision.0));
        assert_eq!(header(&routed, "x-vsr-matched-authz"), Some("staff"));
        let routed = decide_for(&router, &user("x"), &Client::default()).await;
        assert_eq!(routed.explanation.decision, None);
    }
}

#[tokio::test]
async fn a_complexity_rule_needs_its_composer() {
    let signals = "
    keywords: [{name: code, keywords: [code]}],
    complexity: [{name: level, threshold: 0.1, hard: {candidates: [hard]}, easy: {candidates: [easy]},
      composer: {operator: OR, conditions: [{type: keyword, name: code}]}}]";
    let decisions = [
        ("hard", "{type: complexity, name: 'level:hard'}"),
        ("easy", "{type: complexity, name: 'level:easy'}"),
    ];
    let classifier = FixedClassifier::default()
        .embedding("hard", [1.0, 0.0])
        .embedding("easy", [0.0, 1.0]);
    let router = Router::new(config(signals, &decisions), Arc::new(classifier));
    let check = async |text: &str, want: Option<&str>| {
        let routed = decide_for(&router, &user(text), &Client::default()).await;
        assert_eq!(routed.explanation.decision.as_deref(), want, "{text}");
    };
    check("hard code", Some("hard")).await;
    check("easy code", Some("easy")).await;
    check("other code", None).await;
    check("hard", None).await;
}

#[tokio::test]
async fn only_what_decisions_need_is_asked() {
    let signals = "
    embeddings: [{name: unused, candidates: [help me]}],
    language: [{name: es}],
    domains: [{name: math}]";
    let config = config(signals, &[("spanish", "{type: language, name: es}")]);
    let classifier = Arc::new(FixedClassifier::default());
    let router = Router::new(config, Arc::clone(&classifier) as _);
    let routed = decide_for(&router, &user("hello there"), &Client::default()).await;
    assert_eq!(classifier.calls(), 0);
    let readings = routed.explanation.signals.iter();
    let families: Vec<_> = readings.map(|one| one.family).collect();
    assert_eq!(families, ["language"]);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_cannot_be_had_means_what_its_rule_says() {
    let check = async |on_error: &str, want: Option<&str>| {
        let signals = "embeddings: [{name: e, candidates: [help]}]";
        let condition = format!("{{type: embedding, name: e{on_error}}}");
        let config = config(signals, &[("matched", &condition)]);
        let router = Router::new(config, Arc::new(FixedClassifier::default().silent()));
        let before = tokio::time::Instant::now();
        let routed = decide_for(&router, &user("x"), &Client::default()).await;
        assert_eq!(before.elapsed(), Duration::from_secs(2));
        assert_eq!(routed.explanation.decision.as_deref(), want, "{on_error}");
        assert_eq!(routed.explanation.unavailable, ["embedding"]);
    };
    check("", None).await;
    check(", on_error: allow", None).await;
    check(", on_error: block", Some("matched")).await;
}

/// A language model with a fixed answer.
struct Judge {
    answer: Option<&'static str>,
    calls: Mutex<Vec<ChatCall>>,
}

impl LanguageModels for Judge {
    fn chat(&self, call: ChatCall) -> BoxFuture<'_, Result<Bytes, CallError>> {
        self.calls.lock().push(call);
        let Some(answer) = self.answer else {
            return Box::pin(std::future::pending());
        };
        let answer = serde_json::json!({ "choices": [{ "message": { "content": answer } }] });
        Box::pin(std::future::ready(Ok(answer.to_string().into())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_language_model_is_asked_once_for_all_preferences() {
    let loaded = RouterConfig::parse(
        "
default_model: m
model_config: {m: {}}
preference_rules: [{name: code, description: programs}, {name: prose, description: texts}]
external_models:
  - {llm_provider: vllm, model_role: preference, llm_endpoint: {address: judge, port: 80},
     llm_model_name: j, llm_timeout_seconds: 1, access_key: sk-1}
decisions:
  - {name: code, priority: 2, rules: {operator: OR, conditions: [{type: preference, name: code}]}, modelRefs: [{model: m}]}
  - {name: prose, rules: {operator: OR, conditions: [{type: preference, name: prose}]}, modelRefs: [{model: m}]}
",
        &|_| None,
    );
    let config = loaded.unwrap().config;
    let check = async |answer: Option<&'static str>, want: Option<&str>| {
        let judge = Arc::new(Judge {
            answer,
            calls: Mutex::default(),
        });
        let parts = Parts {
            classifier: Arc::new(FixedClassifier::default()),
            language_models: Some(Arc::clone(&judge) as _),
            statistics: Arc::default(),
            cache: Arc::default(),
        };
        let router = Router::with_parts(config.clone(), parts);
        let before = tokio::time::Instant::now();
        let routed = decide_for(&router, &user("write a loop"), &Client::default()).await;
        assert_eq!(routed.explanation.decision.as_deref(), want, "{answer:?}");
        let calls = judge.calls.lock();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].authority, "judge:80");
        assert!(!format!("{:?}", calls[0]).contains("sk-1"));
        if answer.is_none() {
            assert_eq!(before.elapsed(), Duration::from_secs(1), "its own deadline");
            assert_eq!(routed.explanation.unavailable, ["preference"]);
        }
    };
    check(Some(r#"{"route": "prose"}"#), Some("prose")).await;
    check(Some(r#"{"route": "other"}"#), None).await;
    check(Some(r#"{"route": "unheard of"}"#), None).await;
    check(None, None).await;
}
