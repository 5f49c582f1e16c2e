//! `route()`: from a request to a [`Routing`].

mod caching;
mod explaining;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tandem_classifier::Classifier;
use tandem_protocol::ErrorKind;
use tandem_protocol::header::SELECTED_CATEGORY;
use tandem_protocol::openai::InvalidParameter;

use crate::answer::AnswerScan;
use crate::apply::{Applied, Choice, Unrouted, apply};
use crate::cache::ResponseCache;
use crate::config::{
    CacheStore, Decision, Family, ModelConfig, RouterConfig, SignalRef, UnknownModels,
};
use crate::decision::{Facts, Match, category, decide};
use crate::events;
use crate::explain::{Explanation, ReasonCode, Timings};
use crate::header;
use crate::models::{ListedModels, list};
use crate::plugin::tools::ToolEdit;
use crate::redact::{Redaction, redact};
use crate::request::{Client, Endpoint, Prompt, RouteRequest};
use crate::respond::{Form, Matched, respond};
use crate::routing::{Block, Forward, Rejection, Routed, Routing};
use crate::security::{Inspection, inspect};
use crate::selection::{Candidates, choose};
use crate::signal::{LanguageModels, Reading, SignalEngine, Signals};
use crate::spans::{self, Detection};
use crate::statistics::ModelStatistics;
use crate::tools::select;
use caching::{Memories, Sought, caches};

/// Decides what happens to requests.
pub struct Router {
    config: RouterConfig,
    signals: Arc<SignalEngine>,
    statistics: Arc<ModelStatistics>,
    cache: Arc<ResponseCache>,
    /// Whether any request may be answered from the cache.
    caches: bool,
    memories: Memories,
}

/// What a router works with, beside its configuration.
pub struct Parts {
    /// Answers questions about texts.
    pub classifier: Arc<dyn Classifier>,
    /// Carries requests to language models; without it, signals that need one are unavailable.
    pub language_models: Option<Arc<dyn LanguageModels>>,
    /// What is observed of the models. Keep it when the configuration is read again.
    pub statistics: Arc<ModelStatistics>,
    /// Answers that were given before. Keep it when the configuration is read again.
    pub cache: Arc<ResponseCache>,
}

/// What is known about a request once its signals are there.
struct Findings<'a> {
    config: &'a RouterConfig,
    signals: Signals,
    readings: Vec<Reading>,
    facts: Facts,
    matches: Vec<Match<'a>>,
    /// Of the winning decision.
    category: Option<&'a str>,
}

/// What a request's fate is.
enum Verdict<'a> {
    Block(Block),
    Reject(Rejection),
    Forward(Choice<'a>),
}

impl Router {
    /// A router that asks `classifier`.
    pub fn new(config: RouterConfig, classifier: Arc<dyn Classifier>) -> Self {
        let parts = Parts {
            classifier,
            language_models: None,
            statistics: Arc::default(),
            cache: Arc::default(),
        };
        Self::with_parts(config, parts)
    }

    /// A router of these parts.
    pub fn with_parts(config: RouterConfig, parts: Parts) -> Self {
        let signals = SignalEngine::new(&config, parts.classifier, parts.language_models);
        let caches = caches(&config);
        parts.cache.configure(&config.cache);
        parts.cache.connect(match caches {
            true => &config.cache.store,
            false => &CacheStore::Memory,
        });
        Self {
            caches,
            config,
            signals: Arc::new(signals),
            statistics: parts.statistics,
            cache: parts.cache,
            memories: Memories::default(),
        }
    }

    /// What the router was told.
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// Where a transport reports how fast models are.
    pub fn statistics(&self) -> &Arc<ModelStatistics> {
        &self.statistics
    }

    /// Answers that were given before.
    pub fn cache(&self) -> &Arc<ResponseCache> {
        &self.cache
    }

    /// The answer of `GET /v1/models`.
    pub fn models(&self) -> ListedModels {
        list(&self.config, unix_seconds())
    }

    /// Computes the embeddings of all examples and tools. Without it, the first request that needs
    /// them does.
    pub async fn warm_up(&self) {
        self.signals.warm_up().await;
    }

    /// Decides what happens to a request of a client that nobody knows. See [`Self::route_for`].
    pub async fn route(&self, request: RouteRequest<'_>) -> Routed {
        self.route_for(request, &Client::default()).await
    }

    /// Decides what happens to one request. Dropping the future cancels the classifier's work.
    ///
    /// Deciding cannot fail: a signal that is missing is a fact that the policy weighs.
    pub async fn route_for(&self, request: RouteRequest<'_>, client: &Client) -> Routed {
        let started = Instant::now();
        if let Some(routed) = self.recall(request, client, started) {
            return routed;
        }
        let mut prompt = match Prompt::parse(request.endpoint, request.body) {
            Ok(prompt) => prompt,
            Err(error) => return malformed(error, started.elapsed()),
        };
        let parsed = Instant::now();
        let detection = Detection::begin(self.signals.heads());
        let signals = self.signals.evaluate(&prompt, client).await;
        let observed = Instant::now();
        let deciding = spans::decision();
        let findings = self.findings(signals);
        let mut explanation = findings.explain(&prompt.model);
        let inspected = findings.inspect(&mut prompt, request.endpoint, &mut explanation);
        detection.end(&explanation, inspected.as_ref());
        let among = Candidates {
            config: &self.config,
            statistics: &self.statistics,
            request_id: request.request_id,
            body: &prompt.body,
            now: observed,
        };
        let mut verdict = self.verdict(&prompt.model, &findings, inspected, among);
        let decided = Instant::now();
        if let Verdict::Forward(Choice::Decided { predictions, .. }) = &mut verdict {
            explanation.predictions = std::mem::take(predictions);
        }
        let (routing, score) = match verdict {
            Verdict::Block(block) => (findings.respond(block, request, prompt.stream), 0.0),
            Verdict::Reject(rejection) => (Routing::Reject(rejection), 0.0),
            Verdict::Forward(choice) => {
                let tools = self
                    .tools(&prompt, &findings, &choice, request.endpoint)
                    .await;
                let question = Arc::clone(&prompt.question);
                let unrouted = Unrouted {
                    body: prompt.body,
                    stream: prompt.stream,
                    changed: !explanation.redacted.is_empty(),
                    tools,
                };
                let applied = apply(unrouted, request, &choice);
                let mut forward = findings.forward(applied, &choice, &mut explanation);
                forward.clear_route_cache = self.config.clear_route_cache;
                forward.scan = AnswerScan::new(
                    &self.signals,
                    findings.decision(),
                    &self.config.security,
                    request.request_id,
                );
                let sought = Sought {
                    request,
                    client,
                    choice: &choice,
                    question: &question,
                };
                let routing = self.answer_or_forward(forward, sought, &findings, &mut explanation);
                (routing.await, choice.score())
            }
        };
        explanation.timings = Timings {
            parse: parsed - started,
            signals: observed - parsed,
            decide: decided - observed,
            apply: decided.elapsed(),
            total: started.elapsed(),
        };
        spans::decided(&deciding, &routing, &explanation);
        report(request.request_id, &routing, &explanation, score);
        Routed {
            routing,
            explanation,
        }
    }

    fn findings(&self, signals: Signals) -> Findings<'_> {
        let config = &self.config;
        let readings = signals.readings(config);
        let facts = signals.facts(config, &readings);
        let matches = decide(&config.decisions, config.strategy, &facts);
        let winner = matches.first().map(|winner| winner.decision);
        let category = winner.and_then(|decision| category(decision, &config.signals, &facts));
        Findings {
            config,
            category: category.map(|at| config.signals[at.0].name.as_str()),
            signals,
            readings,
            facts,
            matches,
        }
    }

    /// Tools are chosen only where the model is.
    async fn tools(
        &self,
        prompt: &Prompt,
        findings: &Findings<'_>,
        choice: &Choice<'_>,
        endpoint: Endpoint,
    ) -> ToolEdit {
        let own = match choice {
            Choice::Named { .. } => return ToolEdit::Keep,
            Choice::Decided { decision, .. } => decision.plugins.tool_selection.as_ref(),
            Choice::Default { .. } => None,
        };
        if endpoint != Endpoint::Chat {
            return ToolEdit::Keep;
        }
        let global = self.config.tools.as_ref();
        select(&self.signals, prompt, &findings.signals, own, global).await
    }

    /// Security first: a request is refused whichever model it names.
    fn verdict<'a>(
        &'a self,
        model: &'a str,
        findings: &Findings<'a>,
        inspected: Option<Block>,
        among: Candidates<'_>,
    ) -> Verdict<'a> {
        if let Some(block) = inspected {
            return Verdict::Block(block);
        }
        let decision = findings.decision();
        if decision.is_some_and(|decision| decision.plugins.fast_response.is_some()) {
            return Verdict::Block(Block::FastResponse);
        }
        if !self.config.is_auto(model) {
            return self.explicit(model);
        }
        let chosen = decision.and_then(|decision| choose(decision, among));
        if let (Some(decision), Some(chosen)) = (decision, chosen) {
            return Verdict::Forward(Choice::Decided {
                decision,
                model: self.config.model(&chosen.model.model),
                chosen: chosen.model,
                predictions: chosen.predictions,
            });
        }
        match &self.config.default_model {
            Some(name) => Verdict::Forward(Choice::Default {
                name,
                model: self.config.model(name),
            }),
            None => Verdict::Reject(Rejection::new(
                ErrorKind::InvalidRequest,
                format!("no decision matches and there is no default model for `{model}`"),
                Some("model".to_owned()),
            )),
        }
    }

    /// A model that the client named is kept.
    fn explicit<'a>(&'a self, name: &'a str) -> Verdict<'a> {
        let known = self.config.model(name);
        let lora = |model: &&ModelConfig| model.loras.iter().any(|lora| lora == name);
        let adapted = self.config.models.iter().find(lora);
        let reject = self.config.unknown_models == UnknownModels::Reject;
        if known.is_none() && adapted.is_none() && reject {
            let auto = self.config.auto_models.iter().map(String::as_str);
            let models = self.config.models.iter().map(|model| model.name.as_str());
            let names: Vec<&str> = auto.chain(models).collect();
            return Verdict::Reject(Rejection::new(
                ErrorKind::NotFound,
                format!(
                    "the model `{name}` does not exist; use one of: {}",
                    names.join(", ")
                ),
                Some("model".to_owned()),
            ));
        }
        Verdict::Forward(Choice::Named {
            name,
            model: known,
            credentials_of: known.or(adapted),
        })
    }
}

impl<'a> Findings<'a> {
    fn decision(&self) -> Option<&'a Decision> {
        self.matches.first().map(|winner| winner.decision)
    }

    /// Applies the policies: gives the reason to refuse the request, or takes personal data out of
    /// it.
    fn inspect(
        &self,
        prompt: &mut Prompt,
        endpoint: Endpoint,
        explanation: &mut Explanation,
    ) -> Option<Block> {
        let policy = match inspect(&self.signals, self.decision(), &self.config.security) {
            Inspection::Pass => return None,
            Inspection::Block(block) => return Some(block),
            Inspection::Redact(policy) => policy,
        };
        let block = policy.violation(&self.signals.pii);
        let redaction = Redaction {
            spans: &self.signals.spans,
            policy,
        };
        if redact(&mut prompt.body, endpoint, &redaction).is_none() {
            return block;
        }
        if let Some(Block::Pii { types }) = block {
            explanation.redacted = types;
        }
        None
    }

    /// The vector of a text that the classifier has read.
    fn embedding(&self, text: &str) -> Option<Arc<[f32]>> {
        self.signals.embeddings.get(text).cloned()
    }

    /// Names of the rules of a family that matched.
    fn matched(&self, family: Family) -> Vec<&'a str> {
        let rules = self.config.signals.iter().enumerate();
        let matched = rules.filter(|(at, rule)| {
            rule.family() == family && self.facts.score(SignalRef(*at)).is_some()
        });
        let mut names: Vec<&str> = Vec::new();
        for (_, rule) in matched {
            if !names.contains(&rule.name.as_str()) {
                names.push(&rule.name);
            }
        }
        names
    }

    fn respond(&self, block: Block, request: RouteRequest<'_>, stream: bool) -> Routing {
        let decision = self.decision();
        let message = decision.and_then(|decision| decision.plugins.fast_response.as_deref());
        let matched = Matched {
            decision: decision.map(|decision| decision.name.as_str()),
            category: self.category,
        };
        let form = Form {
            endpoint: request.endpoint,
            stream,
            created: unix_seconds(),
        };
        Routing::Respond(respond(block, message, matched, form))
    }

    /// The request to send on, with the response headers that say why.
    fn forward(
        &self,
        applied: Applied,
        choice: &Choice<'_>,
        explanation: &mut Explanation,
    ) -> Forward {
        let mut forward = applied.forward;
        let headers = &mut forward.response_headers;
        if let Some(category) = self.category {
            headers.insert(0, (SELECTED_CATEGORY, category.to_owned()));
        }
        for family in header::MATCHED {
            let names = self.matched(family);
            if !names.is_empty() {
                headers.push((header::matched(family), names.join(",")));
            }
        }
        if let Some(tokens) = self.signals.tokens {
            headers.push((header::CONTEXT_TOKENS, tokens.to_string()));
        }
        if !explanation.redacted.is_empty() {
            headers.push((header::PII_REDACTED, explanation.redacted.join(",")));
            explanation.plugins.push("pii");
        }
        explanation.model = Some(forward.model.clone());
        explanation.reason = Some(match choice {
            Choice::Named { .. } => ReasonCode::ModelSpecified,
            Choice::Decided { .. } | Choice::Default { .. } => ReasonCode::AutoRouting,
        });
        explanation.reasoning = applied.reasoning;
        explanation.system_prompt = applied.system_prompt;
        explanation.plugins.extend(applied.plugins);
        forward
    }
}

fn malformed(error: InvalidParameter, after: Duration) -> Routed {
    Routed {
        routing: Routing::Reject(Rejection {
            kind: ErrorKind::InvalidRequest,
            body: error.into(),
        }),
        explanation: Explanation {
            timings: Timings {
                parse: after,
                total: after,
                ..Timings::default()
            },
            ..Explanation::default()
        },
    }
}

/// Logs the outcome; errors are logged by the transport that sends them.
fn report(request_id: &str, routing: &Routing, explanation: &Explanation, score: f32) {
    if let Some((label, confidence)) = explanation.domains.first() {
        events::classified(request_id, label, *confidence);
    }
    match routing {
        Routing::Forward(forward) => {
            events::routed(request_id, explanation, score);
            if forward.recording.is_some() {
                events::missed(request_id, explanation);
            }
        }
        Routing::Respond(response) => events::blocked(request_id, explanation, &response.block),
        Routing::Replay(_) => events::answered_before(request_id, explanation),
        Routing::Reject(_) => {}
    }
}

fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests;
