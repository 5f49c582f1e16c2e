//! The flat layout of v0.1.0.

use super::decision::{self, Context};
use super::provider::{
    Families, bearer, external_models, families, family_of, heaviest, loras, pricing, require_model,
};
use super::reader::{Cursor, Section, unknown};
use super::rules::{Defaults, SignalRules};
use super::{cache, extension, plugin, tracing};
use crate::config::{
    Address, Backend, Identity, JailbreakPolicy, ModelConfig, Override, PiiPolicy, RouterConfig,
    Rule, SecurityPolicy, Strategy, UnknownModels,
};

pub(super) fn read(root: &Section<'_>) -> RouterConfig {
    let families = families(root);
    let endpoints = endpoints(root);
    let security = security(root);
    let extension = extension::read(root, security);
    let mut models = models(root, &families, &endpoints);
    for model in &mut models {
        model.reliability = extension.reliability.clone();
    }
    let default_model = default_model(root, &mut models);
    let mut signals = signals(root);
    let tool_threshold = threshold_of(root, "bert_model");
    let tools = root
        .section("tools")
        .and_then(|tools| plugin::global_tools(&tools, tool_threshold));
    let cache = root.section("semantic_cache");
    let cache = cache.map(|section| cache::read(&section));
    let cache = cache.unwrap_or_default();
    let mut context = Context {
        models: &mut models,
        signals: &mut signals,
        defaults: &extension.security,
        tools: tools.as_ref(),
        cache: &cache.policy,
        empty: Rule::Never,
    };
    let decisions = decision::read(root.list("decisions"), &mut context);
    let auto = root.text("auto_model_name").filter(|name| !name.is_empty());
    RouterConfig {
        auto_models: vec![auto.unwrap_or_else(|| "MoM".to_owned())],
        default_model,
        list_models: root.boolean("include_config_models_in_list") == Some(true),
        // The flat layout never listed all models: it says only how to treat some.
        unknown_models: extension.unknown_models.unwrap_or(UnknownModels::Forward),
        clear_route_cache: root.boolean("clear_route_cache") == Some(true),
        strategy: strategy(root).unwrap_or(Strategy::Priority),
        models,
        signals: signals.rules,
        decisions,
        security: extension.security,
        deadline: extension.deadline,
        external_models: external_models(root.list("external_models")),
        identity: Identity::default(),
        tools,
        access: extension.access,
        reliability: extension.reliability,
        cache,
        tracing: tracing::read(root),
    }
}

fn signals<'a>(root: &Section<'a>) -> SignalRules<'a> {
    let mut defaults = Defaults::default();
    let facts = root.section("hallucination_mitigation");
    let facts = facts.and_then(|section| threshold_of(&section, "fact_check_model"));
    defaults.fact_check = facts.unwrap_or(Defaults::FACT_CHECK);
    if let Some(detector) = root.section("feedback_detector") {
        let threshold = detector.fraction("threshold");
        defaults.feedback = threshold.unwrap_or(Defaults::FEEDBACK);
        defaults.feedback_enabled = detector.boolean("enabled") != Some(false);
    }
    let mut rules = SignalRules::default();
    rules.domains(root.list("categories"));
    rules.keywords(root.list("keyword_rules"));
    rules.embeddings(root.list("embedding_rules"));
    rules.fact_checks(root.list("fact_check_rules"), &defaults);
    rules.feedbacks(root.list("user_feedback_rules"), &defaults);
    rules.preferences(root.list("preference_rules"));
    rules
}

fn threshold_of(section: &Section<'_>, key: &'static str) -> Option<f32> {
    section.section(key)?.fraction("threshold")
}

pub(super) fn strategy(section: &Section<'_>) -> Option<Strategy> {
    let strategies = [
        ("priority", Strategy::Priority),
        ("confidence", Strategy::Confidence),
    ];
    section.choice("strategy", &strategies)
}

pub(super) fn default_model(
    section: &Section<'_>,
    models: &mut Vec<ModelConfig>,
) -> Option<String> {
    let cursor = section.get("default_model")?;
    let name = cursor.text().filter(|name| !name.is_empty())?;
    require_model(models, &name, &cursor);
    Some(name)
}

/// `vllm_endpoints`.
fn endpoints(root: &Section<'_>) -> Vec<Backend> {
    let endpoints = root.list("vllm_endpoints").into_iter();
    let endpoints = endpoints.filter_map(|cursor| {
        let section = cursor.section()?;
        let name = section.required("name");
        let host = section.required("address");
        let port = section.integer("port");
        let weight = section.get("weight").and_then(|cursor| cursor.number());
        let (host, port) = (host?, port?);
        let authority = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let path = section.text("path").unwrap_or_default();
        Some(Backend {
            name: name?,
            address: Address {
                tls: false,
                authority,
                path: path.trim_end_matches('/').to_owned(),
            },
            weight: weight.unwrap_or(1.0),
            credential: None,
            headers: Vec::new(),
        })
    });
    endpoints.collect()
}

fn models(root: &Section<'_>, families: &Families, endpoints: &[Backend]) -> Vec<ModelConfig> {
    let Some(cursor) = root.get("model_config") else {
        return Vec::new();
    };
    let models = cursor.entries().into_iter();
    models
        .map(|(name, cursor)| model(name, cursor, families, endpoints))
        .collect()
}

fn model(
    name: String,
    cursor: Cursor<'_>,
    families: &Families,
    endpoints: &[Backend],
) -> ModelConfig {
    let mut model = ModelConfig {
        name,
        ..ModelConfig::default()
    };
    // `name:` without settings is a model, too.
    if cursor.is_null() {
        return model;
    }
    let Some(section) = cursor.section() else {
        return model;
    };
    model.reasoning = family_of(&section, families);
    let key = section.text("access_key").filter(|key| !key.is_empty());
    model.credential = key.as_deref().map(bearer);
    model.backends = preferred(&section, endpoints);
    for backend in &mut model.backends {
        backend.credential.clone_from(&model.credential);
    }
    model.endpoint = heaviest(&model.backends);
    model.loras = loras(&section);
    model.pricing = pricing(&section);
    model.quality = section.fraction("quality_score");
    model
}

/// `preferred_endpoints`.
fn preferred(section: &Section<'_>, endpoints: &[Backend]) -> Vec<Backend> {
    let backends = section.list("preferred_endpoints").into_iter();
    let backends = backends.filter_map(|cursor| {
        let name = cursor.text()?;
        let known = endpoints.iter().find(|endpoint| endpoint.name == name);
        if known.is_none() {
            let names = endpoints.iter().map(|endpoint| endpoint.name.as_str());
            cursor.error(unknown("endpoint", &name, names));
        }
        known.cloned()
    });
    backends.collect()
}

/// `prompt_guard` and `classifier`: where models come from is not the router's business, what
/// counts as a finding is.
fn security(root: &Section<'_>) -> SecurityPolicy {
    let mut policy = SecurityPolicy::default();
    if let Some(guard) = root.section("prompt_guard")
        && let Some(enabled) = guard.boolean("enabled")
    {
        let own = plugin::jailbreak_policy(&guard, &JailbreakPolicy::default());
        policy.jailbreak = plugin::or_off(enabled, own);
    }
    let pii = root
        .section("classifier")
        .and_then(|classifier| classifier.section("pii_model"));
    if let Some(pii) = pii {
        policy.pii = Override::On(PiiPolicy {
            threshold: pii
                .fraction("threshold")
                .unwrap_or(PiiPolicy::DEFAULT_THRESHOLD),
            ..PiiPolicy::default()
        });
    }
    policy
}
