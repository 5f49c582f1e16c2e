//! Decisions: rules and candidates, the same in both layouts.

use super::plugin;
use super::provider::{effort, require_model};
use super::reader::{Cursor, Section, unknown};
use super::rules::{Found, SignalRules};
use super::selection::{load_aware, selection};
use crate::config::{
    CachePolicy, Decision, ModelConfig, ModelRef, OnError, Rule, SecurityPolicy, ToolSearch,
};

/// What decisions may refer to.
pub(super) struct Context<'a, 'r> {
    pub(super) models: &'a mut Vec<ModelConfig>,
    pub(super) signals: &'a mut SignalRules<'r>,
    /// Thresholds of plugins that name none.
    pub(super) defaults: &'a SecurityPolicy,
    /// The global tool database, whose settings are the defaults of the plugin.
    pub(super) tools: Option<&'a ToolSearch>,
    /// The global use of the cache, whose settings are the defaults of the plugin.
    pub(super) cache: &'a CachePolicy,
    /// What a decision without conditions means.
    pub(super) empty: Rule,
}

pub(super) fn read<'r>(list: Vec<Cursor<'r>>, context: &mut Context<'_, 'r>) -> Vec<Decision> {
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

fn decision<'r>(cursor: Cursor<'r>, context: &mut Context<'_, 'r>) -> Option<Decision> {
    let section = cursor.section()?;
    let name = section.required("name");
    let rule = match section.get("rules") {
        Some(rules) => rule(rules, context),
        None => Some(context.empty.clone()),
    };
    let plugins = plugin::plugins(&section, context);
    let models = section.list("modelRefs");
    if models.is_empty() && plugins.fast_response.is_none() {
        section.at.error("`modelRefs` must name at least one model");
    }
    let models = models.into_iter();
    let models = models
        .filter_map(|cursor| model_ref(cursor, context.models))
        .collect();
    Some(Decision {
        name: name.unwrap_or_default(),
        priority: section.integer("priority").unwrap_or(0),
        tier: section.integer("tier").unwrap_or(0),
        rule: rule.unwrap_or(Rule::Never).simplified(),
        models,
        load_aware: load_aware(&section),
        selection: selection(&section),
        plugins,
    })
}

fn rule<'r>(cursor: Cursor<'r>, context: &mut Context<'_, 'r>) -> Option<Rule> {
    #[derive(Clone, Copy)]
    enum Operator {
        And,
        Or,
        Not,
    }
    let section = cursor.section()?;
    if section.get("type").is_some() {
        return leaf(&section, context);
    }
    let operators = [
        ("AND", Operator::And),
        ("OR", Operator::Or),
        ("NOT", Operator::Not),
    ];
    let operator = section.choice("operator", &operators);
    let conditions = section.list("conditions");
    if conditions.is_empty() {
        return Some(context.empty.clone());
    }
    let parts: Vec<Rule> = conditions
        .into_iter()
        .filter_map(|condition| rule(condition, context))
        .collect();
    Some(match operator.unwrap_or(Operator::Or) {
        Operator::And => Rule::All(parts),
        Operator::Or => Rule::Any(parts),
        Operator::Not => Rule::Not(Box::new(Rule::Any(parts))),
    })
}

fn leaf<'r>(section: &Section<'r>, context: &mut Context<'_, 'r>) -> Option<Rule> {
    let kind = section.required("type");
    let legacy = section.text("rule_name");
    let name = section.text("name").or_else(|| legacy.clone());
    let at = section.get("name").unwrap_or_else(|| section.at.clone());
    let Some(name) = name else {
        at.error("`name` is missing");
        return None;
    };
    let meanings = [
        ("allow", OnError::Allow),
        ("no_match", OnError::Allow),
        ("block", OnError::Block),
        ("match", OnError::Block),
    ];
    let on_error = section.choice("on_error", &meanings);
    match context.signals.find(&kind?, &name, on_error) {
        Found::Signal { signal, composer } => {
            let signal = Rule::Signal(signal);
            let composer = composer.and_then(|composer| rule(composer, context));
            Some(match composer {
                Some(composer) => Rule::All(vec![signal, composer]),
                None => signal,
            })
        }
        Found::Disabled(reason) => {
            at.warn(format!("the condition never matches because {reason}"));
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
    let weight = section.get("weight").and_then(|cursor| cursor.number());
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a share needs no more than seven digits"
    )]
    let weight = weight.unwrap_or(1.0) as f32;
    Some(ModelRef {
        model: model?,
        lora,
        weight,
        use_reasoning: section.boolean("use_reasoning").unwrap_or(false),
        effort: effort(&section, "reasoning_effort"),
    })
}
