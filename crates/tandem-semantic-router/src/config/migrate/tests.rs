use proptest::prelude::*;

use super::*;

fn lookup(name: &str) -> Option<String> {
    match name {
        "KEY" => Some("sk-secret".to_owned()),
        "TANDEM_MODEL" => Some("model".to_owned()),
        _ => None,
    }
}

#[track_caller]
fn check(flat: &str) -> Migrated {
    let migrated = migrate(flat, &lookup).unwrap_or_else(|error| panic!("{error}\n{flat}"));
    let load = |text: &str| {
        let loaded = RouterConfig::parse(text, &lookup);
        loaded
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
            .config
    };
    assert_eq!(
        load(&migrated.text),
        load(flat),
        "{flat}\n{}",
        migrated.text
    );
    assert!(
        migrated.text.starts_with("version: \"v0.3\"")
            || migrated.text.starts_with("version: v0.3")
    );
    migrated
}

#[test]
fn every_flat_example_migrates() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if !is_layered(&Node::parse(&text).unwrap()) {
            check(&text);
            count += 1;
        }
    }
    assert!(count >= 5, "{count} files");
}

#[test]
fn secrets_stay_in_the_environment() {
    let migrated = check("default_model: m\nmodel_config: {m: {access_key: '${KEY}'}}\n");
    assert!(migrated.text.contains("${KEY}"), "{}", migrated.text);
    assert!(!migrated.text.contains("sk-secret"), "{}", migrated.text);
}

#[test]
fn what_has_no_place_is_noted() {
    let migrated = check("default_model: m\nmodel_config: {m: {}}\nmom_registry: {a: b}\n");
    assert_eq!(migrated.notes.len(), 1);
    assert!(
        migrated.notes[0]
            .to_string()
            .starts_with("line 3: mom_registry: left out")
    );
}

#[test]
fn the_wrapper_of_a_chart_stays() {
    let flat = "replicas: 2\nconfig:\n  model_config: {m: {}}\n  decisions: []\n";
    let migrated = migrate(flat, &lookup).unwrap();
    assert!(
        migrated
            .text
            .starts_with("replicas: 2\nconfig:\n  version: "),
        "{}",
        migrated.text
    );
}

#[test]
fn wrong_files_are_refused() {
    assert!(migrate("version: v0.3\n", &lookup).is_err());
    assert!(migrate("strategy: none\n", &lookup).is_err());
    assert!(migrate("[1]", &lookup).is_err());
}

/// Ways to write each part of a file; the empty one leaves it out.
const PARTS: &[&[&str]] = &[
    &[
        "model_config: {small: {}, big: {reasoning_family: qwen3}}\n",
        "model_config:\n  small: {access_key: '${KEY}', loras: [{name: law, description: d}], quality_score: 0.5}\n  big: {preferred_endpoints: [b, a], pricing: {prompt_per_1m: 1, currency: EUR}}\n",
        "model_config:\n  small: {preferred_endpoints: [a], access_key: k, param_size: 8B}\n  big:\n",
    ],
    &["default_model: small\n", "default_model: big\n", ""],
    &[
        "vllm_endpoints: [{name: a, address: 10.0.0.1, port: 80}, {name: b, address: '::1', port: 81, weight: 2}]\n",
    ],
    &["reasoning_families: {qwen3: {type: chat_template_kwargs, parameter: t}}\n"],
    &["", "default_reasoning_effort: high\n"],
    &["", "strategy: confidence\n"],
    &["", "auto_model_name: pick\n", "auto_model_name: ''\n"],
    &["", "include_config_models_in_list: true\n"],
    &[
        "",
        "clear_route_cache: true\n",
        "clear_route_cache: false\n",
    ],
    &["categories: [{name: math}, {name: science, mmlu_categories: [physics, biology]}]\n"],
    &["keyword_rules: [{name: k, operator: NOR, keywords: [a, 'b: c'], case_sensitive: true}]\n"],
    &[
        "",
        "embedding_rules: [{name: e, threshold: 0.5, candidates: [x y], aggregation_method: any}]\n",
    ],
    &["", "fact_check_rules: [{name: needs_fact_check}]\n"],
    &[
        "",
        "hallucination_mitigation: {enabled: true, fact_check_model: {threshold: 0.8, model_id: m}}\n",
    ],
    &[
        "",
        "user_feedback_rules: [{name: satisfied}]\nfeedback_detector: {enabled: true, threshold: 0.4}\n",
    ],
    &[
        "",
        "preference_rules: [{name: p, description: d}]\nexternal_models: [{llm_provider: vllm, model_role: preference, llm_endpoint: {address: h, port: 1}, llm_model_name: j, llm_timeout_seconds: 3, access_key: '${KEY}'}]\n",
    ],
    &[
        "",
        "prompt_guard: {enabled: true}\n",
        "prompt_guard: {enabled: true, threshold: 0.4, on_error: block, model_id: x}\n",
        "prompt_guard: {enabled: false, threshold: 0.1}\n",
    ],
    &[
        "",
        "classifier: {pii_model: {threshold: 0.8, model_id: x}}\n",
        "classifier: {pii_model: {}, category_model: {threshold: 0.6}}\n",
    ],
    &[
        "",
        "tools: {enabled: true, top_k: 2, tools_db_path: t.json}\n",
        "tools: {enabled: false}\n",
    ],
    &["", "bert_model: {threshold: 0.33, model_id: x}\n"],
    &[
        "",
        "semantic_cache: {enabled: true, max_entries: 5, similarity_threshold: 0.9, ttl_seconds: 0}\nresponse_api: {enabled: true}\n",
    ],
    &[
        "",
        "tandem: {unknown_models: reject}\n",
        "tandem: {signal_deadline_ms: 7, security: {pii: {action: redact, pii_types_allowed: [PERSON]}}}\n",
        "tandem: {security: {jailbreak: {enabled: false}, pii: {enabled: false}}}\n",
    ],
];

/// Decisions in various forms.
const DECISIONS: &[&str] = &[
    "  - {name: NAME, modelRefs: [{model: small}]}\n",
    "  - {name: NAME, rules: {operator: AND, conditions: []}, modelRefs: [{model: big, use_reasoning: true}]}\n",
    "  - {name: NAME, priority: 5, rules: {operator: OR, conditions: [{type: domain, name: math}, {operator: NOT, conditions: [{type: keyword, name: k}]}]}, modelRefs: [{model: big, reasoning_effort: low}]}\n",
    "  - {name: NAME, rules: {operator: AND, conditions: [{type: domain, name: law}, {operator: OR, conditions: []}]}, modelRefs: [{model: small, weight: 0.5}, {model: big}], algorithm: {type: weighted}}\n",
    "  - {name: NAME, rules: {operator: OR, conditions: [{type: domain, name: science}]}, modelRefs: [{model: small}], plugins: [{type: pii, configuration: {enabled: true}}, {type: jailbreak, configuration: {enabled: false}}, {type: system_prompt, configuration: {system_prompt: \"a: b\\n# c\", mode: insert}}]}\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_flat_file_means_the_same_afterwards(
        choices in prop::collection::vec(any::<prop::sample::Index>(), PARTS.len()),
        decisions in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut flat = String::new();
        for (variants, choice) in PARTS.iter().zip(&choices) {
            flat.push_str(variants[choice.index(variants.len())]);
        }
        flat.push_str("decisions:\n");
        for (i, decision) in decisions.iter().enumerate() {
            let decision = DECISIONS[decision.index(DECISIONS.len())];
            flat.push_str(&decision.replace("NAME", &format!("d{i}")));
        }
        check(&flat);
    }
}
