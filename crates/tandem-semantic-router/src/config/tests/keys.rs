//! What every key of the flat layout that has an effect does: unset, and set.

use crate::config::*;

const BASE: &str = "
model_config: {m: {}, n: {}}
vllm_endpoints: [{name: e, address: 10.0.0.1, port: 80}, {name: f, address: 10.0.0.2, port: 81, weight: 3}]
reasoning_families: {q: {type: chat_template_kwargs, parameter: t}}
";

fn load(text: &str) -> RouterConfig {
    let loaded = RouterConfig::parse(text, &|_| None);
    loaded
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
        .config
}

/// What `probe` sees without and with the lines of `set`; a line takes the place of a base line
/// with the same key.
#[track_caller]
fn check(set: &str, probe: impl Fn(&RouterConfig) -> String, unset: &str, want: &str) {
    let keys: Vec<&str> = set
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|pair| pair.0)
        .collect();
    let base = BASE.lines().filter(|line| {
        line.split_once(':')
            .is_none_or(|(key, _)| !keys.contains(&key))
    });
    let base: String = base.flat_map(|line| [line, "\n"]).collect();
    assert_eq!(probe(&load(BASE)), unset, "unset: {set}");
    assert_eq!(probe(&load(&format!("{base}{set}\n"))), want, "set: {set}");
}

fn debug(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

/// The test of the only signal rule.
fn test(config: &RouterConfig) -> String {
    config
        .signals
        .first()
        .map_or("none".to_owned(), |rule| debug(&rule.test))
}

/// The only decision.
fn decision(config: &RouterConfig, probe: impl Fn(&Decision) -> String) -> String {
    config.decisions.first().map_or("none".to_owned(), probe)
}

#[test]
fn router_keys() {
    check(
        "auto_model_name: pick",
        |c| debug(&c.auto_models),
        r#"["MoM"]"#,
        r#"["pick"]"#,
    );
    check(
        "include_config_models_in_list: true",
        |c| debug(&c.list_models),
        "false",
        "true",
    );
    check(
        "clear_route_cache: true",
        |c| debug(&c.clear_route_cache),
        "false",
        "true",
    );
    check(
        "strategy: confidence",
        |c| debug(&c.strategy),
        "Priority",
        "Confidence",
    );
    check(
        "default_model: n",
        |c| debug(&c.default_model),
        "None",
        r#"Some("n")"#,
    );
}

#[test]
fn model_keys() {
    let model = |probe: fn(&ModelConfig) -> String| move |c: &RouterConfig| probe(&c.models[0]);
    check(
        "model_config: {m: {preferred_endpoints: [e, f]}}",
        model(|m| debug(&m.endpoint)),
        "None",
        r#"Some("10.0.0.2:81")"#,
    );
    check(
        "vllm_endpoints: [{name: e, address: '::1', port: 9}]\nmodel_config: {m: {preferred_endpoints: [e]}}",
        model(|m| debug(&m.endpoint)),
        "None",
        r#"Some("[::1]:9")"#,
    );
    check(
        "model_config: {m: {pricing: {currency: EUR, prompt_per_1m: 2, completion_per_1m: 4}}}",
        model(|m| {
            m.pricing.as_ref().map_or("none".into(), |p| {
                format!("{} {}", p.currency, p.blended_per_1m())
            })
        }),
        "none",
        "EUR 3",
    );
    check(
        "model_config: {m: {reasoning_family: q}}",
        model(|m| {
            debug(
                &m.reasoning
                    .as_ref()
                    .map(|family| (&family.switch, &family.default_effort)),
            )
        }),
        "None",
        r#"Some((TemplateKwarg("t"), "medium"))"#,
    );
    check(
        "model_config: {m: {reasoning_family: q}}\ndefault_reasoning_effort: high",
        model(|m| debug(&m.reasoning.as_ref().map(|family| &family.default_effort))),
        "None",
        r#"Some("high")"#,
    );
    check(
        "model_config: {m: {reasoning_family: g}}\nreasoning_families: {g: {type: reasoning_effort, parameter: reasoning_effort}}",
        model(|m| debug(&m.reasoning.as_ref().map(|family| &family.switch))),
        "None",
        r#"Some(Effort("reasoning_effort"))"#,
    );
    check(
        "model_config: {m: {loras: [{name: l, description: d}]}}",
        model(|m| debug(&m.loras)),
        "[]",
        r#"["l"]"#,
    );
    check(
        "model_config: {m: {access_key: k}}",
        model(|m| {
            m.credential
                .as_ref()
                .map_or("none".into(), |c| format!("{}: {}", c.header, c.value))
        }),
        "none",
        "authorization: Bearer k",
    );
}

/// Rules need no decision to be read.
#[test]
fn signal_keys() {
    check(
        "categories: [{name: science, description: d, mmlu_categories: [physics]}]",
        test,
        "none",
        r#"Domain(["physics", "science"])"#,
    );
    check(
        "keyword_rules: [{name: k, operator: AND, keywords: [a], case_sensitive: true}]",
        test,
        "none",
        r#"Keyword(KeywordTest { operator: And, keywords: ["a"], case_sensitive: true, method: Exact })"#,
    );
    check(
        "embedding_rules: [{name: e, threshold: 0.5, candidates: [a], aggregation_method: mean}]",
        test,
        "none",
        r#"Embedding(EmbeddingTest { candidates: ["a"], threshold: 0.5, aggregation: Mean })"#,
    );
    check(
        "fact_check_rules: [{name: no_fact_check_needed}]\nhallucination_mitigation: {fact_check_model: {threshold: 0.75}}",
        test,
        "none",
        "FactCheck(FactCheckTest { needed: false, threshold: 0.75 })",
    );
    check(
        "user_feedback_rules: [{name: wrong_answer}]\nfeedback_detector: {enabled: true, threshold: 0.25}",
        test,
        "none",
        "UserFeedback(FeedbackTest { feedback: WrongAnswer, threshold: 0.25 })",
    );
    check(
        "user_feedback_rules: [{name: wrong_answer}]\nfeedback_detector: {enabled: false}",
        test,
        "none",
        "none",
    );
    check(
        "preference_rules: [{name: p, description: d}]\nexternal_models: [{llm_provider: vllm, model_role: preference, llm_endpoint: {address: h, port: 1}, llm_model_name: j}]",
        test,
        "none",
        r#"Preference(PreferenceTest { description: "d", examples: [], threshold: 0.7 })"#,
    );
    check(
        "external_models: [{llm_provider: vllm, model_role: preference, llm_endpoint: {address: h, port: 1}, llm_model_name: j, llm_timeout_seconds: 5, access_key: k}]",
        |c| debug(&c.external_models),
        "[]",
        r#"[ExternalModel { authority: "h:1", model: "j", timeout: 5s, credential: Some(Credential(authorization: [redacted])) }]"#,
    );
}

#[test]
fn decision_keys() {
    let with = |keys: &str| format!("decisions: [{{name: d, modelRefs: [{{model: m}}], {keys}}}]");
    check(
        &with("priority: 7"),
        |c| decision(c, |d| debug(&d.priority)),
        "none",
        "7",
    );
    check(
        &with("tier: 2"),
        |c| decision(c, |d| debug(&d.tier)),
        "none",
        "2",
    );
    check(
        &with(
            "rules: {operator: AND, conditions: [{type: domain, name: law}, {type: domain, name: math}]}",
        ),
        |c| decision(c, |d| debug(&d.rule)),
        "none",
        "All([Signal(SignalRef(0)), Signal(SignalRef(1))])",
    );
    check(
        "decisions: [{name: d, modelRefs: [{model: n, use_reasoning: true, reasoning_description: r, reasoning_effort: low, weight: 0.5}]}]",
        |c| decision(c, |d| debug(&d.models)),
        "none",
        r#"[ModelRef { model: "n", lora: None, weight: 0.5, use_reasoning: true, effort: Some("low") }]"#,
    );
    check(
        "model_config: {m: {loras: [{name: l}]}}\ndecisions: [{name: d, modelRefs: [{model: m, lora_name: l}]}]",
        |c| decision(c, |d| d.models[0].served_name().to_owned()),
        "none",
        "l",
    );
    check(
        &with("algorithm: {type: latency_aware, latency_aware: {ttft_percentile: 90}}"),
        |c| decision(c, |d| debug(&d.selection)),
        "none",
        "LatencyAware(LatencyAware { ttft_percentile: Some(90), tpot_percentile: None })",
    );
    check(
        &with("algorithm: {type: static, load_aware: true}"),
        |c| decision(c, |d| debug(&d.load_aware)),
        "none",
        "Some(LoadAware { tolerance: 0.1 })",
    );
    check(
        &with("algorithm: {load_aware: true, load_tolerance: 0.25}"),
        |c| decision(c, |d| debug(&d.load_aware)),
        "none",
        "Some(LoadAware { tolerance: 0.25 })",
    );
    for without in ["{load_aware: false}", "{type: weighted, load_aware: true}"] {
        check(
            &with(&format!("algorithm: {without}")),
            |c| decision(c, |d| debug(&d.load_aware)),
            "none",
            "None",
        );
    }
}

#[test]
fn plugin_keys() {
    let check = |plugin: &str, probe: fn(&Plugins) -> String, want: &str| {
        let set =
            format!("decisions: [{{name: d, modelRefs: [{{model: m}}], plugins: [{plugin}]}}]");
        check(&set, |c| decision(c, |d| probe(&d.plugins)), "none", want);
    };
    check(
        "{type: jailbreak, configuration: {enabled: true, threshold: 0.5}}",
        |p| debug(&p.jailbreak),
        "On(JailbreakPolicy { threshold: 0.5, on_error: Allow })",
    );
    check(
        "{type: jailbreak, configuration: {enabled: false}}",
        |p| debug(&p.jailbreak),
        "Off",
    );
    check(
        "{type: pii, configuration: {enabled: true, threshold: 0.5, pii_types_allowed: [B-AGE]}}",
        |p| debug(&p.pii),
        r#"On(PiiPolicy { types: AllBut(["AGE"]), threshold: 0.5, action: Block, on_error: Allow, scan_response: false })"#,
    );
    check(
        "{type: pii, configuration: {action: redact}}",
        |p| debug(&p.pii),
        "On(PiiPolicy { types: AllBut([]), threshold: 0.7, action: Redact, on_error: Allow, scan_response: false })",
    );
    check(
        "{type: pii, configuration: {scan_response: true}}",
        |p| debug(&p.pii),
        "On(PiiPolicy { types: AllBut([]), threshold: 0.7, action: Block, on_error: Allow, scan_response: true })",
    );
    check(
        "{type: response_jailbreak, configuration: {threshold: 0.5, action: block, on_error: block}}",
        |p| debug(&p.response_jailbreak),
        "On(ResponseJailbreakPolicy { check: JailbreakPolicy { threshold: 0.5, on_error: Block }, action: Block })",
    );
    check(
        "{type: response_jailbreak, configuration: {enabled: false}}",
        |p| debug(&p.response_jailbreak),
        "Off",
    );
    check(
        "{type: system_prompt, configuration: {system_prompt: text, mode: insert}}",
        |p| debug(&p.system_prompt),
        r#"Some(SystemPrompt { text: "text", mode: Insert })"#,
    );
    check(
        "{type: system_prompt, configuration: {enabled: false, system_prompt: text}}",
        |p| debug(&p.system_prompt),
        "None",
    );
    check(
        "{type: header_mutation, configuration: {add: [{name: A, value: b}], update: [{name: C, value: d}], delete: [E]}}",
        |p| debug(&p.headers),
        r#"HeaderMutation { set: [("a", "b"), ("c", "d")], remove: ["e"] }"#,
    );
    check(
        "{type: fast_response, configuration: {message: hi}}",
        |p| debug(&p.fast_response),
        r#"Some("hi")"#,
    );
    check(
        "{type: request_params, configuration: {blocked_params: [logprobs], max_tokens_limit: 5, max_n: 1}}",
        |p| debug(&p.request_params),
        r#"Some(RequestParams { blocked: ["logprobs"], max_tokens: Some(5), max_n: Some(1) })"#,
    );
    check(
        "{type: tools, configuration: {mode: filtered, allow_tools: [a], block_tools: [b], strip_tool_history: true}}",
        |p| debug(&p.tools),
        r#"Some(ToolFilter { mode: Filtered { allow: ["a"], block: ["b"] }, strip_history: true })"#,
    );
    check(
        "{type: tool_selection, configuration: {mode: filter, relevance_threshold: 0.5, preserve_count: 2}}",
        |p| debug(&p.tool_selection),
        "Some(Filter { threshold: 0.5, keep: 2 })",
    );
}

#[test]
fn tracing_keys() {
    let probe = |c: &RouterConfig| debug(&c.tracing);
    check(
        "observability: {tracing: {enabled: true, exporter: {type: otlp, endpoint: 'jaeger:4317', insecure: true}, sampling: {type: probabilistic, rate: 0.5}, resource: {service_name: s, service_version: v, deployment_environment: e}}}",
        probe,
        "None",
        r#"Some(Tracing { exporter: Otlp { endpoint: "jaeger:4317", insecure: true }, share: 0.5, resource: [("service.name", "s"), ("service.version", "v"), ("deployment.environment.name", "e")] })"#,
    );
    check(
        "observability: {tracing: {enabled: true}}",
        probe,
        "None",
        r#"Some(Tracing { exporter: Otlp { endpoint: "localhost:4317", insecure: false }, share: 1.0, resource: [] })"#,
    );
    check(
        "observability: {tracing: {enabled: true, exporter: {type: stdout}, sampling: {type: always_off, rate: 0.5}}}",
        probe,
        "None",
        "Some(Tracing { exporter: Stdout, share: 0.0, resource: [] })",
    );
    check(
        "observability: {tracing: {enabled: false, exporter: {type: stdout}}}",
        probe,
        "None",
        "None",
    );
}

#[test]
fn global_keys() {
    let jailbreak = |c: &RouterConfig| debug(&c.security.jailbreak);
    check(
        "prompt_guard: {enabled: true, threshold: 0.5, on_error: block}",
        jailbreak,
        "Inherit",
        "On(JailbreakPolicy { threshold: 0.5, on_error: Block })",
    );
    check(
        "prompt_guard: {enabled: false, threshold: 0.5}",
        jailbreak,
        "Inherit",
        "Off",
    );
    check(
        "classifier: {pii_model: {threshold: 0.5}}",
        |c| debug(&c.security.pii.on().map(|policy| policy.threshold)),
        "None",
        "Some(0.5)",
    );
    let tools = |c: &RouterConfig| {
        let tools = c.tools.as_ref();
        debug(&tools.map(|t| (t.top_k, t.threshold, t.path.as_str(), t.fallback_to_empty)))
    };
    check(
        "tools: {enabled: true, top_k: 5, similarity_threshold: 0.5, tools_db_path: t.json, fallback_to_empty: true}",
        tools,
        "None",
        r#"Some((5, 0.5, "t.json", true))"#,
    );
    check(
        "tools: {enabled: true, tools_db_path: t.json}\nbert_model: {threshold: 0.25}",
        tools,
        "None",
        r#"Some((3, 0.25, "t.json", false))"#,
    );
    check(
        "tools: {enabled: false, tools_db_path: t.json}",
        tools,
        "None",
        "None",
    );
    check(
        "tandem: {signal_deadline_ms: 7}",
        |c| debug(&c.deadline),
        "2s",
        "7ms",
    );
    check(
        "tandem: {unknown_models: reject}",
        |c| debug(&c.unknown_models),
        "Forward",
        "Reject",
    );
    check(
        "tandem: {security: {response_jailbreak: {action: none}}}",
        |c| debug(&c.security.response_jailbreak),
        "Inherit",
        "On(ResponseJailbreakPolicy { check: JailbreakPolicy { threshold: 0.7, on_error: Allow }, action: Log })",
    );
    check(
        "tandem: {security: {pii: {pii_types_denied: [AGE], on_error: block}}}",
        |c| debug(&c.security.pii),
        "Inherit",
        r#"On(PiiPolicy { types: Only(["AGE"]), threshold: 0.7, action: Block, on_error: Block, scan_response: false })"#,
    );
}

#[test]
fn cache_keys() {
    let policy = |probe: fn(&CachePolicy) -> String| move |c: &RouterConfig| probe(&c.cache.policy);
    check(
        "semantic_cache: {enabled: true}",
        |c| debug(&c.cache.enabled),
        "false",
        "true",
    );
    check(
        "semantic_cache: {similarity_threshold: 0.9}",
        policy(|p| debug(&p.threshold)),
        "0.75",
        "0.9",
    );
    check(
        "semantic_cache: {similarity_threshold: 0.9, semantic: {similarity_threshold: 0.8}}",
        policy(|p| debug(&p.threshold)),
        "0.75",
        "0.8",
    );
    check(
        "semantic_cache: {mode: exact}",
        policy(|p| debug(&p.mode)),
        "Semantic",
        "Exact",
    );
    check(
        "semantic_cache: {scope: tenant}",
        policy(|p| debug(&p.scope)),
        "Client",
        "Team",
    );
    check(
        "semantic_cache: {ttl_seconds: 60}",
        policy(|p| debug(&p.ttl)),
        "Some(3600s)",
        "Some(60s)",
    );
    check(
        "semantic_cache: {ttl_seconds: 0}",
        policy(|p| debug(&p.ttl)),
        "Some(3600s)",
        "None",
    );
    check(
        "semantic_cache: {max_bytes: 1000, max_entries: 5, eviction_policy: fifo}",
        |c| debug(&c.cache.limits),
        "CacheLimits { max_bytes: 134217728, max_entries: None, eviction: Lru }",
        "CacheLimits { max_bytes: 1000, max_entries: Some(5), eviction: Fifo }",
    );
    let plugin = |c: &RouterConfig| {
        decision(c, |decision| match &decision.plugins.cache {
            Override::Inherit => "inherits".to_owned(),
            Override::Off => "off".to_owned(),
            Override::On(policy) => {
                format!("{:?} {} {:?}", policy.mode, policy.threshold, policy.ttl)
            }
        })
    };
    for (kind, configuration, want) in [
        ("semantic-cache", "{enabled: false}", "off"),
        (
            "semantic-cache",
            "{enabled: true, similarity_threshold: 0.95}",
            "Semantic 0.95 Some(9s)",
        ),
        (
            "response_cache",
            "{mode: exact, ttl_seconds: 5}",
            "Exact 0.75 Some(5s)",
        ),
    ] {
        let set = format!(
            "semantic_cache: {{ttl_seconds: 9}}\ndecisions: [{{name: d, modelRefs: [{{model: m}}], plugins: [{{type: {kind}, configuration: {configuration}}}]}}]"
        );
        check(&set, plugin, "none", want);
    }
}

#[test]
fn cache_store_keys() {
    check(
        "semantic_cache: {backend_type: redis, deadline_ms: 7, redis: {connection: {host: h, port: 1, db: 2, username: u, password: p, tls: {enabled: true, ca_file: c}}, index: {prefix: x}}}",
        |c| debug(&c.cache.store),
        "Memory",
        r#"Server(StoreServer { kind: Redis { database: 2, prefix: "x" }, host: "h", port: 1, username: Some("u"), password: Some([redacted]), tls: Some(StoreTls { authorities: Some("c"), certificate: None, key: None }), deadline: 7ms })"#,
    );
    check(
        "semantic_cache: {backend_type: redis, redis: {connection: {address: 'h:1', database: 3}}}",
        |c| debug(&c.cache.store),
        "Memory",
        r#"Server(StoreServer { kind: Redis { database: 3, prefix: "tandem:cache:" }, host: "h", port: 1, username: None, password: None, tls: None, deadline: 30ms })"#,
    );
    check(
        "semantic_cache: {backend_type: hybrid, milvus: {connection: {host: h, database: d, auth: {enabled: true, username: u, password: p}}, collection: {name: n}, search: {topk: 5, consistency_level: strong}}}",
        |c| debug(&c.cache.store),
        "Memory",
        r#"Server(StoreServer { kind: Milvus { database: "d", collection: "n", topk: 5, consistency: Strong }, host: "h", port: 19530, username: Some("u"), password: Some([redacted]), tls: None, deadline: 30ms })"#,
    );
    check(
        "semantic_cache: {backend_type: milvus, backend_config_path: f.yaml, deadline_ms: 9}",
        |c| debug(&c.cache.store),
        "Memory",
        r#"File(StoreFile { kind: Milvus, path: "f.yaml", deadline: 9ms })"#,
    );
}

#[test]
fn the_store_of_the_cache_may_have_a_file_of_its_own() {
    let file =
        "semantic_cache: {enabled: true, backend_type: redis, backend_config_path: store.yaml}";
    let lookup = |name: &str| (name == "PASSWORD").then(|| "s3cret".to_owned());
    let store = |text: &'static str| {
        let mut config = load(&format!("{BASE}{file}\n"));
        let read = |name: &str| match name {
            "store.yaml" if !text.is_empty() => Ok(text.into()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let problems = config.load_cache_store(&read, &lookup);
        let problems = problems.iter().map(ToString::to_string);
        (config.cache.store, problems.collect::<Vec<_>>().join("\n"))
    };
    let (found, problems) =
        store("connection: {host: h, password: '${PASSWORD}', timeout: 30}\nsearch: {topk: 1}\n");
    let CacheStore::Server(server) = found else {
        panic!("{problems}")
    };
    assert_eq!(server.host, "h");
    assert_eq!(server.password, Some(Secret::new("s3cret")));
    assert_eq!(problems.matches("has no effect").count(), 2, "{problems}");
    for (text, want) in [
        ("", "entity not found"),
        ("connection: {host: [}", "kept in this process"),
        ("connection: {pasword: x}", "did you mean `password`?"),
        ("connection: {password: '${UNSET}'}", "`UNSET` is not set"),
    ] {
        let (found, problems) = store(text);
        assert_eq!(found, CacheStore::Memory, "{text}");
        assert!(problems.contains(want), "{text}: {problems}");
        assert!(problems.contains("store.yaml"), "{text}: {problems}");
    }
}
