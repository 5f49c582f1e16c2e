//! Answers from the cache in place of a model's.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tandem_protocol::header::{SELECTED_CATEGORY, SELECTED_DECISION, SELECTED_MODEL};

use super::{Findings, Router, report};
use crate::answer::AnswerScan;
use crate::apply::Choice;
use crate::cache::{CacheKey, Found, Hit, Keys, Partition, Wanted, tenant};
use crate::config::{CachePolicy, Override, RouterConfig, Selection};
use crate::explain::{CacheOutcome, Explanation, Timings};
use crate::header;
use crate::request::{Client, Endpoint, RouteRequest};
use crate::routing::{Forward, Replay, Routed, Routing};

/// Requests whose routing is remembered.
const MEMORIES: usize = 8192;

/// How requests were routed whose answers are in the cache.
///
/// Routing is a function of the configuration, the client and the body, unless it looked at the
/// load, at a language model, or at a classifier that did not answer. Where it is, the same request
/// has the same verdict again, and its answer can be found without any signal. A block is never
/// remembered, and a router that takes over another configuration begins with nothing.
#[derive(Debug, Default)]
pub(super) struct Memories(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    verdicts: HashMap<CacheKey, Arc<Verdict>>,
    /// Oldest first.
    order: VecDeque<CacheKey>,
}

/// A request that was sent on.
#[derive(Debug)]
struct Verdict {
    answer: CacheKey,
    stream: bool,
    explanation: Explanation,
}

/// What looking for an answer needs, beside the request to send on.
pub(super) struct Sought<'a> {
    pub(super) request: RouteRequest<'a>,
    pub(super) client: &'a Client,
    pub(super) choice: &'a Choice<'a>,
    /// The last question as it is sent on has these words.
    pub(super) question: &'a str,
}

impl Memories {
    fn get(&self, request: CacheKey) -> Option<Arc<Verdict>> {
        self.0.lock().verdicts.get(&request).cloned()
    }

    fn add(&self, request: CacheKey, verdict: Verdict) {
        let mut remembered = self.0.lock();
        if remembered
            .verdicts
            .insert(request, Arc::new(verdict))
            .is_some()
        {
            return;
        }
        remembered.order.push_back(request);
        if remembered.order.len() > MEMORIES
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.verdicts.remove(&oldest);
        }
    }
}

/// Whether any request may be answered from the cache.
pub(super) fn caches(config: &RouterConfig) -> bool {
    let mut decisions = config.decisions.iter();
    config.cache.enabled
        || decisions.any(|decision| matches!(decision.plugins.cache, Override::On(_)))
}

impl Router {
    /// The answer to a request that was routed and answered before, if both still hold.
    pub(super) fn recall(
        &self,
        request: RouteRequest<'_>,
        client: &Client,
        started: Instant,
    ) -> Option<Routed> {
        if !self.caches {
            return None;
        }
        let verdict = self.memories.get(request_key(request, client))?;
        let hit = self.cache.recall(verdict.answer, &client.cache_control)?;
        let mut explanation = verdict.explanation.clone();
        let routing = answered(hit, verdict.stream, &mut explanation);
        explanation.timings = Timings {
            total: started.elapsed(),
            ..Timings::default()
        };
        report(request.request_id, &routing, &explanation, 0.0);
        Some(Routed {
            routing,
            explanation,
        })
    }

    /// The answer to a request from the cache, or the request itself with the means to keep the
    /// answer.
    pub(super) async fn answer_or_forward<'a>(
        &'a self,
        mut forward: Forward,
        sought: Sought<'_>,
        findings: &Findings<'a>,
        explanation: &mut Explanation,
    ) -> Routing {
        let Some((policy, partition, keys)) = self.keys(&forward, &sought, findings) else {
            return Routing::Forward(forward);
        };
        let answer = keys.exact;
        let wanted = Wanted {
            keys,
            partition,
            embedding: findings.embedding(sought.question),
            policy,
            control: &sought.client.cache_control,
            model: &forward.model,
            decision: findings.decision().map(|decision| decision.name.as_str()),
            stream: forward.stream,
        };
        let found = self.cache.look_up(wanted).await;
        if self.repeats(sought.choice, explanation) {
            let verdict = Verdict {
                answer,
                stream: forward.stream,
                explanation: explanation.clone(),
            };
            let request = request_key(sought.request, sought.client);
            self.memories.add(request, verdict);
        }
        match found {
            Found::Hit(hit) => answered(hit, forward.stream, explanation),
            Found::Miss(recording) => {
                explanation.cache = Some(CacheOutcome::Miss);
                forward.recording = recording;
                Routing::Forward(forward)
            }
        }
    }

    /// How the request may be cached, and what names it; `None` if it may not.
    fn keys<'a>(
        &'a self,
        forward: &Forward,
        sought: &Sought<'_>,
        findings: &Findings<'a>,
    ) -> Option<(&'a CachePolicy, Partition, Keys)> {
        let global = self
            .config
            .cache
            .enabled
            .then_some(&self.config.cache.policy);
        let decision = findings.decision();
        let policy = match decision {
            Some(decision) => decision.plugins.cache.or(global),
            None => global,
        }?;
        let partition = Partition {
            tenant: tenant(policy.scope, sought.client)?,
            endpoint: sought.request.endpoint,
            decision: decision.map(|decision| decision.name.clone()),
            model: forward.model.clone(),
            address: forward.endpoint.clone(),
            scan: forward.scan.as_ref().map(AnswerScan::policy),
        };
        let mut keys = Keys::of(&partition, &forward.body)?;
        // What was edited out of the question is still in its vector.
        keys.around = keys
            .around
            .filter(|around| around.question == sought.question);
        Some((policy, partition, keys))
    }

    /// Whether the same request would be routed in the same way.
    fn repeats(&self, choice: &Choice<'_>, explanation: &Explanation) -> bool {
        let chosen = match choice {
            Choice::Decided { decision, .. } => {
                let fixed =
                    decision.selection == Selection::Static && decision.load_aware.is_none();
                decision.models.len() == 1 || fixed
            }
            Choice::Default { .. } | Choice::Named { .. } => true,
        };
        chosen && explanation.unavailable.is_empty() && !self.signals.asks_language_models()
    }
}

/// Names a request as it came, with everything that routing looks at.
fn request_key(request: RouteRequest<'_>, client: &Client) -> CacheKey {
    let endpoint: &[u8] = match request.endpoint {
        Endpoint::Chat => b"chat",
        Endpoint::Completion => b"completion",
    };
    let user = client.user.as_deref().unwrap_or_default();
    let known = [u8::from(client.user.is_some())];
    let groups = client.groups.join(",");
    let credential = client.credential.map(|key| key.to_string());
    let credential = credential.unwrap_or_default();
    CacheKey::of(&[
        endpoint,
        &known,
        user.as_bytes(),
        groups.as_bytes(),
        credential.as_bytes(),
        request.body,
    ])
}

fn answered(hit: Hit, stream: bool, explanation: &mut Explanation) -> Routing {
    explanation.cache = Some(CacheOutcome::Hit {
        similarity: hit.similarity,
    });
    explanation.model = Some(hit.model.clone());
    let kind = match stream {
        true => "text/event-stream",
        false => "application/json",
    };
    let mut headers = vec![
        ("content-type", kind.to_owned()),
        ("age", hit.age.as_secs().to_string()),
        (header::CACHE_HIT, "true".to_owned()),
        (header::CACHE_KEY, hit.key.to_string()),
        (SELECTED_MODEL, hit.model),
    ];
    let named = [
        (SELECTED_DECISION, &explanation.decision),
        (SELECTED_CATEGORY, &explanation.category),
        (
            header::CACHE_SIMILARITY,
            &hit.similarity.map(|similarity| format!("{similarity:.3}")),
        ),
    ];
    for (name, value) in named {
        headers.extend(value.clone().map(|value| (name, value)));
    }
    Routing::Replay(Replay {
        headers,
        body: hit.answer,
        stream,
    })
}
