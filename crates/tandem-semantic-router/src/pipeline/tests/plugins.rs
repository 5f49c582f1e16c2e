//! Plugins, from the file to the request that is sent on.

use super::*;

const TOOLS: &str = r#"[
    {"tool": {"type": "function", "function": {"name": "weather", "x": 1.0}}, "description": "weather forecasts", "tags": []},
    {"tool": {"type": "function", "function": {"name": "stocks"}}, "description": "stock prices"},
    {"tool": {"type": "function", "function": {"name": "climate"}}, "description": "climate and weather history"}
]"#;

fn router_of(file: &str) -> Router {
    let loaded = RouterConfig::parse(file, &|_| None);
    let mut config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
    config.load_tools(&|_| Ok(TOOLS.into())).unwrap();
    let classifier = FixedClassifier::default()
        .domain("2+2", "math", 0.9)
        .pii("123-45-6789", "US_SSN", 0.99)
        .pii("Ada", "PERSON", 0.99)
        .embedding("climate", [0.8, 0.6])
        .embedding("weather", [1.0, 0.0])
        .embedding("stock", [0.0, 1.0]);
    Router::new(config, Arc::new(classifier))
}

async fn route_with(router: &Router, body: &str) -> Routed {
    let body = Bytes::from(body.to_owned());
    let request = RouteRequest {
        endpoint: Endpoint::Chat,
        body: &body,
        request_id: "r-1",
    };
    router.route(request).await
}

async fn sent(router: &Router, body: &str) -> String {
    let forward = forward(route_with(router, body).await);
    String::from_utf8(forward.body.to_vec()).unwrap()
}

const REDACT: &str = "
default_model: m
model_config: {m: {}}
tandem: {security: {pii: {action: redact, pii_types_denied: [US_SSN]}}}
";

#[tokio::test]
async fn personal_data_is_taken_out_of_every_turn_of_every_model() {
    let router = router_of(REDACT);
    for model in ["MoM", "m", "elsewhere"] {
        let body = format!(
            r#"{{"model":"{model}","messages":[{{"role":"system","content":"Ada"}},{{"role":"tool","content":"it is 123-45-6789"}},{{"role":"user","content":"hello"}}]}}"#
        );
        let routed = route_with(&router, &body).await;
        assert_eq!(routed.explanation.redacted, ["B-US_SSN"]);
        let forward = forward(routed);
        assert!(forward.body_changed);
        let sent = String::from_utf8(forward.body.to_vec()).unwrap();
        assert!(
            sent.contains("it is [US_SSN]") && sent.contains("Ada"),
            "{sent}"
        );
        let redacted = ("x-vsr-pii-redacted", "B-US_SSN".to_owned());
        assert!(forward.response_headers.contains(&redacted));
    }
    let clean = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
    assert!(!forward(route_with(&router, clean).await).body_changed);
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_not_redacted_but_refused() {
    let file = REDACT.replace("action: redact", "action: redact, on_error: block");
    let config = RouterConfig::parse(&file, &|_| None).unwrap().config;
    let router = Router::new(config, Arc::new(FixedClassifier::default().broken()));
    let body = r#"{"model":"m","messages":[{"role":"user","content":"my SSN is 123-45-6789"}]}"#;
    let routed = route_with(&router, body).await;
    assert!(
        matches!(routed.routing, Routing::Respond(_)),
        "{:?}",
        routed.routing
    );
}

const SELECT: &str = "
default_model: m
model_config: {m: {}}
tools: {enabled: true, top_k: 2, similarity_threshold: 0.5, tools_db_path: t.json, fallback_to_empty: true}
";

#[tokio::test]
async fn the_best_tools_of_the_database_take_the_place_of_the_requests_own() {
    let router = router_of(SELECT);
    let ask = |text: &str, choice: &str| {
        format!(
            r#"{{"model":"MoM","messages":[{{"role":"user","content":"{text}"}}],"tools":[{{"own":1}}]{choice}}}"#
        )
    };
    let auto = r#","tool_choice":"auto""#;
    let got = sent(&router, &ask("the weather?", auto)).await;
    let tools = r#""tools":[{"type": "function", "function": {"name": "weather", "x": 1.0}},{"type": "function", "function": {"name": "climate"}}],"tool_choice":"auto""#;
    assert!(got.contains(tools), "{got}");
    let got = sent(&router, &ask("something else", auto)).await;
    assert!(!got.contains("tool"), "no fitting tool: {got}");
    let others = [
        "",
        r#","tool_choice":"none""#,
        r#","tool_choice":{"type":"function"}"#,
    ];
    for choice in others {
        let got = sent(&router, &ask("the weather?", choice)).await;
        assert!(got.contains(r#""tools":[{"own":1}]"#), "{got}");
    }
    let named = ask("the weather?", auto).replace("MoM", "m");
    let got = sent(&router, &named).await;
    assert_eq!(got, named, "a named model keeps its body");
}

#[tokio::test]
async fn a_decision_may_keep_the_tools_that_are_about_the_question() {
    let router = router_of(
        "
default_model: m
model_config: {m: {}}
keyword_rules: [{name: any, operator: NOR, keywords: [xyzzy]}]
decisions:
  - name: d
    rules: {operator: OR, conditions: [{type: keyword, name: any}]}
    modelRefs: [{model: m}]
    plugins:
      - {type: tool_selection, configuration: {mode: filter, relevance_threshold: 0.7, preserve_count: 0}}
      - {type: request_params, configuration: {blocked_params: [seed]}}
",
    );
    let body = r#"{"model":"MoM","seed":1,"messages":[{"role":"user","content":"weather"}],"tools":[{"function":{"name":"stocks","description":"stock"}},{"function":{"name":"w","description":"weather"}}]}"#;
    let got = sent(&router, body).await;
    assert_eq!(
        got,
        r#"{"model":"m","messages":[{"role":"user","content":"weather"}],"tools":[{"function":{"name":"w","description":"weather"}}]}"#
    );
}

#[tokio::test]
async fn tool_selection_keeps_reasoning_and_system_prompt() {
    let router = router_of(
        "
default_model: m
model_config: {m: {reasoning_family: q}}
reasoning_families: {q: {type: chat_template_kwargs, parameter: think}}
tools: {enabled: true, tools_db_path: t.json}
categories: [{name: math}]
decisions:
  - name: d
    rules: {operator: OR, conditions: [{type: domain, name: math}]}
    modelRefs: [{model: m, use_reasoning: true}]
    plugins: [{type: system_prompt, configuration: {system_prompt: Be exact.}}]
",
    );
    let body = r#"{"model":"MoM","messages":[{"role":"user","content":"2+2 weather"}],"tools":[],"tool_choice":"auto"}"#;
    let routed = route_with(&router, body).await;
    assert_eq!(
        routed.explanation.plugins,
        ["tool_selection", "system_prompt"]
    );
    let got = String::from_utf8(forward(routed).body.to_vec()).unwrap();
    for part in ["Be exact.", r#""think":true"#, r#""name": "weather""#] {
        assert!(got.contains(part), "{part}: {got}");
    }
}

#[test]
fn a_broken_tool_database_names_its_file() {
    let mut config = RouterConfig::parse(SELECT, &|_| None).unwrap().config;
    let error = config.load_tools(&|_| Ok(b"{}".to_vec())).unwrap_err();
    assert!(error.to_string().contains("t.json"), "{error}");
    let error = config.load_tools(&|_| Err(std::io::ErrorKind::NotFound.into()));
    assert!(error.is_err());
    assert!(config.tools.unwrap().tools.is_empty());
}
