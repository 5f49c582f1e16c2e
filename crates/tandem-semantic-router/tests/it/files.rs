//! Files that users of the original router have. They are not part of this repository: a test whose
//! file is nowhere says so and passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tandem_semantic_router::config::{
    Family, OnError, Override, PiiTypes, ReasoningSwitch, Rule, Selection, SignalTest, Strategy,
    ToolMode, UnknownModels, migrate,
};
use tandem_semantic_router::{Loaded, RouterConfig};

fn reference(name: &str) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let at = |ancestor: &Path| ancestor.join("shared/reference/configs").join(name);
    let found = folder
        .ancestors()
        .map(at)
        .find(|path: &PathBuf| path.exists());
    if found.is_none() {
        println!("skipped: there is no shared/reference/configs/{name} above this repository");
    }
    found.map(|path| std::fs::read_to_string(path).unwrap())
}

fn load(text: &str) -> Loaded {
    RouterConfig::parse(text, &|_| None).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn close(left: f32, right: f32) {
    assert!((left - right).abs() < 1e-6, "{left} {right}");
}

/// Every warning says which key and why, or that a condition never matches.
#[track_caller]
fn warnings_are_complete(loaded: &Loaded) {
    for warning in &loaded.warnings {
        let known = [
            "has no effect because",
            "never matches",
            "only one that is spoken",
            "is not set",
        ];
        let text = warning.to_string();
        assert!(known.iter().any(|phrase| text.contains(phrase)), "{text}");
        assert!(!warning.path.is_empty() && warning.line.is_some(), "{text}");
    }
}

#[test]
fn the_full_flat_file_means_what_it_says() {
    let Some(text) = reference("flat-full.yaml") else {
        return;
    };
    let loaded = load(&text);
    warnings_are_complete(&loaded);
    let config = loaded.config;
    assert_eq!(config.strategy, Strategy::Priority);
    assert_eq!(config.default_model.as_deref(), Some("qwen3"));
    assert_eq!(config.unknown_models, UnknownModels::Forward);
    let [model] = &config.models[..] else {
        panic!("{:?}", config.models);
    };
    assert_eq!(model.endpoint.as_deref(), Some("172.28.0.20:8002"));
    let family = model.reasoning.as_ref().unwrap();
    assert_eq!(
        family.switch,
        ReasoningSwitch::TemplateKwarg("enable_thinking".into())
    );
    assert_eq!(family.default_effort, "high");
    assert_eq!(config.decisions.len(), 14);
    for decision in &config.decisions {
        let priority = if decision.name == "general_decision" {
            50
        } else {
            100
        };
        assert_eq!(decision.priority, priority, "{}", decision.name);
        assert!(decision.plugins.system_prompt.is_some());
        let Override::On(pii) = &decision.plugins.pii else {
            panic!("{}", decision.name);
        };
        assert_eq!(pii.types, PiiTypes::AllBut(Vec::new()));
        close(pii.threshold, 0.9);
        let hard = ["chemistry_decision", "math_decision", "physics_decision"];
        assert_eq!(
            decision.models[0].use_reasoning,
            hard.contains(&&*decision.name)
        );
    }
    let computers = config
        .signals
        .iter()
        .find(|rule| rule.name == "computer_science");
    let labels = SignalTest::Domain(vec!["computer science".into()]);
    assert_eq!(computers.unwrap().test, labels);
    close(config.security.jailbreak.on().unwrap().threshold, 0.7);
    let pii = config.security.pii.on().unwrap();
    assert!(pii.types.denies("US_SSN") && !pii.types.denies("PERSON"));
    let tools = config.tools.as_ref().unwrap();
    assert_eq!(
        (tools.top_k, tools.path.as_str()),
        (3, "config/tools_db.json")
    );
    close(tools.threshold, 0.2);
    assert!(tools.fallback_to_empty);
}

#[test]
fn the_full_layered_file_means_what_it_says() {
    let Some(text) = reference("v03-full.yaml") else {
        return;
    };
    let loaded = load(&text);
    warnings_are_complete(&loaded);
    let config = loaded.config;
    assert_eq!(
        config.auto_models,
        ["exhaustive-reference", "vllm-sr/auto", "auto"]
    );
    assert!(!config.clear_route_cache && config.list_models);
    let mut families: BTreeMap<Family, usize> = BTreeMap::new();
    for rule in &config.signals {
        *families.entry(rule.family()).or_default() += 1;
    }
    let want = [
        (Family::Domain, 6),
        (Family::Keyword, 4),
        (Family::Embedding, 3),
        (Family::Jailbreak, 1),
        (Family::Pii, 1),
        (Family::Language, 2),
        (Family::Context, 1),
        // The rule, and its level `hard` that decisions name.
        (Family::Complexity, 2),
        (Family::FactCheck, 2),
        (Family::UserFeedback, 2),
        (Family::Preference, 1),
        (Family::Authz, 2),
        (Family::Structure, 8),
        (Family::Conversation, 6),
        (Family::Reask, 2),
    ];
    assert_eq!(families, BTreeMap::from(want));
    let decision = |name: &str| {
        let mut all = config.decisions.iter();
        all.find(|decision| decision.name == name).unwrap()
    };
    assert_eq!(decision("static_business_route").tier, 2);
    let Selection::LatencyAware(latency) = &decision("long_context_latency_route").selection else {
        panic!();
    };
    assert_eq!(
        (latency.ttft_percentile, latency.tpot_percentile),
        (Some(95), Some(90))
    );
    let Selection::MultiFactor(factors) = &decision("multi_factor_route").selection else {
        panic!();
    };
    assert_eq!(factors.limits.max_inflight, Some(50));
    assert!(matches!(decision("safe_only_svm_route").rule, Rule::Not(_)));
    assert!(
        decision("terse_feedback_route")
            .plugins
            .fast_response
            .is_some()
    );
    let tools = decision("safe_hybrid_route")
        .plugins
        .tools
        .as_ref()
        .unwrap();
    assert!(tools.strip_history && tools.mode == ToolMode::None);
    let small = config.model("qwen3-8b").unwrap();
    assert_eq!(small.upstream_name.as_deref(), Some("qwen3-8b-instruct"));
    assert_eq!(small.endpoint.as_deref(), Some("127.0.0.1:8000"));
    close(small.quality.unwrap(), 0.83);
    assert_eq!(
        config.model("qwen3-32b").unwrap().loras,
        ["computer-science-expert"]
    );
    let guard = config.signals.iter().find_map(|rule| match &rule.test {
        SignalTest::Jailbreak(policy) => Some(policy),
        _ => None,
    });
    close(guard.unwrap().threshold, 0.8);
    assert_eq!(guard.unwrap().on_error, OnError::Allow);
    let shown = format!("{config:?}");
    for secret in ["static-demo-key", "redis-secret", "external-guardrail-key"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn the_dynamo_values_of_both_eras_mean_the_same() {
    let (Some(flat), Some(layered)) = (
        reference("dynamo-values-flat.yaml"),
        reference("dynamo-values-v03.yaml"),
    ) else {
        return;
    };
    for text in [&flat, &layered] {
        let loaded = load(text);
        warnings_are_complete(&loaded);
        let config = loaded.config;
        let model = "TinyLlama/TinyLlama-1.1B-Chat-v1.0";
        assert_eq!(config.auto_models, ["MoM"]);
        assert_eq!(config.default_model.as_deref(), Some(model));
        assert_eq!(config.decisions.len(), 15);
        for decision in &config.decisions {
            assert_eq!(decision.models[0].model, model);
            assert!(
                decision.plugins.system_prompt.is_some(),
                "{}",
                decision.name
            );
        }
        let thinking = config.decisions.iter();
        let mut thinking = thinking.filter(|decision| decision.name == "thinking_decision");
        assert_eq!(thinking.next().unwrap().priority, 20);
    }
    // The flat file misspells the condition of `thinking_decision`, which never matched.
    let config = load(&flat).config;
    assert_eq!(config.decisions[13].rule, Rule::Never);
    let pii = config.decisions.iter().filter(|decision| {
        matches!(&decision.plugins.pii, Override::On(policy) if policy.types.denies("PERSON"))
    });
    assert_eq!(pii.count(), 15);
}

#[test]
fn flat_files_migrate_to_the_same_configuration() {
    for name in ["flat-full.yaml", "dynamo-values-flat.yaml"] {
        let Some(text) = reference(name) else {
            continue;
        };
        let migrated = migrate(&text, &|_| None).unwrap();
        assert_eq!(load(&migrated.text).config, load(&text).config, "{name}");
        assert!(migrate(&migrated.text, &|_| None).is_err(), "{name} twice");
    }
}
