//! What the signals of one request found.

use std::collections::HashMap;
use std::sync::Arc;

use tandem_classifier::{Analysis, Heads, LabelScore, PiiSpan};

use super::Reading;
use crate::config::{RouterConfig, SignalTest, normalise_label};
use crate::decision::Facts;
use crate::explain::PiiFinding;

/// The facts of one request.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) domain: Signal<Vec<LabelScore>>,
    /// Highest probability over all turns.
    pub(crate) jailbreak: Signal<f32>,
    /// Types found in any turn, by first appearance.
    pub(crate) pii: Signal<Vec<PiiFinding>>,
    /// Where they are in each text that holds some.
    pub(crate) spans: HashMap<Arc<str>, Vec<PiiSpan>>,
    /// Embeddings by text.
    pub(crate) embeddings: HashMap<Arc<str>, Arc<[f32]>>,
    /// What the rules found that ask neither for labels nor for spans, by their place in the
    /// configuration.
    pub(crate) readings: Vec<Reading>,
    /// Estimated tokens, if a rule asked.
    pub(crate) tokens: Option<u64>,
}

/// A fact that may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Signal<T> {
    /// Nobody asked.
    #[default]
    NotNeeded,
    Known(T),
    /// What is known although a part could not be had.
    Partial(T),
    Unavailable,
}

impl<T> Signal<T> {
    /// What is known.
    pub(crate) fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) | Self::Partial(value) => Some(value),
            Self::NotNeeded | Self::Unavailable => None,
        }
    }

    /// Whether something that was needed could not be had.
    pub(crate) fn incomplete(&self) -> bool {
        matches!(self, Self::Partial(_) | Self::Unavailable)
    }

    pub(super) fn add(&mut self, part: Option<T>, merge: impl FnOnce(T, T) -> T) {
        *self = match (std::mem::take(self), part) {
            (Self::NotNeeded, Some(new)) => Self::Known(new),
            (Self::Known(old), Some(new)) => Self::Known(merge(old, new)),
            (Self::Partial(old), Some(new)) => Self::Partial(merge(old, new)),
            (Self::Unavailable, Some(new)) => Self::Partial(new),
            (Self::Known(old) | Self::Partial(old), None) => Self::Partial(old),
            (Self::NotNeeded | Self::Unavailable, None) => Self::Unavailable,
        };
    }
}

impl Signals {
    pub(super) fn add(&mut self, text: &Arc<str>, heads: Heads, analysis: Analysis) {
        if heads.domain {
            self.domain.add(analysis.domain, |old, _| old);
        }
        if heads.jailbreak {
            self.jailbreak.add(analysis.jailbreak, f32::max);
        }
        if let Some(vector) = analysis.embedding {
            self.embeddings.insert(Arc::clone(text), vector);
        }
        if heads.pii {
            let spans = analysis.pii;
            let found = spans.as_ref().map(|spans| {
                let findings = spans.iter().map(|span| PiiFinding {
                    kind: span.kind.to_string(),
                    score: span.score,
                });
                merge(Vec::new(), findings.collect())
            });
            if let Some(spans) = spans.filter(|spans| !spans.is_empty()) {
                self.spans.insert(Arc::clone(text), spans);
            }
            self.pii.add(found, merge);
        }
    }

    /// What each rule found, in the order of the configuration.
    pub(crate) fn readings(&self, config: &RouterConfig) -> Vec<Reading> {
        let top = self.domain.known().and_then(|labels| labels.first());
        let top = top.map(|label| (normalise_label(&label.label), label.score));
        let rules = config.signals.iter().zip(&self.readings);
        let readings = rules.map(|(rule, reading)| match &rule.test {
            SignalTest::Domain(labels) => match (&top, &self.domain) {
                (Some((label, value)), _) => Reading::Score {
                    value: *value,
                    matched: labels.contains(label),
                },
                (None, Signal::NotNeeded) => Reading::NotAsked,
                (None, _) => Reading::Unavailable,
            },
            SignalTest::Jailbreak(policy) => {
                let found = self.jailbreak.known().copied();
                security(&self.jailbreak, found, policy.score(&self.jailbreak))
            }
            SignalTest::Pii(policy) => {
                let highest = policy.highest(&self.pii);
                security(&self.pii, highest, policy.score(&self.pii))
            }
            _ => *reading,
        });
        readings.collect()
    }

    /// Which rules match.
    pub(crate) fn facts(&self, config: &RouterConfig, readings: &[Reading]) -> Facts {
        let rules = config.signals.iter().zip(readings);
        Facts::new(rules.map(|(rule, reading)| reading.score(rule.on_error)))
    }

    /// Signals that were needed and could not be had.
    pub(crate) fn unavailable(
        &self,
        config: &RouterConfig,
        readings: &[Reading],
    ) -> Vec<&'static str> {
        let all = [
            ("domain", self.domain.incomplete()),
            ("jailbreak", self.jailbreak.incomplete()),
            ("pii", self.pii.incomplete()),
        ];
        let missing = all.into_iter().filter(|(_, missing)| *missing);
        let mut names: Vec<&'static str> = missing.map(|(name, _)| name).collect();
        for (rule, reading) in config.signals.iter().zip(readings) {
            let name = rule.family().label();
            if *reading == Reading::Unavailable && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// A policy's own `on_error` has been applied: an unavailable signal that counts is a match.
fn security<T>(signal: &Signal<T>, value: Option<f32>, score: Option<f32>) -> Reading {
    match (score, signal) {
        (Some(score), _) => Reading::Score {
            value: score,
            matched: true,
        },
        (None, Signal::NotNeeded) => Reading::NotAsked,
        (None, Signal::Unavailable) => Reading::Unavailable,
        (None, Signal::Known(_) | Signal::Partial(_)) => Reading::Score {
            value: value.unwrap_or(0.0),
            matched: false,
        },
    }
}

/// Each type once, with its highest score.
fn merge(mut known: Vec<PiiFinding>, new: Vec<PiiFinding>) -> Vec<PiiFinding> {
    for finding in new {
        match known.iter_mut().find(|old| old.kind == finding.kind) {
            Some(old) => old.score = old.score.max(finding.score),
            None => known.push(finding),
        }
    }
    known
}
