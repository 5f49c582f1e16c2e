//! Facts about a request, each established once.

mod keyword;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tandem_classifier::pii::Recognizers;
use tandem_classifier::{Analysis, Classifier, Heads, LabelScore, PiiSpan};
use tracing::warn;

use crate::config::{Override, RouterConfig, Rule, SignalRef, normalise_label};
use crate::decision::Facts;
use crate::explain::PiiFinding;
use crate::request::Prompt;
use keyword::KeywordMatcher;

/// Classifier calls of one request that run at the same time: a conversation with many turns must
/// not fill the classifier's queue alone.
const CALLS_AT_ONCE: usize = 16;

/// Establishes the facts that a configuration needs.
pub(crate) struct SignalEngine {
    recognizers: Arc<Recognizers>,
    classifier: Arc<dyn Classifier>,
    keywords: Vec<KeywordMatcher>,
    /// Asked of the question.
    question: Heads,
    /// Asked of every turn.
    every_turn: Heads,
    deadline: Duration,
}

/// What the patterns found, where the classifier gave no answer.
struct Recognized(Option<Vec<PiiSpan>>);

/// The facts of one request.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Keyword rules that matched.
    pub(crate) keywords: Vec<usize>,
    pub(crate) domain: Signal<Vec<LabelScore>>,
    /// Highest probability over all turns.
    pub(crate) jailbreak: Signal<f32>,
    /// Types found in any turn, by first appearance.
    pub(crate) pii: Signal<Vec<PiiFinding>>,
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

    fn add(&mut self, part: Option<T>, merge: impl FnOnce(T, T) -> T) {
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

impl SignalEngine {
    pub(crate) fn new(config: &RouterConfig, classifier: Arc<dyn Classifier>) -> Self {
        let mut needed = Heads {
            jailbreak: config.security.jailbreak.is_some(),
            pii: config.security.pii.is_some(),
            ..Heads::default()
        };
        for decision in &config.decisions {
            needed.jailbreak |= matches!(decision.plugins.jailbreak, Override::On(_));
            needed.pii |= matches!(decision.plugins.pii, Override::On(_));
            mark(&decision.rule, &mut needed);
        }
        let every_turn = Heads {
            domain: false,
            ..needed
        };
        let keywords = config.keywords.iter();
        Self {
            recognizers: Arc::new(Recognizers::new()),
            classifier,
            keywords: keywords.map(KeywordMatcher::new).collect(),
            question: needed,
            every_turn,
            deadline: config.deadline,
        }
    }

    /// One classifier call per distinct text, several at once. Dropping the future cancels them.
    pub(crate) async fn evaluate(&self, prompt: &Prompt) -> Signals {
        let keywords = self.keywords.iter().enumerate();
        let keywords = keywords.filter(|(_, rule)| rule.matches(&prompt.question));
        let mut signals = Signals {
            keywords: keywords.map(|(i, _)| i).collect(),
            ..Signals::default()
        };
        let deadline = tokio::time::Instant::now() + self.deadline;
        let mut answers = stream::iter(self.calls(prompt))
            .map(|(text, heads)| self.analyze(text, heads, deadline))
            .buffered(CALLS_AT_ONCE);
        while let Some((heads, answer)) = answers.next().await {
            match answer {
                Ok(analysis) => signals.add(heads, analysis),
                Err(Recognized(pii)) => {
                    let known = Analysis {
                        pii,
                        ..Analysis::default()
                    };
                    signals.add(heads, known);
                    // The patterns find only what has a fixed form.
                    signals.add(heads, Analysis::default());
                }
            }
        }
        signals
    }

    /// What can be known about `text` until `deadline`. Structured personal data needs no model, so
    /// a busy one does not let it through.
    async fn analyze(
        &self,
        text: Arc<str>,
        heads: Heads,
        deadline: tokio::time::Instant,
    ) -> (Heads, Result<Analysis, Recognized>) {
        let answer = self.classifier.analyze(Arc::clone(&text), heads);
        let failure = match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(analysis)) => return (heads, Ok(analysis)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "deadline passed".to_owned(),
        };
        warn!(classifier = self.classifier.name(), error = %failure, "signals are unavailable");
        let recognizers = Arc::clone(&self.recognizers);
        let spans = async {
            let find = tokio::task::spawn_blocking(move || recognizers.spans(&text));
            find.await.ok()
        };
        let found = if heads.pii { spans.await } else { None };
        (heads, Err(Recognized(found)))
    }

    fn calls(&self, prompt: &Prompt) -> Vec<(Arc<str>, Heads)> {
        let mut calls: Vec<(Arc<str>, Heads)> = Vec::with_capacity(prompt.turns.len() + 1);
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(prompt.turns.len() + 1);
        let question = (&prompt.question, self.question);
        let turns = prompt.turns.iter().map(|turn| (turn, self.every_turn));
        for (text, heads) in std::iter::once(question).chain(turns) {
            if heads.is_empty() || text.is_empty() {
                continue;
            }
            let at = *seen.entry(text).or_insert_with(|| {
                calls.push((Arc::clone(text), heads));
                calls.len() - 1
            });
            calls[at].1 = calls[at].1.union(heads);
        }
        calls
    }
}

/// Notes the heads that `rule` looks at.
fn mark(rule: &Rule, needed: &mut Heads) {
    match rule {
        Rule::All(parts) | Rule::Any(parts) => parts.iter().for_each(|part| mark(part, needed)),
        Rule::Not(part) => mark(part, needed),
        Rule::Signal(SignalRef::Domain(_)) => needed.domain = true,
        Rule::Signal(SignalRef::Jailbreak(_)) => needed.jailbreak = true,
        Rule::Signal(SignalRef::Pii(_)) => needed.pii = true,
        Rule::Signal(SignalRef::Keyword(_)) | Rule::Always | Rule::Never => {}
    }
}

impl Signals {
    fn add(&mut self, heads: Heads, analysis: Analysis) {
        if heads.domain {
            self.domain.add(analysis.domain, |old, _| old);
        }
        if heads.jailbreak {
            self.jailbreak.add(analysis.jailbreak, f32::max);
        }
        if heads.pii {
            let found = analysis.pii.map(|spans| {
                let findings = spans.into_iter().map(|span| PiiFinding {
                    kind: span.kind.to_string(),
                    score: span.score,
                });
                findings.collect()
            });
            let found: Option<Vec<PiiFinding>> = found;
            self.pii.add(found.map(|new| merge(Vec::new(), new)), merge);
        }
    }

    /// Which rules match.
    pub(crate) fn facts(&self, config: &RouterConfig) -> Facts {
        let top = self.domain.known().and_then(|labels| labels.first());
        let top = top.map(|label| (normalise_label(&label.label), label.score));
        let domains = config.domains.iter().map(|rule| {
            let (label, score) = top.as_ref()?;
            rule.labels.contains(label).then_some(*score)
        });
        let jailbreaks = config
            .jailbreaks
            .iter()
            .map(|rule| rule.policy.score(&self.jailbreak));
        let pii = config.pii.iter().map(|rule| rule.policy.score(&self.pii));
        let mut keywords = vec![None; config.keywords.len()];
        for at in &self.keywords {
            keywords[*at] = Some(1.0);
        }
        Facts {
            domains: domains.collect(),
            keywords,
            jailbreaks: jailbreaks.collect(),
            pii: pii.collect(),
        }
    }

    /// Signals that were needed and could not be had.
    pub(crate) fn unavailable(&self) -> Vec<&'static str> {
        let all = [
            ("domain", self.domain.incomplete()),
            ("jailbreak", self.jailbreak.incomplete()),
            ("pii", self.pii.incomplete()),
        ];
        let missing = all.into_iter().filter(|(_, missing)| *missing);
        missing.map(|(name, _)| name).collect()
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

#[cfg(test)]
mod tests;
