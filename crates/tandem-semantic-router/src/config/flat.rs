//! The flat layout of v0.1.0.

use super::decision::{self, Context};
use super::provider::{Families, bearer, families, family_of, loras, require_model};
use super::reader::{Cursor, Section, unknown};
use super::signal::{ON_ERROR, SignalRules, domains, keywords};
use super::{
    JailbreakPolicy, ModelConfig, OnError, PiiPolicy, PiiTypes, RouterConfig, Rule, SECRET_PII,
    SecurityPolicy, Strategy, UnknownModels, extension,
};

/// Keys whose parts do not exist here (yet); the files that set them still load.
const IGNORED: [&str; 16] = [
    "config_source",
    "mom_registry",
    "bert_model",
    "embedding_models",
    "embedding_rules",
    "fact_check_rules",
    "user_feedback_rules",
    "preference_rules",
    "external_models",
    "feedback_detector",
    "hallucination_mitigation",
    "semantic_cache",
    "response_api",
    "tools",
    "api",
    "observability",
];

/// An entry of `vllm_endpoints`.
struct Endpoint {
    name: String,
    address: String,
    weight: f64,
}

pub(super) fn read(root: Section<'_>) -> Option<RouterConfig> {
    let families = families(&root);
    let endpoints = endpoints(&root);
    let mut models = models(&root, &families, &endpoints);
    let mut signals = SignalRules {
        domains: domains(root.list("categories")),
        keywords: keywords(root.list("keyword_rules")),
        ..SignalRules::default()
    };
    let security = security(&root);
    let extension = extension::read(&root, security);
    let default_model = default_model(&root, &mut models);
    let mut context = Context {
        models: &mut models,
        signals: &mut signals,
        defaults: &extension.security,
        empty: Rule::Never,
    };
    let decisions = decision::read(root.list("decisions"), &mut context);
    let auto = root.text("auto_model_name").filter(|name| !name.is_empty());
    let config = RouterConfig {
        auto_models: vec![auto.unwrap_or_else(|| "MoM".to_owned())],
        default_model,
        list_models: root.boolean("include_config_models_in_list") == Some(true),
        // The flat layout never listed all models: it says only how to treat some.
        unknown_models: extension.unknown_models.unwrap_or(UnknownModels::Forward),
        clear_route_cache: root.boolean("clear_route_cache") == Some(true),
        strategy: strategy(&root).unwrap_or(Strategy::Priority),
        models,
        domains: signals.domains,
        keywords: signals.keywords,
        jailbreaks: Vec::new(),
        pii: Vec::new(),
        decisions,
        security: extension.security,
        deadline: extension.deadline,
    };
    root.ignore(&IGNORED);
    root.finish();
    Some(config)
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

fn endpoints(root: &Section<'_>) -> Vec<Endpoint> {
    let endpoints = root
        .list("vllm_endpoints")
        .into_iter()
        .filter_map(|cursor| {
            let section = cursor.section()?;
            let name = section.required("name");
            let host = section.required("address");
            let port = section.integer("port");
            if !port.is_some_and(|port| (1..=65535).contains(&port)) {
                section.at.error("`port` must be from 1 to 65535");
            }
            let weight = section.get("weight").and_then(|cursor| cursor.number());
            section.ignore(&["type", "path"]);
            section.finish();
            let (host, port) = (host?, port?);
            let address = if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            };
            Some(Endpoint {
                name: name?,
                address,
                weight: weight.unwrap_or(1.0),
            })
        });
    endpoints.collect()
}

fn models(root: &Section<'_>, families: &Families, endpoints: &[Endpoint]) -> Vec<ModelConfig> {
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
    endpoints: &[Endpoint],
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
    model.endpoint = preferred_endpoint(&section, endpoints);
    model.loras = loras(&section);
    section.ignore(&["pricing", "pii_policy", "param_size"]);
    section.finish();
    model
}

/// The heaviest of `preferred_endpoints`, the first of equals.
fn preferred_endpoint(section: &Section<'_>, endpoints: &[Endpoint]) -> Option<String> {
    let mut best: Option<&Endpoint> = None;
    for cursor in section.list("preferred_endpoints") {
        let Some(name) = cursor.text() else {
            continue;
        };
        let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.name == name) else {
            let names = endpoints.iter().map(|endpoint| endpoint.name.as_str());
            cursor.error(unknown("endpoint", &name, names));
            continue;
        };
        if best.is_none_or(|best| endpoint.weight > best.weight) {
            best = Some(endpoint);
        }
    }
    best.map(|endpoint| endpoint.address.clone())
}

/// `prompt_guard` and `classifier`: where models come from is not the router's business, what
/// counts as a finding is.
fn security(root: &Section<'_>) -> SecurityPolicy {
    let mut policy = SecurityPolicy::default();
    if let Some(guard) = root.section("prompt_guard") {
        let threshold = guard.fraction("threshold");
        let on_error = guard.choice("on_error", &ON_ERROR);
        if guard.boolean("enabled") == Some(true) {
            policy.jailbreak = Some(JailbreakPolicy {
                threshold: threshold.unwrap_or(JailbreakPolicy::DEFAULT_THRESHOLD),
                on_error: on_error.unwrap_or(OnError::Allow),
            });
        }
        guard.ignore(&[
            "model_id",
            "use_cpu",
            "use_modernbert",
            "use_vllm",
            "jailbreak_mapping_path",
        ]);
        guard.finish();
    }
    if let Some(classifier) = root.section("classifier") {
        if let Some(pii) = classifier.section("pii_model") {
            let threshold = pii.fraction("threshold");
            policy.pii = Some(PiiPolicy {
                types: PiiTypes::Only(SECRET_PII.map(str::to_owned).to_vec()),
                threshold: threshold.unwrap_or(PiiPolicy::DEFAULT_THRESHOLD),
                on_error: OnError::Allow,
            });
            pii.ignore(&["model_id", "use_cpu", "use_modernbert", "pii_mapping_path"]);
            pii.finish();
        }
        classifier.ignore(&["category_model", "mcp_category_model"]);
        classifier.finish();
    }
    policy
}
