//! The layered layout, `version: v0.3`.

use super::decision::{self, Context};
use super::flat::{default_model, strategy};
use super::provider::{Families, bearer, families, family_of, loras};
use super::reader::{Cursor, Section};
use super::signal::{ON_ERROR, SignalRules, domains, jailbreaks, keywords, pii};
use super::{
    Credential, JailbreakPolicy, ModelConfig, OnError, PiiPolicy, PiiTypes, RouterConfig, Rule,
    SecurityPolicy, Strategy, UnknownModels, extension,
};

pub(super) fn read(root: Section<'_>) -> Option<RouterConfig> {
    if let Some(version) = root.get("version")
        && version.text().is_some_and(|text| text != "v0.3")
    {
        version.error("only `v0.3` and the flat layout without `version` are known");
    }
    let extension = extension::read(&root, SecurityPolicy::default());
    let providers = root.section("providers");
    let defaults = providers
        .as_ref()
        .and_then(|section| section.section("defaults"));
    let families = defaults.as_ref().map(families).unwrap_or_default();
    let mut models = match &providers {
        Some(providers) => models(providers, &families),
        None => Vec::new(),
    };
    let global = Global::read(&root);
    let routing = root.section("routing");
    if let Some(routing) = &routing {
        model_cards(routing, &mut models);
    }
    let default_model = defaults
        .as_ref()
        .and_then(|section| default_model(section, &mut models));
    let mut signals = match &routing {
        Some(routing) => signals(routing, &global),
        None => SignalRules::default(),
    };
    let mut context = Context {
        models: &mut models,
        signals: &mut signals,
        defaults: &extension.security,
        empty: Rule::Always,
    };
    let mut own_strategy = None;
    let mut decisions = Vec::new();
    if let Some(routing) = routing {
        decisions = decision::read(routing.list("decisions"), &mut context);
        own_strategy = strategy(&routing);
        routing.ignore(&["projections"]);
        routing.finish();
    }
    for section in [defaults, providers].into_iter().flatten() {
        section.finish();
    }
    root.ignore(&["listeners", "entrypoints", "recipes"]);
    root.finish();
    Some(RouterConfig {
        auto_models: global.auto_models,
        default_model,
        list_models: global.list_models,
        unknown_models: extension.unknown_models.unwrap_or(UnknownModels::Reject),
        clear_route_cache: global.clear_route_cache,
        strategy: own_strategy
            .or(global.strategy)
            .unwrap_or(Strategy::Priority),
        models,
        domains: signals.domains,
        keywords: signals.keywords,
        jailbreaks: signals.jailbreaks,
        pii: signals.pii,
        decisions,
        security: extension.security,
        deadline: extension.deadline,
    })
}

fn models(providers: &Section<'_>, families: &Families) -> Vec<ModelConfig> {
    let models = providers.list("models").into_iter();
    models
        .filter_map(|cursor| model(cursor, families))
        .collect()
}

fn model(cursor: Cursor<'_>, families: &Families) -> Option<ModelConfig> {
    let section = cursor.section()?;
    let name = section.required("name");
    let upstream = section.text("provider_model_id");
    let reasoning = family_of(&section, families);
    let mut credentials = section.list("backend_refs").into_iter();
    let credential = credentials.find_map(backend_credential);
    section.ignore(&["external_model_ids", "pricing", "reliability"]);
    if let Some(format) = section.get("api_format")
        && format.text().is_some_and(|text| text != "openai")
    {
        format.warn("only the OpenAI format is spoken here");
    }
    section.finish();
    let name = name?;
    Some(ModelConfig {
        upstream_name: upstream.filter(|upstream| *upstream != name),
        name,
        reasoning,
        credential,
        ..ModelConfig::default()
    })
}

/// The credential of a backend. Where requests go is the transport's business, so addresses and
/// weights are not read.
fn backend_credential(cursor: Cursor<'_>) -> Option<Credential> {
    let section = cursor.section()?;
    let header = section.text("auth_header");
    let prefix = section.text("auth_prefix");
    let from_env = section.get("api_key_env").and_then(|cursor| {
        let name = cursor.text()?;
        let key = cursor.variable(&name);
        if key.is_none() {
            cursor.warn(format!("environment variable `{name}` is not set"));
        }
        key
    });
    let key = section.text("api_key").or(from_env);
    for key in ["name", "endpoint", "protocol", "weight", "type", "base_url"] {
        section.get(key);
    }
    section.ignore(&["provider", "extra_headers", "api_version", "chat_path"]);
    section.finish();
    let key = key.filter(|key| !key.is_empty())?;
    let mut credential = bearer(&key);
    if let Some(header) = header {
        credential.header = header.to_ascii_lowercase();
        credential.value = match prefix.as_deref() {
            None | Some("") => key,
            Some(prefix) => format!("{prefix} {key}"),
        };
    }
    Some(credential)
}

fn model_cards(routing: &Section<'_>, models: &mut Vec<ModelConfig>) {
    for cursor in routing.list("modelCards") {
        let Some(card) = cursor.section() else {
            continue;
        };
        let name = card.required("name");
        let loras = loras(&card);
        for key in [
            "param_size",
            "context_window_size",
            "description",
            "capabilities",
            "quality_score",
            "modality",
            "tags",
        ] {
            card.get(key);
        }
        card.finish();
        let Some(name) = name else {
            continue;
        };
        if let Some(model) = models.iter_mut().find(|model| model.name == name) {
            model.loras = loras;
        } else {
            models.push(ModelConfig {
                name,
                loras,
                ..ModelConfig::default()
            });
        }
    }
}

fn signals(routing: &Section<'_>, global: &Global) -> SignalRules {
    let Some(section) = routing.section("signals") else {
        return SignalRules::default();
    };
    let rules = SignalRules {
        domains: domains(section.list("domains")),
        keywords: keywords(section.list("keywords")),
        jailbreaks: jailbreaks(section.list("jailbreak"), &global.jailbreak),
        pii: pii(section.list("pii"), &global.pii),
    };
    section.ignore(&[
        "embeddings",
        "fact_check",
        "user_feedbacks",
        "reasks",
        "preferences",
        "language",
        "context",
        "structure",
        "complexity",
        "modality",
        "role_bindings",
        "kb",
        "conversation",
        "events",
        "metadata",
        "classifiers",
    ]);
    section.finish();
    rules
}

/// What `global` says that matters here.
struct Global {
    auto_models: Vec<String>,
    list_models: bool,
    clear_route_cache: bool,
    strategy: Option<Strategy>,
    /// Defaults of the jailbreak rules.
    jailbreak: JailbreakPolicy,
    /// Defaults of the personal data rules.
    pii: PiiPolicy,
}

impl Global {
    fn read(root: &Section<'_>) -> Self {
        let mut global = Self {
            auto_models: vec!["MoM".to_owned()],
            list_models: false,
            clear_route_cache: true,
            strategy: None,
            jailbreak: JailbreakPolicy {
                threshold: JailbreakPolicy::DEFAULT_THRESHOLD,
                on_error: OnError::Allow,
            },
            pii: PiiPolicy {
                types: PiiTypes::AllBut(Vec::new()),
                threshold: 0.9,
                on_error: OnError::Allow,
            },
        };
        let Some(section) = root.section("global") else {
            return global;
        };
        if let Some(router) = section.section("router") {
            global.router(&router);
            router.finish();
        }
        if let Some(catalog) = section.section("model_catalog") {
            if let Some(modules) = catalog.section("modules") {
                global.modules(&modules);
            }
            catalog.ignore(&["embeddings", "system", "external", "kbs"]);
            catalog.finish();
        }
        section.ignore(&["services", "stores", "integrations"]);
        section.finish();
        global
    }

    fn router(&mut self, router: &Section<'_>) {
        let name = router.text("auto_model_name");
        let mut names: Vec<String> = name.into_iter().filter(|name| !name.is_empty()).collect();
        for name in router.texts("auto_model_names") {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if !names.is_empty() {
            self.auto_models = names;
        }
        self.list_models = router.boolean("include_config_models_in_list") == Some(true);
        self.clear_route_cache = router.boolean("clear_route_cache").unwrap_or(true);
        self.strategy = strategy(router);
        router.ignore(&[
            "config_source",
            "streamed_body",
            "skip_processing",
            "model_selection",
            "learning",
        ]);
    }

    /// The modules' thresholds are the defaults of the rules; their models are not ours.
    fn modules(&mut self, modules: &Section<'_>) {
        if let Some(guard) = modules.section("prompt_guard") {
            if let Some(threshold) = guard.fraction("threshold") {
                self.jailbreak.threshold = threshold;
            }
            if let Some(on_error) = guard.choice("on_error", &ON_ERROR) {
                self.jailbreak.on_error = on_error;
            }
        }
        let pii = modules
            .section("classifier")
            .and_then(|classifier| classifier.section("pii"));
        if let Some(threshold) = pii.and_then(|pii| pii.fraction("threshold")) {
            self.pii.threshold = threshold;
        }
    }
}
