//! Facts about a request, each established once.

mod anchor;
mod examples;
mod facts;
mod keyword;
pub(crate) mod language;
mod local;
mod preference;
mod similarity;
mod structure;
mod tokens;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tandem_classifier::pii::Recognizers;
use tandem_classifier::{Analysis, Classifier, Heads, PiiSpan};
use tokio::time::Instant;
use tracing::warn;

use crate::config::{
    CacheMode, OnError, Override, RouterConfig, SignalTest, ToolSearch, ToolSelection,
};
use crate::request::{Client, Prompt};
use anchor::Anchors;
pub(crate) use anchor::cosine;
pub(crate) use facts::{Signal, Signals};
use local::{Local, Matcher, Observed};
pub use preference::{CallError, ChatCall, LanguageModels};
use preference::{Preferences, Route};
use similarity::Comparison;

/// Classifier calls of one request that run at the same time: a conversation with many turns must
/// not fill the classifier's queue alone.
pub(crate) const CALLS_AT_ONCE: usize = 16;

/// Time for the examples of all rules before the first request.
const WARM_UP: Duration = Duration::from_secs(60);

/// Establishes the facts that a configuration needs.
pub(crate) struct SignalEngine {
    recognizers: Arc<Recognizers>,
    classifier: Arc<dyn Classifier>,
    /// Rules that need no model, by their place in the configuration.
    local: Arc<Vec<(usize, Matcher)>>,
    /// Rules that compare embeddings, by their place in the configuration.
    comparisons: Vec<(usize, Comparison)>,
    anchors: Anchors,
    /// Descriptions of the tools in databases.
    tools: Anchors,
    preferences: Preferences,
    /// Rules that a language model decides, by their place in the configuration.
    preferred: Vec<usize>,
    /// User turns before the question that are compared with it.
    lookback: usize,
    /// Asked of the question.
    question: Heads,
    /// Asked of every turn.
    every_turn: Heads,
    rules: usize,
    deadline: Duration,
}

/// What a rule found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Reading {
    /// No decision needs it.
    #[default]
    NotAsked,
    Score {
        value: f32,
        matched: bool,
    },
    Unavailable,
}

impl Reading {
    fn at_least(value: f32, threshold: f32) -> Self {
        Self::Score {
            value,
            matched: value >= threshold,
        }
    }

    /// The score that counts as a match.
    pub(crate) fn score(self, on_error: OnError) -> Option<f32> {
        match self {
            Self::Score {
                value,
                matched: true,
            } => Some(value),
            Self::Unavailable if on_error == OnError::Block => Some(1.0),
            Self::NotAsked | Self::Score { .. } | Self::Unavailable => None,
        }
    }
}

/// What is known about one text.
struct Answer {
    text: Arc<str>,
    heads: Heads,
    analysis: Result<Analysis, Recognized>,
}

/// What the patterns found, where the classifier gave no answer.
struct Recognized(Option<Vec<PiiSpan>>);

impl SignalEngine {
    pub(crate) fn new(
        config: &RouterConfig,
        classifier: Arc<dyn Classifier>,
        models: Option<Arc<dyn LanguageModels>>,
    ) -> Self {
        let mut heads = Heads {
            jailbreak: config.security.jailbreak.on().is_some(),
            pii: config.security.pii.on().is_some(),
            embedding: config
                .tools
                .as_ref()
                .is_some_and(|tools| !tools.tools.is_empty()),
            ..Heads::default()
        };
        heads.embedding |= config.cache.enabled && config.cache.policy.mode == CacheMode::Semantic;
        let mut needed = Vec::new();
        for decision in &config.decisions {
            heads.jailbreak |= matches!(decision.plugins.jailbreak, Override::On(_));
            heads.pii |= matches!(decision.plugins.pii, Override::On(_));
            heads.embedding |= decision.plugins.tool_selection.is_some();
            if let Override::On(policy) = &decision.plugins.cache {
                heads.embedding |= policy.mode == CacheMode::Semantic;
            }
            decision.rule.signals(&mut needed);
        }
        needed.sort_by_key(|signal| signal.0);
        needed.dedup();
        let mut engine = Self {
            recognizers: Arc::new(Recognizers::new()),
            classifier,
            local: Arc::default(),
            comparisons: Vec::new(),
            anchors: Anchors::default(),
            tools: tools(config),
            preferences: Preferences {
                models,
                model: config.external_models.first().cloned(),
                routes: Vec::new(),
            },
            preferred: Vec::new(),
            lookback: 0,
            question: heads,
            every_turn: heads,
            rules: config.signals.len(),
            deadline: config.deadline,
        };
        let mut local = Vec::new();
        for at in needed.into_iter().map(|signal| signal.0) {
            let rule = &config.signals[at];
            if let Some(matcher) = Matcher::new(&rule.test) {
                local.push((at, matcher));
            } else if let Some(comparison) = Comparison::new(&rule.test, &mut engine.anchors) {
                engine.comparisons.push((at, comparison));
                engine.question.embedding = true;
            }
            match &rule.test {
                SignalTest::Domain(_) => engine.question.domain = true,
                SignalTest::Jailbreak(_) => engine.every_turn.jailbreak = true,
                SignalTest::Pii(_) => engine.every_turn.pii = true,
                SignalTest::Reask(test) => engine.lookback = engine.lookback.max(test.lookback),
                SignalTest::Preference(test) if test.examples.is_empty() => {
                    engine.preferred.push(at);
                    engine.preferences.routes.push(Route {
                        name: rule.name.clone(),
                        description: test.description.clone(),
                    });
                }
                _ => {}
            }
        }
        engine.local = Arc::new(local);
        engine.question = engine.question.union(engine.every_turn);
        engine.every_turn.domain = false;
        engine.every_turn.embedding = false;
        engine
    }

    /// Whether a language model is asked, whose answers may change.
    pub(crate) fn asks_language_models(&self) -> bool {
        !self.preferred.is_empty()
    }

    /// What the classifier is asked about every request.
    pub(crate) fn heads(&self) -> Heads {
        self.every_turn
    }

    /// Embeds the examples of all rules, so that the first request need not wait for it.
    pub(crate) async fn warm_up(&self) {
        let deadline = Instant::now() + WARM_UP;
        self.anchors.embed(&*self.classifier, deadline).await;
        self.tools.embed(&*self.classifier, deadline).await;
    }

    /// Similarities of a question to the descriptions of tools in databases; `None` if they could
    /// not be had until the deadline.
    pub(crate) async fn tool_similarities(
        &self,
        search: &ToolSearch,
        question: &[f32],
    ) -> Option<Vec<f32>> {
        let deadline = Instant::now() + self.deadline;
        self.tools.embed(&*self.classifier, deadline).await;
        let descriptions = search.tools.iter().map(|tool| tool.description.as_str());
        self.tools.similarities_to(descriptions, question)
    }

    /// Everything that the rules ask, at the same time. One classifier call per distinct text.
    /// Dropping the future cancels them.
    pub(crate) async fn evaluate(&self, prompt: &Prompt, client: &Client) -> Signals {
        let deadline = Instant::now() + self.deadline;
        let anchors = async {
            if !self.anchors.is_empty() {
                self.anchors.embed(&*self.classifier, deadline).await;
            }
        };
        let preference = async {
            if self.preferred.is_empty() {
                None
            } else {
                self.preferences.ask(prompt, deadline).await
            }
        };
        let (local, mut signals, preference, ()) = futures::join!(
            self.local(prompt, client),
            self.texts(prompt, deadline),
            preference,
            anchors,
        );
        signals.readings = vec![Reading::NotAsked; self.rules];
        signals.tokens = local.tokens;
        for (at, reading) in local.readings {
            signals.readings[at] = reading;
        }
        self.compare(prompt, &mut signals);
        for (at, route) in self.preferred.iter().zip(&self.preferences.routes) {
            signals.readings[*at] = match &preference {
                None => Reading::Unavailable,
                Some(name) => {
                    let matched = name.as_ref() == Some(&route.name);
                    Reading::Score {
                        value: f32::from(u8::from(matched)),
                        matched,
                    }
                }
            };
        }
        signals
    }

    async fn local(&self, prompt: &Prompt, client: &Client) -> Local {
        if self.local.is_empty() {
            return Local::default();
        }
        let observed = Observed::new(prompt, client);
        if observed.bytes() <= local::AT_ONCE {
            return local::read_all(&self.local, &observed);
        }
        let rules = Arc::clone(&self.local);
        let read = tokio::task::spawn_blocking(move || local::read_all(&rules, &observed)).await;
        read.unwrap_or_else(|_| Local {
            readings: self
                .local
                .iter()
                .map(|(at, _)| (*at, Reading::Unavailable))
                .collect(),
            tokens: None,
        })
    }

    fn compare(&self, prompt: &Prompt, signals: &mut Signals) {
        let question = signals.embeddings.get(&prompt.question).cloned();
        let earlier: Vec<Option<&[f32]>> = prompt
            .earlier
            .iter()
            .rev()
            .take(self.lookback)
            .map(|text| signals.embeddings.get(text).map(|vector| &**vector))
            .collect();
        let readings = self.comparisons.iter().map(|(at, comparison)| {
            let reading = match &question {
                Some(question) => comparison.read(&self.anchors, question, &earlier),
                None => Reading::Unavailable,
            };
            (*at, reading)
        });
        let readings: Vec<(usize, Reading)> = readings.collect();
        for (at, reading) in readings {
            signals.readings[at] = reading;
        }
    }

    /// Answers `heads` for texts that belong to no prompt.
    pub(crate) async fn look_at(&self, texts: Vec<Arc<str>>, heads: Heads) -> Signals {
        let deadline = Instant::now() + self.deadline;
        let texts = texts.into_iter().filter(|text| !text.is_empty());
        self.answers(texts.map(|text| (text, heads)).collect(), deadline)
            .await
    }

    async fn texts(&self, prompt: &Prompt, deadline: Instant) -> Signals {
        self.answers(self.calls(prompt), deadline).await
    }

    /// One classifier call for each text.
    async fn answers(&self, calls: Vec<(Arc<str>, Heads)>, deadline: Instant) -> Signals {
        let mut signals = Signals::default();
        let mut answers = stream::iter(calls)
            .map(|(text, heads)| self.analyze(text, heads, deadline))
            .buffered(CALLS_AT_ONCE);
        while let Some(answer) = answers.next().await {
            let Answer {
                text,
                heads,
                analysis,
            } = answer;
            match analysis {
                Ok(analysis) => signals.add(&text, heads, analysis),
                Err(Recognized(pii)) => {
                    let known = Analysis {
                        pii,
                        ..Analysis::default()
                    };
                    signals.add(&text, heads, known);
                    // The patterns find only what has a fixed form.
                    signals.add(&text, heads, Analysis::default());
                }
            }
        }
        signals
    }

    /// What can be known about `text` until `deadline`. Structured personal data needs no model, so
    /// a busy one does not let it through.
    async fn analyze(&self, text: Arc<str>, heads: Heads, deadline: Instant) -> Answer {
        let answer = self.classifier.analyze(Arc::clone(&text), heads);
        let failure = match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(analysis)) => {
                return Answer {
                    text,
                    heads,
                    analysis: Ok(analysis),
                };
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "deadline passed".to_owned(),
        };
        warn!(classifier = self.classifier.name(), error = %failure, "signals are unavailable");
        let recognizers = Arc::clone(&self.recognizers);
        let searched = Arc::clone(&text);
        let spans = async {
            let find = tokio::task::spawn_blocking(move || recognizers.spans(&searched));
            find.await.ok()
        };
        let found = if heads.pii { spans.await } else { None };
        Answer {
            text,
            heads,
            analysis: Err(Recognized(found)),
        }
    }

    fn calls(&self, prompt: &Prompt) -> Vec<(Arc<str>, Heads)> {
        let mut calls: Vec<(Arc<str>, Heads)> = Vec::with_capacity(prompt.turns.len() + 1);
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(prompt.turns.len() + 1);
        let embedding = Heads {
            embedding: true,
            ..Heads::default()
        };
        let question = (&prompt.question, self.question);
        let earlier = prompt.earlier.iter().rev().take(self.lookback);
        let earlier = earlier.map(|turn| (turn, embedding));
        let turns = prompt.turns.iter().map(|turn| (turn, self.every_turn));
        for (text, heads) in std::iter::once(question).chain(earlier).chain(turns) {
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

    /// Embeddings of some texts, each `None` if it could not be had until the deadline.
    pub(crate) async fn embed(&self, texts: Vec<Arc<str>>) -> Vec<Option<Arc<[f32]>>> {
        let deadline = Instant::now() + self.deadline;
        let heads = Heads {
            embedding: true,
            ..Heads::default()
        };
        let answers = stream::iter(texts)
            .map(|text| self.analyze(text, heads, deadline))
            .buffered(CALLS_AT_ONCE);
        answers
            .map(|answer| answer.analysis.ok().and_then(|analysis| analysis.embedding))
            .collect()
            .await
    }
}

fn tools(config: &RouterConfig) -> Anchors {
    let mut anchors = Anchors::default();
    let own = config.decisions.iter();
    let own = own.filter_map(|decision| match &decision.plugins.tool_selection {
        Some(ToolSelection::Add(search)) => Some(search),
        _ => None,
    });
    for search in config.tools.iter().chain(own) {
        let _places = anchors.add(search.tools.iter().map(|tool| tool.description.as_str()));
    }
    anchors
}

#[cfg(test)]
mod tests;
