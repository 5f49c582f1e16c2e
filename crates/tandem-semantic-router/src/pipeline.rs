//! `route()`: from a request to a [`Routing`].

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tandem_classifier::Classifier;
use tandem_protocol::ErrorKind;
use tandem_protocol::header::{MATCHED_DOMAINS, SELECTED_CATEGORY};
use tandem_protocol::openai::InvalidParameter;

use crate::apply::{Applied, Choice, Unrouted, apply};
use crate::config::{ModelConfig, RouterConfig, UnknownModels};
use crate::decision::{Facts, Match, category, decide};
use crate::events;
use crate::explain::{Explanation, MatchedDecision, ReasonCode, Timings};
use crate::header::MATCHED_KEYWORDS;
use crate::models::{ListedModels, list};
use crate::request::{Prompt, RouteRequest};
use crate::respond::{Form, Matched, respond};
use crate::routing::{Block, Forward, Rejection, Routed, Routing};
use crate::security::inspect;
use crate::selection::choose;
use crate::signal::{SignalEngine, Signals};

/// Decides what happens to requests.
pub struct Router {
    config: RouterConfig,
    signals: SignalEngine,
}

/// What is known about a request once its signals are there.
struct Findings<'a> {
    signals: Signals,
    matches: Vec<Match<'a>>,
    /// Of the winning decision.
    category: Option<&'a str>,
    matched_domains: Vec<&'a str>,
    matched_keywords: Vec<&'a str>,
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
        let signals = SignalEngine::new(&config, classifier);
        Self { config, signals }
    }

    /// What the router was told.
    pub fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// The answer of `GET /v1/models`.
    pub fn models(&self) -> ListedModels {
        list(&self.config, unix_seconds())
    }

    /// Decides what happens to one request. Dropping the future cancels the classifier's work.
    ///
    /// Deciding cannot fail: a signal that is missing is a fact that the policy weighs.
    pub async fn route(&self, request: RouteRequest<'_>) -> Routed {
        let started = Instant::now();
        let prompt = match Prompt::parse(request.endpoint, request.body) {
            Ok(prompt) => prompt,
            Err(error) => return malformed(error, started.elapsed()),
        };
        let parsed = Instant::now();
        let signals = self.signals.evaluate(&prompt).await;
        let observed = Instant::now();
        let findings = self.findings(signals);
        let verdict = self.verdict(&prompt.model, &findings, request.request_id);
        let decided = Instant::now();
        let mut explanation = findings.explain(&prompt.model);
        let (routing, score) = match verdict {
            Verdict::Block(block) => (findings.respond(block, request, prompt.stream), 0.0),
            Verdict::Reject(rejection) => (Routing::Reject(rejection), 0.0),
            Verdict::Forward(choice) => {
                let prompt = Unrouted {
                    body: prompt.body,
                    stream: prompt.stream,
                };
                let applied = apply(prompt, request, &choice);
                let mut forward = findings.forward(applied, &choice, &mut explanation);
                forward.clear_route_cache = self.config.clear_route_cache;
                (Routing::Forward(forward), choice.score())
            }
        };
        explanation.timings = Timings {
            parse: parsed - started,
            signals: observed - parsed,
            decide: decided - observed,
            apply: decided.elapsed(),
            total: started.elapsed(),
        };
        report(request.request_id, &routing, &explanation, score);
        Routed {
            routing,
            explanation,
        }
    }

    fn findings(&self, signals: Signals) -> Findings<'_> {
        let facts = signals.facts(&self.config);
        let matches = decide(&self.config.decisions, self.config.strategy, &facts);
        let winner = matches.first().map(|winner| winner.decision);
        let category = winner.and_then(|decision| category(decision, &facts));
        let domains = &self.config.domains;
        let keywords = signals.keywords.iter();
        Findings {
            category: category.map(|at| domains[at].name.as_str()),
            matched_domains: self.matched_domains(&facts),
            matched_keywords: keywords
                .map(|at| self.config.keywords[*at].name.as_str())
                .collect(),
            signals,
            matches,
        }
    }

    fn matched_domains(&self, facts: &Facts) -> Vec<&str> {
        let rules = self.config.domains.iter().zip(&facts.domains);
        let matched = rules.filter(|(_, score)| score.is_some());
        matched.map(|(rule, _)| rule.name.as_str()).collect()
    }

    /// Security first: a request is refused whichever model it names.
    fn verdict<'a>(
        &'a self,
        model: &'a str,
        findings: &Findings<'a>,
        request_id: &str,
    ) -> Verdict<'a> {
        let decision = findings.matches.first().map(|winner| winner.decision);
        if let Some(block) = inspect(&findings.signals, decision, &self.config.security) {
            return Verdict::Block(block);
        }
        if decision.is_some_and(|decision| decision.plugins.fast_response.is_some()) {
            return Verdict::Block(Block::FastResponse);
        }
        if !self.config.is_auto(model) {
            return self.explicit(model);
        }
        let chosen = decision.and_then(|decision| choose(decision, request_id));
        if let (Some(decision), Some(chosen)) = (decision, chosen) {
            return Verdict::Forward(Choice::Decided {
                decision,
                chosen,
                model: self.config.model(&chosen.model),
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

impl Findings<'_> {
    fn respond(&self, block: Block, request: RouteRequest<'_>, stream: bool) -> Routing {
        let decision = self.matches.first().map(|winner| winner.decision);
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
        let names = [
            (MATCHED_KEYWORDS, &self.matched_keywords),
            (MATCHED_DOMAINS, &self.matched_domains),
        ];
        if let Some(category) = self.category {
            headers.insert(0, (SELECTED_CATEGORY, category.to_owned()));
        }
        for (name, values) in names {
            if !values.is_empty() {
                headers.push((name, values.join(",")));
            }
        }
        explanation.model = Some(forward.model.clone());
        explanation.reason = Some(match choice {
            Choice::Named { .. } => ReasonCode::ModelSpecified,
            Choice::Decided { .. } | Choice::Default { .. } => ReasonCode::AutoRouting,
        });
        explanation.reasoning = applied.reasoning;
        explanation.system_prompt = applied.system_prompt;
        forward
    }

    /// Everything but the fate of the request.
    fn explain(&self, requested_model: &str) -> Explanation {
        let domains = self.signals.domain.known().into_iter().flatten();
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let matched = self.matches.iter().map(|winner| MatchedDecision {
            name: winner.decision.name.clone(),
            priority: winner.decision.priority,
            confidence: winner.confidence,
        });
        let matched: Vec<_> = matched.collect();
        Explanation {
            requested_model: requested_model.to_owned(),
            domains: domains
                .map(|label| (label.label.to_string(), label.score))
                .collect(),
            matched_domains: owned(&self.matched_domains),
            matched_keywords: owned(&self.matched_keywords),
            jailbreak: self.signals.jailbreak.known().copied(),
            pii: self.signals.pii.known().cloned(),
            unavailable: self.signals.unavailable(),
            decision: matched.first().map(|winner| winner.name.clone()),
            matched,
            category: self.category.map(str::to_owned),
            ..Explanation::default()
        }
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
        Routing::Forward(_) => events::routed(request_id, explanation, score),
        Routing::Respond(response) => events::blocked(request_id, explanation, &response.block),
        Routing::Reject(_) => {}
    }
}

fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests;
