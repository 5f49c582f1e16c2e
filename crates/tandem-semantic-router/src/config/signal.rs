//! Signal rules, the same in both layouts.

use super::reader::{Cursor, unknown};
use super::{
    DOMAINS, DomainRule, JailbreakPolicy, JailbreakRule, KeywordOperator, KeywordRule, OnError,
    PiiPolicy, PiiRule, PiiTypes, SignalRef, normalise_label,
};
use crate::config::reader::Section;

/// All signal rules of a file.
#[derive(Debug, Default)]
pub(super) struct SignalRules {
    pub(super) domains: Vec<DomainRule>,
    pub(super) keywords: Vec<KeywordRule>,
    pub(super) jailbreaks: Vec<JailbreakRule>,
    pub(super) pii: Vec<PiiRule>,
}

/// Names of what `on_error` may say; the other words are those of other projects' parts.
pub(super) const ON_ERROR: [(&str, OnError); 2] =
    [("allow", OnError::Allow), ("block", OnError::Block)];

/// Signal families that exist elsewhere and not here yet.
pub(super) const UNSUPPORTED: [&str; 19] = [
    "embedding",
    "fact_check",
    "user_feedback",
    "reask",
    "preference",
    "language",
    "context",
    "structure",
    "complexity",
    "modality",
    "authz",
    "kb",
    "kb_metric",
    "conversation",
    "event",
    "metadata",
    "classifier",
    "projection",
    "mcp",
];

const SUPPORTED: [&str; 4] = ["domain", "keyword", "jailbreak", "pii"];

/// What a condition refers to.
pub(super) enum Found {
    Signal(SignalRef),
    /// A family that exists elsewhere and not here yet.
    Unsupported,
    /// The name or the type is wrong; the text says how.
    Unknown(String),
}

impl SignalRules {
    /// The rule `name` of the family `kind`. A domain needs no rule when it is a classifier label.
    pub(super) fn find(&mut self, kind: &str, name: &str) -> Found {
        let at = match kind {
            "domain" => return self.find_domain(name),
            "keyword" => position(&self.keywords, name, |rule| &rule.name).map(SignalRef::Keyword),
            "jailbreak" => {
                position(&self.jailbreaks, name, |rule| &rule.name).map(SignalRef::Jailbreak)
            }
            "pii" => position(&self.pii, name, |rule| &rule.name).map(SignalRef::Pii),
            kind if UNSUPPORTED.contains(&kind) => return Found::Unsupported,
            kind => {
                let kinds = SUPPORTED.into_iter().chain(UNSUPPORTED);
                return Found::Unknown(unknown("condition type", kind, kinds));
            }
        };
        at.map_or_else(Found::Unknown, Found::Signal)
    }

    fn find_domain(&mut self, name: &str) -> Found {
        if let Some(at) = self.domains.iter().position(|rule| rule.name == name) {
            return Found::Signal(SignalRef::Domain(at));
        }
        let label = normalise_label(name);
        if DOMAINS.contains(&label.as_str()) {
            self.domains.push(DomainRule {
                name: name.to_owned(),
                labels: vec![label],
            });
            return Found::Signal(SignalRef::Domain(self.domains.len() - 1));
        }
        let names = self.domains.iter().map(|rule| rule.name.as_str());
        Found::Unknown(unknown("domain", name, names.chain(DOMAINS)))
    }
}

fn position<T>(rules: &[T], name: &str, of: impl Fn(&T) -> &String) -> Result<usize, String> {
    let found = rules.iter().position(|rule| of(rule) == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = rules.iter().map(|rule| of(rule).as_str()).collect();
        unknown("rule", name, names.into_iter())
    })
}

pub(super) fn domains(rules: Vec<Cursor<'_>>) -> Vec<DomainRule> {
    let rules = rules.into_iter().filter_map(|cursor| {
        let section = cursor.section()?;
        let name = section.required("name");
        let mut labels = section.texts("mmlu_categories");
        section.ignore(&["model_scores", "system_prompt", "use_reasoning"]);
        section.text("description");
        section.finish();
        let name = name?;
        labels.push(name.clone());
        let labels = labels.iter().map(|label| normalise_label(label)).collect();
        Some(DomainRule { name, labels })
    });
    rules.collect()
}

pub(super) fn keywords(rules: Vec<Cursor<'_>>) -> Vec<KeywordRule> {
    rules.into_iter().filter_map(keyword).collect()
}

fn keyword(cursor: Cursor<'_>) -> Option<KeywordRule> {
    let section = cursor.section()?;
    let name = section.required("name");
    let operators = [
        ("OR", KeywordOperator::Or),
        ("AND", KeywordOperator::And),
        ("NOR", KeywordOperator::Nor),
    ];
    let operator = section.choice("operator", &operators);
    let keywords = section.texts("keywords");
    if keywords.is_empty() {
        section.at.error("`keywords` must hold at least one word");
    }
    if let Some(method) = section.get("method")
        && method.text().is_some_and(|text| text != "regex")
    {
        method.warn("only whole words are matched here; the method is ignored");
    }
    section.ignore(&[
        "bm25_threshold",
        "ngram_threshold",
        "ngram_arity",
        "fuzzy_match",
        "fuzzy_threshold",
    ]);
    section.text("description");
    let case_sensitive = section.boolean("case_sensitive").unwrap_or(false);
    section.finish();
    Some(KeywordRule {
        name: name?,
        operator: operator.unwrap_or(KeywordOperator::Or),
        keywords,
        case_sensitive,
    })
}

pub(super) fn jailbreaks(rules: Vec<Cursor<'_>>, default: &JailbreakPolicy) -> Vec<JailbreakRule> {
    let rules = rules.into_iter().filter_map(|cursor| {
        let section = cursor.section()?;
        let name = section.required("name");
        let policy = jailbreak_policy(&section, default);
        section.ignore(&["method", "jailbreak_patterns", "benign_patterns"]);
        every_turn(&section);
        section.text("description");
        section.finish();
        Some(JailbreakRule {
            name: name?,
            policy,
        })
    });
    rules.collect()
}

pub(super) fn pii(rules: Vec<Cursor<'_>>, default: &PiiPolicy) -> Vec<PiiRule> {
    let rules = rules.into_iter().filter_map(|cursor| {
        let section = cursor.section()?;
        let name = section.required("name");
        let policy = pii_policy(&section, default);
        every_turn(&section);
        section.text("description");
        section.finish();
        Some(PiiRule {
            name: name?,
            policy,
        })
    });
    rules.collect()
}

/// Earlier turns are always inspected, so a file that excludes them is told so.
fn every_turn(section: &Section<'_>) {
    if let Some(history) = section.get("include_history")
        && history.boolean() == Some(false)
    {
        history.warn("every turn is inspected here");
    }
}

/// `threshold` and `on_error` of a section.
pub(super) fn jailbreak_policy(
    section: &Section<'_>,
    default: &JailbreakPolicy,
) -> JailbreakPolicy {
    JailbreakPolicy {
        threshold: section.fraction("threshold").unwrap_or(default.threshold),
        on_error: section
            .choice("on_error", &ON_ERROR)
            .unwrap_or(default.on_error),
    }
}

/// `threshold`, `on_error` and the types of a section.
pub(super) fn pii_policy(section: &Section<'_>, default: &PiiPolicy) -> PiiPolicy {
    let allowed = section.get("pii_types_allowed");
    let denied = section.get("pii_types_denied");
    let types = |cursor: Cursor<'_>| {
        let items = cursor.list();
        let names = items.iter().filter_map(Cursor::text);
        names.map(|name| base_type(&name).to_owned()).collect()
    };
    let types = match (allowed, denied) {
        (Some(allowed), None) => PiiTypes::AllBut(types(allowed)),
        (None, Some(denied)) => PiiTypes::Only(types(denied)),
        (None, None) => default.types.clone(),
        (Some(_), Some(denied)) => {
            denied.error("give either `pii_types_allowed` or `pii_types_denied`");
            default.types.clone()
        }
    };
    PiiPolicy {
        types,
        threshold: section.fraction("threshold").unwrap_or(default.threshold),
        on_error: section
            .choice("on_error", &ON_ERROR)
            .unwrap_or(default.on_error),
    }
}

/// `B-US_SSN` means `US_SSN`.
fn base_type(name: &str) -> &str {
    match name.split_once('-') {
        Some((prefix, rest)) if prefix.len() == 1 => rest,
        _ => name,
    }
}
