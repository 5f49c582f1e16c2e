//! The layered layout, `version: v0.3`.

use super::backend;
use super::decision::{self, Context};
use super::flat::{default_model, strategy};
use super::provider::{Families, external_models, families, family_of, heaviest, loras, pricing};
use super::reader::{Cursor, Section};
use super::rules::{Defaults, SignalRules};
use super::{cache, extension, features, plugin, tracing};
use crate::config::{
    CacheConfig, Identity, ModelConfig, Reliability, RouterConfig, Rule, SecurityPolicy, Strategy,
    ToolSearch, Tracing, UnknownModels,
};

pub(super) fn read(root: &Section<'_>) -> RouterConfig {
    if let Some(version) = root.get("version")
        && version.text().is_some_and(|text| text != "v0.3")
    {
        version.error("only `v0.3` and the flat layout without `version` are known");
    }
    let extension = extension::read(root, SecurityPolicy::default());
    let providers = root.section("providers");
    let provider_defaults = providers
        .as_ref()
        .and_then(|section| section.section("defaults"));
    let families = provider_defaults.as_ref().map(families).unwrap_or_default();
    let mut models = match &providers {
        Some(providers) => models(providers, &families, &extension.reliability),
        None => Vec::new(),
    };
    let global = Global::read(root);
    let routing = root.section("routing");
    if let Some(routing) = &routing {
        model_cards(routing, &mut models);
    }
    let default_model = provider_defaults
        .as_ref()
        .and_then(|section| default_model(section, &mut models));
    let mut signals = SignalRules::default();
    if let Some(section) = routing
        .as_ref()
        .and_then(|routing| routing.section("signals"))
    {
        read_signals(&mut signals, &section, &global.defaults);
    }
    let mut context = Context {
        models: &mut models,
        signals: &mut signals,
        defaults: &extension.security,
        tools: global.tools.as_ref(),
        cache: &global.cache.policy,
        empty: Rule::Always,
    };
    let decisions = match &routing {
        Some(routing) => decision::read(routing.list("decisions"), &mut context),
        None => Vec::new(),
    };
    let own_strategy = routing.as_ref().and_then(strategy);
    RouterConfig {
        auto_models: global.auto_models,
        default_model,
        list_models: global.list_models,
        unknown_models: extension.unknown_models.unwrap_or(UnknownModels::Reject),
        clear_route_cache: global.clear_route_cache,
        strategy: own_strategy
            .or(global.strategy)
            .unwrap_or(Strategy::Priority),
        models,
        signals: signals.rules,
        decisions,
        security: extension.security,
        deadline: extension.deadline,
        external_models: global.external_models,
        identity: global.identity,
        tools: global.tools,
        access: extension.access,
        reliability: extension.reliability,
        cache: global.cache,
        tracing: global.tracing,
    }
}

fn models(
    providers: &Section<'_>,
    families: &Families,
    defaults: &Reliability,
) -> Vec<ModelConfig> {
    let models = providers.list("models").into_iter();
    models
        .filter_map(|cursor| model(cursor, families, defaults))
        .collect()
}

fn model(cursor: Cursor<'_>, families: &Families, defaults: &Reliability) -> Option<ModelConfig> {
    let section = cursor.section()?;
    let name = section.required("name");
    let upstream = section.text("provider_model_id");
    let reasoning = family_of(&section, families);
    if let Some(format) = section.get("api_format")
        && format.text().is_some_and(|text| text != "openai")
    {
        format.warn("requests are sent in the OpenAI format, the only one that is spoken");
    }
    let (backends, credential) = backend::backends(section.list("backend_refs"));
    let reliability = section.section("reliability");
    let reliability = reliability.map_or_else(
        || defaults.clone(),
        |section| backend::reliability(&section, defaults),
    );
    let name = name?;
    Some(ModelConfig {
        upstream_name: upstream.filter(|upstream| *upstream != name),
        name,
        reasoning,
        credential,
        endpoint: heaviest(&backends),
        pricing: pricing(&section),
        reliability,
        backends,
        ..ModelConfig::default()
    })
}

fn model_cards(routing: &Section<'_>, models: &mut Vec<ModelConfig>) {
    for cursor in routing.list("modelCards") {
        let Some(card) = cursor.section() else {
            continue;
        };
        let Some(name) = card.required("name") else {
            continue;
        };
        let at = models.iter().position(|model| model.name == name);
        let at = at.unwrap_or_else(|| {
            models.push(ModelConfig {
                name,
                ..ModelConfig::default()
            });
            models.len() - 1
        });
        models[at].loras = loras(&card);
        models[at].quality = card.fraction("quality_score");
    }
}

fn read_signals<'a>(rules: &mut SignalRules<'a>, section: &Section<'a>, defaults: &Defaults) {
    rules.domains(section.list("domains"));
    rules.keywords(section.list("keywords"));
    rules.embeddings(section.list("embeddings"));
    rules.fact_checks(section.list("fact_check"), defaults);
    rules.feedbacks(section.list("user_feedbacks"), defaults);
    rules.preferences(section.list("preferences"));
    rules.reasks(section.list("reasks"));
    rules.languages(section.list("language"));
    rules.contexts(section.list("context"));
    rules.complexities(section.list("complexity"));
    rules.roles(section.list("role_bindings"));
    rules.jailbreaks(section.list("jailbreak"), &defaults.jailbreak);
    rules.pii(section.list("pii"), &defaults.pii);
    features::structures(rules, section.list("structure"));
    features::conversations(rules, section.list("conversation"));
}

/// What `global` says that matters here.
struct Global {
    auto_models: Vec<String>,
    list_models: bool,
    clear_route_cache: bool,
    strategy: Option<Strategy>,
    defaults: Defaults,
    external_models: Vec<crate::config::ExternalModel>,
    identity: Identity,
    tools: Option<ToolSearch>,
    cache: CacheConfig,
    tracing: Option<Tracing>,
}

impl Global {
    fn read(root: &Section<'_>) -> Self {
        let mut global = Self {
            auto_models: vec!["MoM".to_owned()],
            list_models: false,
            clear_route_cache: true,
            strategy: None,
            defaults: Defaults::default(),
            external_models: Vec::new(),
            identity: Identity::default(),
            tools: None,
            cache: CacheConfig::default(),
            tracing: None,
        };
        let Some(section) = root.section("global") else {
            return global;
        };
        if let Some(router) = section.section("router") {
            global.router(&router);
        }
        if let Some(catalog) = section.section("model_catalog") {
            global.external_models = external_models(catalog.list("external"));
            if let Some(modules) = catalog.section("modules") {
                global.modules(&modules);
            }
        }
        let services = section.section("services");
        global.tracing = services.as_ref().and_then(tracing::read);
        let authz = services.and_then(|services| services.section("authz"));
        if let Some(identity) = authz.and_then(|authz| authz.section("identity")) {
            global.identity(&identity);
        }
        let stores = section.section("stores");
        if let Some(cache) = stores.and_then(|stores| stores.section("response_cache")) {
            global.cache = cache::read(&cache);
        }
        let tools = section
            .section("integrations")
            .and_then(|integrations| integrations.section("tools"));
        global.tools = tools.and_then(|tools| plugin::global_tools(&tools, None));
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
    }

    fn identity(&mut self, identity: &Section<'_>) {
        if let Some(name) = identity.text("user_id_header") {
            self.identity.user_header = name.to_ascii_lowercase();
        }
        if let Some(name) = identity.text("user_groups_header") {
            self.identity.groups_header = name.to_ascii_lowercase();
        }
    }

    /// The modules' thresholds are the defaults of the rules; their models are not ours.
    fn modules(&mut self, modules: &Section<'_>) {
        let defaults = &mut self.defaults;
        if let Some(guard) = modules.section("prompt_guard") {
            defaults.jailbreak = plugin::jailbreak_policy(&guard, &defaults.jailbreak);
        }
        let pii = modules
            .section("classifier")
            .and_then(|classifier| classifier.section("pii"));
        if let Some(pii) = pii {
            defaults.pii = plugin::pii_policy(&pii, &defaults.pii);
        }
        if let Some(detector) = modules.section("feedback_detector") {
            let threshold = detector.fraction("threshold");
            defaults.feedback = threshold.unwrap_or(defaults.feedback);
            defaults.feedback_enabled = detector.boolean("enabled") != Some(false);
        }
        let facts = modules
            .section("hallucination_mitigation")
            .and_then(|section| section.section("fact_check"));
        if let Some(threshold) = facts.and_then(|facts| facts.fraction("threshold")) {
            defaults.fact_check = threshold;
        }
    }
}
