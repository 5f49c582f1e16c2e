//! Decisions: rules, candidates and plugins, the same in both layouts.

use super::provider::{effort, require_model};
use super::reader::{Cursor, Section, unknown};
use super::signal::{Found, SignalRules, jailbreak_policy, pii_policy};
use super::{
    Decision, HeaderMutation, ModelConfig, ModelRef, Override, Plugins, PromptMode, Rule,
    SecurityPolicy, Selection, SystemPrompt,
};

/// What decisions may refer to.
pub(super) struct Context<'a> {
    pub(super) models: &'a mut Vec<ModelConfig>,
    pub(super) signals: &'a mut SignalRules,
    /// Thresholds of plugins that name none.
    pub(super) defaults: &'a SecurityPolicy,
    /// What a decision without conditions means.
    pub(super) empty: Rule,
}

/// Plugins that exist elsewhere and not here yet.
const UNSUPPORTED_PLUGINS: [&str; 15] = [
    "semantic-cache",
    "response_cache",
    "hallucination",
    "response_jailbreak",
    "request_params",
    "router_replay",
    "memory",
    "rag",
    "image_gen",
    "tools",
    "tool_selection",
    "context_compression",
    "content_safety",
    "modality",
    "personalization",
];

const PLUGINS: [&str; 5] = [
    "system_prompt",
    "header_mutation",
    "pii",
    "jailbreak",
    "fast_response",
];

/// Headers that belong to the transport.
const RESERVED_HEADERS: [&str; 5] = [
    "content-length",
    "host",
    "connection",
    "transfer-encoding",
    "x-selected-model",
];

pub(super) fn read(list: Vec<Cursor<'_>>, context: &mut Context<'_>) -> Vec<Decision> {
    let mut decisions: Vec<Decision> = Vec::with_capacity(list.len());
    for cursor in list {
        let at = cursor.clone();
        let Some(decision) = decision(cursor, context) else {
            continue;
        };
        if decisions.iter().any(|other| other.name == decision.name) {
            at.error(format!("decision `{}` is defined twice", decision.name));
        }
        decisions.push(decision);
    }
    decisions
}

fn decision(cursor: Cursor<'_>, context: &mut Context<'_>) -> Option<Decision> {
    let section = cursor.section()?;
    let name = section.required("name");
    let rule = match section.get("rules") {
        Some(rules) => rule(rules, context),
        None => Some(context.empty.clone()),
    };
    let plugins = plugins(&section, context.defaults);
    let models = section.list("modelRefs");
    if models.is_empty() && plugins.fast_response.is_none() {
        section.at.error("`modelRefs` must name at least one model");
    }
    let models = models.into_iter();
    let models = models
        .filter_map(|cursor| model_ref(cursor, context.models))
        .collect();
    let decision = Decision {
        name: name.unwrap_or_default(),
        priority: section.integer("priority").unwrap_or(0),
        tier: section.integer("tier").unwrap_or(0),
        rule: rule.unwrap_or(Rule::Never),
        models,
        selection: selection(&section),
        plugins,
    };
    section.text("description");
    section.ignore(&[
        "output_contract",
        "output_contract_spec",
        "candidateIterations",
        "adaptations",
        "emits",
        "annotations",
    ]);
    section.finish();
    Some(decision)
}

fn rule(cursor: Cursor<'_>, context: &mut Context<'_>) -> Option<Rule> {
    let section = cursor.section()?;
    if section.has("type") {
        return leaf(section, context);
    }
    #[derive(Clone, Copy)]
    enum Operator {
        And,
        Or,
        Not,
    }
    let operators = [
        ("AND", Operator::And),
        ("OR", Operator::Or),
        ("NOT", Operator::Not),
    ];
    let operator = section.choice("operator", &operators);
    let conditions = section.list("conditions");
    let parts: Vec<Rule> = conditions
        .into_iter()
        .filter_map(|condition| rule(condition, context))
        .collect();
    if parts.is_empty() {
        section.finish();
        return Some(context.empty.clone());
    }
    let rule = match operator.unwrap_or(Operator::Or) {
        Operator::And => Rule::All(parts),
        Operator::Or => Rule::Any(parts),
        Operator::Not => Rule::Not(Box::new(Rule::Any(parts))),
    };
    section.finish();
    Some(rule)
}

fn leaf(section: Section<'_>, context: &mut Context<'_>) -> Option<Rule> {
    let kind = section.required("type");
    let legacy = section.text("rule_name");
    let name = section.text("name").or_else(|| legacy.clone());
    let at = section.get("name").unwrap_or_else(|| section.at.clone());
    for key in ["label", "predicate", "on_error"] {
        section.get(key);
    }
    section.finish();
    let Some(name) = name else {
        at.error("`name` is missing");
        return None;
    };
    match context.signals.find(&kind?, &name) {
        Found::Signal(signal) => Some(Rule::Signal(signal)),
        Found::Unsupported => {
            at.warn("this signal is not supported yet: the condition never matches");
            Some(Rule::Never)
        }
        // The key `rule_name` never had an effect, so a file that uses it cannot rely on it.
        Found::Unknown(message) if legacy.is_some() => {
            at.warn(format!("{message}: the condition never matches"));
            Some(Rule::Never)
        }
        Found::Unknown(message) => {
            at.error(message);
            None
        }
    }
}

fn model_ref(cursor: Cursor<'_>, models: &mut Vec<ModelConfig>) -> Option<ModelRef> {
    let section = cursor.section()?;
    let model = section.required("model");
    if let Some(name) = &model
        && let Some(at) = section.get("model")
    {
        require_model(models, name, &at);
    }
    let lora = section.text("lora_name");
    if let (Some(lora), Some(name)) = (&lora, &model) {
        let known = models.iter().find(|model| model.name == *name);
        let loras = known.map_or(&[][..], |model| &model.loras);
        if !loras.contains(lora) {
            let names = loras.iter().map(String::as_str);
            section.at.error(unknown("lora_name", lora, names));
        }
    }
    let weight = section.get("weight").and_then(|cursor| {
        let number = cursor.number()?;
        if number < 0.0 {
            cursor.error("must not be negative");
        }
        Some(number)
    });
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a share needs no more than seven digits"
    )]
    let weight = weight.unwrap_or(1.0) as f32;
    let use_reasoning = section.boolean("use_reasoning").unwrap_or(false);
    let effort = effort(&section, "reasoning_effort");
    section.text("reasoning_description");
    section.finish();
    Some(ModelRef {
        model: model?,
        lora,
        weight,
        use_reasoning,
        effort,
    })
}

fn selection(section: &Section<'_>) -> Selection {
    let Some(algorithm) = section.section("algorithm") else {
        return Selection::Static;
    };
    let Some(kind) = algorithm.get("type") else {
        return Selection::Static;
    };
    match kind.text().as_deref() {
        Some("static") | None => Selection::Static,
        Some("weighted") => Selection::Weighted,
        Some(_) => {
            kind.warn("not supported yet: the model of the highest weight is used");
            Selection::Static
        }
    }
}

fn plugins(section: &Section<'_>, defaults: &SecurityPolicy) -> Plugins {
    let mut plugins = Plugins::default();
    for cursor in section.list("plugins") {
        let Some(plugin) = cursor.section() else {
            continue;
        };
        let Some(kind) = plugin.required("type") else {
            continue;
        };
        if UNSUPPORTED_PLUGINS.contains(&kind.as_str()) {
            plugin
                .at
                .warn(format!("plugin `{kind}` is not supported yet"));
            continue;
        }
        if !PLUGINS.contains(&kind.as_str()) {
            let known = PLUGINS.into_iter().chain(UNSUPPORTED_PLUGINS);
            plugin.at.error(unknown("plugin", &kind, known));
            continue;
        }
        match plugin.section("configuration") {
            Some(configuration) => apply(&mut plugins, &kind, configuration, defaults),
            None => plugin.at.error("`configuration` is missing"),
        }
        plugin.finish();
    }
    plugins
}

fn apply(plugins: &mut Plugins, kind: &str, section: Section<'_>, defaults: &SecurityPolicy) {
    let enabled = section.boolean("enabled").unwrap_or(true);
    let built_in = SecurityPolicy::built_in();
    match kind {
        "system_prompt" => plugins.system_prompt = system_prompt(&section, enabled),
        "header_mutation" => plugins.headers = header_mutation(&section),
        "pii" => {
            let default = defaults.pii.as_ref().or(built_in.pii.as_ref());
            let policy = default.map(|default| pii_policy(&section, default));
            plugins.pii = or_off(policy.filter(|_| enabled));
        }
        "jailbreak" => {
            let default = defaults.jailbreak.as_ref().or(built_in.jailbreak.as_ref());
            let policy = default.map(|default| jailbreak_policy(&section, default));
            plugins.jailbreak = or_off(policy.filter(|_| enabled));
        }
        _ => plugins.fast_response = section.required("message").filter(|_| enabled),
    }
    section.finish();
}

fn or_off<T>(policy: Option<T>) -> Override<T> {
    policy.map_or(Override::Off, Override::On)
}

fn system_prompt(section: &Section<'_>, enabled: bool) -> Option<SystemPrompt> {
    let modes = [
        ("replace", PromptMode::Replace),
        ("insert", PromptMode::Insert),
    ];
    let mode = section.choice("mode", &modes);
    let text = section.text("system_prompt")?;
    (enabled && !text.is_empty()).then(|| SystemPrompt {
        text,
        mode: mode.unwrap_or(PromptMode::Replace),
    })
}

fn header_mutation(section: &Section<'_>) -> HeaderMutation {
    let mut headers = HeaderMutation::default();
    for key in ["add", "update"] {
        for cursor in section.list(key) {
            let Some(pair) = cursor.section() else {
                continue;
            };
            let name = pair.required("name");
            let value = pair.text("value");
            if let Some(name) = name {
                let value = value.unwrap_or_default();
                if value.chars().any(char::is_control) {
                    pair.at.error("the value must not hold control characters");
                }
                headers
                    .set
                    .extend(header_name(&pair.at, &name).map(|name| (name, value)));
            }
            pair.finish();
        }
    }
    for cursor in section.list("delete") {
        let name = cursor.text();
        let name = name.and_then(|name| header_name(&cursor, &name));
        headers.remove.extend(name);
    }
    headers
}

fn header_name(at: &Cursor<'_>, name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let valid = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !valid || name.is_empty() {
        at.error(format!("`{name}` is not a header name"));
        return None;
    }
    if RESERVED_HEADERS.contains(&name.as_str()) {
        at.error(format!("header `{name}` belongs to the transport"));
        return None;
    }
    Some(name)
}
