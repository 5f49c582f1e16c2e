mod gateway;
mod keys;

use super::*;

fn parse(text: &str) -> Result<Loaded, ConfigError> {
    RouterConfig::parse(text, &|name| {
        (name == "KEY").then(|| "sk-secret".to_owned())
    })
}

fn problems(text: &str) -> Vec<String> {
    let error = parse(text).expect_err("the file is wrong");
    error.problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check_warnings(text: &str, want: &[&str]) {
    let loaded = parse(text).unwrap_or_else(|error| panic!("{error}"));
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, want);
}

#[test]
fn every_example_loads_without_a_warning() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lookup = |name: &str| (name == "TANDEM_MODEL").then(|| "model".to_owned());
        let loaded = RouterConfig::parse(&text, &lookup);
        let loaded = loaded.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(loaded.warnings, [], "{}", path.display());
        count += 1;
    }
    assert!(count >= 19, "{count} examples");
}

#[test]
fn the_built_in_config_covers_every_domain() {
    let config = RouterConfig::built_in("org/model");
    assert_eq!(config.auto_models, ["MoM"]);
    assert!(config.is_auto("auto"));
    assert_eq!(config.default_model.as_deref(), Some("org/model"));
    assert_eq!(config.decisions.len(), DOMAINS.len());
    for label in DOMAINS {
        let test = SignalTest::Domain(vec![label.to_owned()]);
        let rule = config.signals.iter().position(|rule| rule.test == test);
        let rule = Rule::Any(vec![Rule::Signal(SignalRef(rule.unwrap()))]);
        let decision = config
            .decisions
            .iter()
            .find(|decision| decision.rule == rule);
        let decision = decision.unwrap_or_else(|| panic!("no decision for {label}"));
        assert_eq!(decision.models[0].model, "org/model");
        assert!(decision.plugins.system_prompt.is_some(), "{label}");
    }
    let pii = config.security.pii.on().unwrap();
    assert!(pii.types.denies("US_SSN"));
    for everyday in [
        "PERSON",
        "GPE",
        "DATE_TIME",
        "EMAIL_ADDRESS",
        "PHONE_NUMBER",
        "AGE",
    ] {
        assert!(!pii.types.denies(everyday), "{everyday}");
    }
    assert_eq!(config.unknown_models, UnknownModels::Reject);
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_lines() {
    let text = "
default_model: smal
strategie: priority
model_config:
  small: {reasoning_family: qwen, prefered_endpoints: [x]}
reasoning_families:
  qwen3: {type: chat_template_kwarg, parameter: enable_thinking}
keyword_rules:
  - {name: think, operator: XOR, keywords: []}
decisions:
  - name: a
    rules: {operator: OR, conditions: [{type: keyword, name: thinks}, {type: domian, name: math}]}
    modelRefs: [{model: small, lora_name: nope, use_reasoning: maybe}]
    plugins: [{type: sytem_prompt, configuration: {}}]
  - name: a
    rules: {operator: OR, conditions: [{type: domain, name: maths}]}
prompt_guard: {enabled: true, threshold: 7}
";
    insta::assert_snapshot!(problems(text).join("\n"));
}

#[test]
fn a_file_that_is_not_yaml_names_the_line() {
    let problems = problems("a: 1\nb: [\n");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("line "), "{}", problems[0]);
    assert_eq!(self::problems(""), ["line 1: the file is empty"]);
    assert!(self::problems("[1]")[0].contains("expected a mapping, found a list"));
}

#[test]
fn foreign_keys_are_warnings_and_typos_are_errors() {
    check_warnings(
        "
default_model: m
model_config: {m: {}}
response_api: {enabled: true}
brand_new_key: 1
",
        &[
            "line 4: response_api: accepted, and has no effect because the Responses API is not served",
            "line 5: brand_new_key: unknown key, ignored",
        ],
    );
    assert_eq!(
        problems("default_model: m\nmodel_config: {m: {}}\ndecision: []\n"),
        ["line 3: decision: unknown key; did you mean `decisions`?"]
    );
}

#[test]
fn the_old_key_of_conditions_never_matched() {
    check_warnings(
        "
default_model: m
model_config: {m: {}}
decisions:
  - name: thinking
    rules: {operator: OR, conditions: [{type: keyword, rule_name: thinking}]}
    modelRefs: [{model: m, use_reasoning: true}]
",
        &[
            "line 6: decisions[0].rules.conditions[0]: unknown rule `thinking`; none is defined: the condition never matches",
        ],
    );
}

#[test]
fn chart_values_hold_the_config_under_a_key() {
    let loaded = parse("config:\n  default_model: m\n  model_config: {m: {}}\n").unwrap();
    assert_eq!(loaded.config.default_model.as_deref(), Some("m"));
    let loaded = parse("config:\n  version: v0.3\n  providers: {models: [{name: m}]}\n").unwrap();
    assert_eq!(loaded.config.models[0].name, "m");
}

#[test]
fn secrets_are_read_from_the_environment_and_never_shown() {
    let text = "
default_model: m
model_config: {m: {access_key: '${KEY}'}}
";
    let config = parse(text).unwrap().config;
    let credential = config.models[0].credential.as_ref().unwrap();
    assert_eq!(credential.value, "Bearer sk-secret");
    let shown = format!("{config:?}");
    assert!(!shown.contains("sk-secret"), "{shown}");
    assert_eq!(
        problems("default_model: '${UNSET}'\n"),
        [
            "line 1: default_model: environment variable `UNSET` is not set; use `${UNSET:-default}` to give a default"
        ]
    );
}

#[test]
fn the_flat_layout_means_what_it_meant() {
    let config = parse(
        "
default_model: m
model_config: {m: {preferred_endpoints: [b, a]}}
vllm_endpoints:
  - {name: a, address: 10.0.0.1, port: 1, weight: 2}
  - {name: b, address: '::1', port: 2, weight: 1}
prompt_guard: {enabled: true, threshold: 0.6}
classifier: {pii_model: {threshold: 0.8}}
decisions:
  - name: none
    modelRefs: [{model: m}]
  - name: computers
    rules: {operator: or, conditions: [{type: domain, name: computer_science}]}
    modelRefs: [{model: m}]
    plugins:
      - {type: pii, configuration: {enabled: true, pii_types_allowed: [B-PERSON]}}
      - {type: jailbreak, configuration: {enabled: false}}
",
    )
    .unwrap()
    .config;
    assert_eq!(config.models[0].endpoint.as_deref(), Some("10.0.0.1:1"));
    assert_eq!(config.decisions[0].rule, Rule::Never, "no conditions");
    assert_eq!(
        config.signals[0].test,
        SignalTest::Domain(vec!["computer science".into()])
    );
    let jailbreak = config.security.jailbreak.on().unwrap();
    assert!((jailbreak.threshold - 0.6).abs() < 1e-6);
    let plugins = &config.decisions[1].plugins;
    assert_eq!(plugins.jailbreak, Override::Off);
    let Override::On(pii) = &plugins.pii else {
        panic!("{:?}", plugins.pii);
    };
    assert!((pii.threshold - 0.8).abs() < 1e-6);
    assert!(pii.types.denies("US_SSN") && !pii.types.denies("PERSON"));
    assert_eq!(config.unknown_models, UnknownModels::Forward);
}

#[test]
fn the_layered_layout_means_what_it_meant() {
    let config = parse(
        "
version: v0.3
providers:
  defaults: {default_model: m}
  models:
    - name: m
      provider_model_id: org/m
      backend_refs: [{endpoint: 'h:1', api_key_env: KEY, auth_header: X-Api-Key, auth_prefix: ''}]
routing:
  signals: {pii: [{name: p}], jailbreak: [{name: j}]}
  decisions:
    - {name: always, modelRefs: [{model: m}]}
    - {name: tiered, tier: 2, rules: {type: pii, name: p}, modelRefs: [{model: m}]}
global:
  router: {auto_model_name: pick}
  model_catalog: {modules: {prompt_guard: {threshold: 0.6, on_error: block}}}
",
    )
    .unwrap()
    .config;
    assert_eq!(config.auto_models, ["pick"]);
    assert_eq!(config.models[0].upstream_name.as_deref(), Some("org/m"));
    let credential = config.models[0].credential.as_ref().unwrap();
    assert_eq!(
        (&*credential.header, &*credential.value),
        ("x-api-key", "sk-secret")
    );
    assert_eq!(config.decisions[0].rule, Rule::Always, "no conditions");
    assert_eq!(config.decisions[1].rule, Rule::Signal(SignalRef(1)));
    assert_eq!(config.decisions[1].tier, 2);
    let (SignalTest::Jailbreak(jailbreak), SignalTest::Pii(pii)) =
        (&config.signals[0].test, &config.signals[1].test)
    else {
        panic!("{:?}", config.signals);
    };
    assert_eq!(jailbreak.on_error, OnError::Block);
    assert!((pii.threshold - 0.9).abs() < 1e-6);
    assert_eq!(
        config.security.pii,
        Override::Inherit,
        "only decisions refuse"
    );
    assert_eq!(config.unknown_models, UnknownModels::Reject);
}

#[test]
fn default_security_fills_what_a_file_leaves_open() {
    let file =
        "default_model: m\nmodel_config: {m: {}}\nprompt_guard: {enabled: true, threshold: 0.2}\n";
    let config = parse(file).unwrap().config.with_default_security();
    let jailbreak = config.security.jailbreak.on().unwrap();
    assert!((jailbreak.threshold - 0.2).abs() < 1e-6);
    assert!(
        config
            .security
            .pii
            .on()
            .unwrap()
            .types
            .denies("CREDIT_CARD")
    );
}

#[test]
fn default_security_leaves_off_what_a_file_switches_off() {
    let base = "default_model: m\nmodel_config: {m: {}}\n";
    let security = |file: &str| {
        let config = parse(&format!("{base}{file}")).unwrap().config;
        let security = config.with_default_security().security;
        (
            security.jailbreak.on().is_some(),
            security.pii.on().is_some(),
        )
    };
    assert_eq!(security(""), (true, true));
    assert_eq!(security("prompt_guard: {enabled: false}\n"), (false, true));
    assert_eq!(security("prompt_guard: {threshold: 0.5}\n"), (true, true));
    let off = "{jailbreak: {enabled: false}, pii: {enabled: false}}";
    assert_eq!(
        security(&format!("tandem: {{security: {off}}}\n")),
        (false, false)
    );
}

#[test]
fn words_that_older_yaml_takes_for_booleans_are_words() {
    let file = "
default_model: n
model_config: {n: {}}
include_config_models_in_list: yes
clear_route_cache: off
keyword_rules: [{name: answers, operator: OR, keywords: [yes, no, on, y]}]
";
    let config = parse(file).unwrap().config;
    assert_eq!(config.default_model.as_deref(), Some("n"));
    assert!(config.list_models && !config.clear_route_cache);
    let SignalTest::Keyword(test) = &config.signals[0].test else {
        panic!("{:?}", config.signals);
    };
    assert_eq!(test.keywords, ["yes", "no", "on", "y"]);
}

#[test]
fn what_comes_from_the_environment_is_shown_by_its_name() {
    let file = "default_model: m\nmodel_config: {m: {}}\nstrategy: ${KEY}\n";
    let found = problems(file);
    assert_eq!(
        found,
        ["line 3: strategy: unknown value `${KEY}`; use one of: priority, confidence"]
    );
    let file = "default_model: m\nmodel_config: {m: {reasoning_family: '${KEY}'}}\n";
    assert!(!problems(file)[0].contains("sk-secret"));
}
