//! The signal rules of a file, and finding one by the name in a condition.

use super::plugin::ON_ERROR;
use super::reader::{Cursor, Section, unknown};
use crate::config::{
    DOMAINS, Difficulty, Family, JailbreakPolicy, OnError, PiiPolicy, PiiTypes, SignalRef,
    SignalRule, SignalTest, normalise_label,
};

/// Settings of rules that name none.
#[derive(Debug, Clone)]
pub(super) struct Defaults {
    pub(super) jailbreak: JailbreakPolicy,
    pub(super) pii: PiiPolicy,
    pub(super) fact_check: f32,
    pub(super) feedback: f32,
    pub(super) feedback_enabled: bool,
}

impl Defaults {
    pub(super) const FACT_CHECK: f32 = 0.5;
    pub(super) const FEEDBACK: f32 = 0.5;
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            jailbreak: JailbreakPolicy::default(),
            pii: PiiPolicy {
                types: PiiTypes::AllBut(Vec::new()),
                threshold: 0.9,
                ..PiiPolicy::default()
            },
            fact_check: Self::FACT_CHECK,
            feedback: Self::FEEDBACK,
            feedback_enabled: true,
        }
    }
}

/// Signal families of the original router that are not supported.
const UNSUPPORTED: [&str; 8] = [
    "modality",
    "kb",
    "kb_metric",
    "event",
    "metadata",
    "classifier",
    "projection",
    "mcp",
];

/// All signal rules of a file.
#[derive(Default)]
pub(super) struct SignalRules<'a> {
    pub(super) rules: Vec<SignalRule>,
    /// What must match beside a complexity rule, by the rule's name.
    pub(super) composers: Vec<(String, Cursor<'a>)>,
    /// Feedback rules that are switched off.
    pub(super) disabled: Vec<String>,
}

/// What a condition refers to.
pub(super) enum Found<'a> {
    Signal {
        signal: SignalRef,
        /// What must match, too.
        composer: Option<Cursor<'a>>,
    },
    /// It never matches, because of this.
    Disabled(&'static str),
    /// The name or the type is wrong; the text says how.
    Unknown(String),
}

impl<'a> SignalRules<'a> {
    /// The rule `name` of the family `kind`; `on_error` in place of the rule's own.
    pub(super) fn find(&mut self, kind: &str, name: &str, on_error: Option<OnError>) -> Found<'a> {
        if UNSUPPORTED.contains(&kind) {
            return Found::Disabled("this family of signals is not supported");
        }
        let Some(family) = Family::ALL
            .into_iter()
            .find(|family| family.label() == kind)
        else {
            let kinds = Family::ALL.into_iter().map(Family::label);
            return Found::Unknown(unknown("condition type", kind, kinds.chain(UNSUPPORTED)));
        };
        if family == Family::UserFeedback && self.disabled.iter().any(|rule| rule == name) {
            return Found::Disabled("`feedback_detector` is switched off");
        }
        let found = match family {
            Family::Domain => self.find_domain(name),
            Family::Complexity => self.find_complexity(name),
            Family::Authz => self.find_role(name),
            _ => self.position(family, name),
        };
        let Some(at) = found else {
            let names = self.rules.iter().filter(|rule| rule.family() == family);
            let names = names.map(|rule| rule.name.as_str());
            return Found::Unknown(match family {
                Family::Domain => unknown("domain", name, names.chain(DOMAINS)),
                _ => unknown("rule", name, names),
            });
        };
        let base = name.rsplit_once(':').map_or(name, |(base, _)| base);
        let composer = self
            .composers
            .iter()
            .find(|(rule, _)| family == Family::Complexity && (rule == name || rule == base));
        Found::Signal {
            composer: composer.map(|(_, cursor)| cursor.clone()),
            signal: SignalRef(self.with_on_error(at, on_error)),
        }
    }

    fn position(&self, family: Family, name: &str) -> Option<usize> {
        self.rules
            .iter()
            .position(|rule| rule.family() == family && rule.name == name)
    }

    /// The rule, or one that is the same but for what a failure means.
    fn with_on_error(&mut self, at: usize, on_error: Option<OnError>) -> usize {
        let Some(on_error) = on_error else {
            return at;
        };
        let mut rule = self.rules[at].clone();
        rule.on_error = on_error;
        // These hold their own.
        match &mut rule.test {
            SignalTest::Jailbreak(policy) => policy.on_error = on_error,
            SignalTest::Pii(policy) => policy.on_error = on_error,
            _ => {}
        }
        self.find_or_add(rule)
    }

    fn find_or_add(&mut self, rule: SignalRule) -> usize {
        let found = self.rules.iter().position(|known| *known == rule);
        found.unwrap_or_else(|| {
            self.rules.push(rule);
            self.rules.len() - 1
        })
    }

    /// A domain needs no rule when it is a classifier label.
    fn find_domain(&mut self, name: &str) -> Option<usize> {
        if let Some(at) = self.position(Family::Domain, name) {
            return Some(at);
        }
        let label = normalise_label(name);
        DOMAINS.contains(&label.as_str()).then(|| {
            let test = SignalTest::Domain(vec![label]);
            self.find_or_add(rule(name.to_owned(), test))
        })
    }

    /// `rule` is the same as `rule:hard`.
    fn find_complexity(&mut self, name: &str) -> Option<usize> {
        if let Some(at) = self.position(Family::Complexity, name) {
            return Some(at);
        }
        let (base, level) = name.rsplit_once(':')?;
        let named = Difficulty::NAMED
            .iter()
            .find(|(known, _)| *known == level)?;
        let at = self.position(Family::Complexity, base)?;
        let mut rule = self.rules[at].clone();
        rule.name = name.to_owned();
        if let SignalTest::Complexity(test) = &mut rule.test {
            test.difficulty = named.1;
        }
        Some(self.find_or_add(rule))
    }

    /// A condition may name the rule or its role.
    fn find_role(&self, name: &str) -> Option<usize> {
        let by_role =
            |rule: &SignalRule| matches!(&rule.test, SignalTest::Authz(test) if test.role == name);
        let by_name = self.position(Family::Authz, name);
        by_name.or_else(|| self.rules.iter().position(by_role))
    }

    /// Adds a rule; its name must be new in its family.
    pub(super) fn add(&mut self, section: &Section<'_>, name: Option<String>, test: SignalTest) {
        let Some(name) = name else {
            return;
        };
        let mut rule = rule(name, test);
        if let Some(on_error) = section.choice("on_error", &ON_ERROR) {
            rule.on_error = on_error;
        }
        if self.position(rule.family(), &rule.name).is_some() {
            let message = format!("rule `{}` is defined twice", rule.name);
            section.at.error(message);
        }
        self.rules.push(rule);
    }
}

fn rule(name: String, test: SignalTest) -> SignalRule {
    SignalRule {
        name,
        test,
        on_error: OnError::Allow,
    }
}
