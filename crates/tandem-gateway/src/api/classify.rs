//! Domain, personal data and jailbreaks of texts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tandem_classifier::{Analysis, Heads, LabelScore, PiiSpan};
use tandem_semantic_router::config::{
    Decision, JailbreakPolicy, PiiPolicy, Rule, SignalRef, SignalTest,
};
use tandem_semantic_router::{Router, RouterConfig};

use super::error::ApiError;
use super::question::{Question, Text, milliseconds};
use super::{Api, Shared};

/// Confidence from which a category counts as certain.
const CERTAIN: f32 = 0.7;
/// Texts of one batch that are classified at the same time.
const AT_ONCE: usize = 16;

type Answer<T> = Result<Json<T>, ApiError>;

#[derive(Debug, Deserialize)]
pub(super) struct IntentQuestion {
    text: Text,
    #[serde(default)]
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    return_probabilities: bool,
    confidence_threshold: Option<f32>,
    entity_types: Vec<String>,
    return_positions: Option<bool>,
    mask_entities: bool,
    include_explanation: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Intent {
    classification: Classification,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<BTreeMap<String, f32>>,
    recommended_model: Option<String>,
    routing_decision: &'static str,
}

#[derive(Debug, Serialize)]
struct Classification {
    category: String,
    confidence: f32,
    processing_time_ms: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Pii {
    has_pii: bool,
    entities: Vec<Entity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_text: Option<String>,
    security_recommendation: &'static str,
    processing_time_ms: f64,
}

/// Positions count Unicode characters, so that they fit a string in most languages.
#[derive(Debug, Serialize)]
struct Entity {
    #[serde(rename = "type")]
    kind: String,
    /// Never the data itself: answers end up in logs.
    value: &'static str,
    confidence: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_position: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_position: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_value: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Security {
    is_jailbreak: bool,
    /// Probability of a jailbreak.
    risk_score: f32,
    detection_types: Vec<&'static str>,
    /// Probability of what `is_jailbreak` says.
    confidence: f32,
    recommendation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    patterns_detected: Vec<&'static str>,
    processing_time_ms: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Combined {
    intent: Intent,
    pii: Pii,
    security: Security,
    processing_time_ms: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct BatchQuestion {
    texts: Vec<Text>,
    task_type: Option<String>,
    #[serde(default)]
    options: Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Intent,
    Pii,
    Security,
    All,
}

#[derive(Debug, Serialize)]
pub(super) struct Batch {
    results: Vec<BatchResult>,
    total_count: usize,
    processing_time_ms: f64,
    statistics: Statistics,
}

#[derive(Debug, Serialize)]
struct BatchResult {
    category: String,
    confidence: f32,
    processing_time_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<BTreeMap<String, f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pii: Option<Pii>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<Security>,
}

#[derive(Debug, Serialize)]
struct Statistics {
    category_distribution: BTreeMap<String, usize>,
    avg_confidence: f32,
    low_confidence_count: usize,
}

pub(super) async fn intent(
    State(api): Shared,
    Question(question): Question<IntentQuestion>,
) -> Answer<Intent> {
    let started = Instant::now();
    let heads = Task::Intent.heads();
    let analysis = api.analyze(&question.text, heads).await?;
    let intent = api.intent(&analysis, &question.options, started)?;
    Ok(Json(intent))
}

pub(super) async fn pii(
    State(api): Shared,
    Question(question): Question<IntentQuestion>,
) -> Answer<Pii> {
    let started = Instant::now();
    let analysis = api.analyze(&question.text, Task::Pii.heads()).await?;
    let pii = api.pii(&question.text, analysis, &question.options, started)?;
    Ok(Json(pii))
}

pub(super) async fn security(
    State(api): Shared,
    Question(question): Question<IntentQuestion>,
) -> Answer<Security> {
    let started = Instant::now();
    let analysis = api.analyze(&question.text, Task::Security.heads()).await?;
    Ok(Json(api.security(&analysis, &question.options, started)?))
}

pub(super) async fn combined(
    State(api): Shared,
    Question(question): Question<IntentQuestion>,
) -> Answer<Combined> {
    let started = Instant::now();
    let analysis = api.analyze(&question.text, Task::All.heads()).await?;
    Ok(Json(Combined {
        intent: api.intent(&analysis, &question.options, started)?,
        security: api.security(&analysis, &question.options, started)?,
        pii: api.pii(&question.text, analysis, &question.options, started)?,
        processing_time_ms: milliseconds(started),
    }))
}

pub(super) async fn batch(
    State(api): Shared,
    Question(question): Question<BatchQuestion>,
) -> Answer<Batch> {
    let started = Instant::now();
    let answer = api.batch(&question).await;
    let took = started.elapsed();
    match &answer {
        Ok(_) => api.metrics.batch(question.texts.len(), took),
        Err(error) => api.metrics.batch_failed(error.label()),
    }
    let results = answer?;
    Ok(Json(Batch {
        total_count: results.len(),
        processing_time_ms: took.as_secs_f64() * 1e3,
        statistics: Statistics::of(&results),
        results,
    }))
}

impl Task {
    fn named(name: Option<&str>) -> Result<Self, ApiError> {
        match name.unwrap_or("intent") {
            "intent" => Ok(Self::Intent),
            "pii" => Ok(Self::Pii),
            "security" => Ok(Self::Security),
            "all" => Ok(Self::All),
            other => Err(ApiError::task(format!(
                "unknown task_type `{other}`; use intent, pii, security or all"
            ))),
        }
    }

    fn heads(self) -> Heads {
        let all = self == Self::All;
        Heads {
            domain: all || self == Self::Intent,
            pii: all || self == Self::Pii,
            jailbreak: all || self == Self::Security,
            ..Heads::default()
        }
    }
}

impl Api {
    async fn batch(&self, question: &BatchQuestion) -> Result<Vec<BatchResult>, ApiError> {
        let task = Task::named(question.task_type.as_deref())?;
        self.check_count("texts", question.texts.len())?;
        let results = question
            .texts
            .iter()
            .map(|text| self.batch_result(text, task, &question.options));
        // Collected first: the compiler cannot see that the closure outlives the stream.
        let results: Vec<_> = results.collect();
        stream::iter(results).buffered(AT_ONCE).try_collect().await
    }

    async fn batch_result(
        &self,
        text: &Text,
        task: Task,
        options: &Options,
    ) -> Result<BatchResult, ApiError> {
        let started = Instant::now();
        let analysis = self.analyze(text, task.heads()).await?;
        let wants = |one: Task| task == one || task == Task::All;
        let security = wants(Task::Security)
            .then(|| self.security(&analysis, options, started))
            .transpose()?;
        let intent = wants(Task::Intent)
            .then(|| self.intent(&analysis, options, started))
            .transpose()?;
        let pii = wants(Task::Pii)
            .then(|| self.pii(text, analysis, options, started))
            .transpose()?;
        let (category, confidence) = match (&intent, &pii, &security) {
            (Some(intent), ..) => {
                let found = &intent.classification;
                (found.category.clone(), found.confidence)
            }
            (_, Some(pii), _) => (
                if pii.has_pii { "pii" } else { "no_pii" }.to_owned(),
                pii.entities
                    .iter()
                    .map(|one| one.confidence)
                    .fold(if pii.has_pii { 0.0 } else { 1.0 }, f32::max),
            ),
            (.., Some(security)) => {
                let label = if security.is_jailbreak {
                    "jailbreak"
                } else {
                    "benign"
                };
                (label.to_owned(), security.confidence)
            }
            (None, None, None) => (String::new(), 0.0),
        };
        Ok(BatchResult {
            category,
            confidence,
            processing_time_ms: milliseconds(started),
            probabilities: intent.and_then(|intent| intent.probabilities),
            pii,
            security,
        })
    }

    fn intent(
        &self,
        analysis: &Analysis,
        options: &Options,
        started: Instant,
    ) -> Result<Intent, ApiError> {
        let domains = analysis.domain.as_deref();
        let domains = domains.filter(|domains| !domains.is_empty());
        let domains = domains.ok_or_else(|| ApiError::no_head("domains"))?;
        let top = &domains[0];
        self.metrics.classified(&top.label, top.score, domains);
        let certain = top.score >= options.confidence_threshold.unwrap_or(CERTAIN);
        let router: Arc<Router> = self.router.load_full();
        Ok(Intent {
            recommended_model: recommended(router.config(), &top.label),
            routing_decision: match certain {
                true => "high_confidence_specialized",
                false => "low_confidence_general",
            },
            probabilities: options.return_probabilities.then(|| by_label(domains)),
            classification: Classification {
                category: top.label.to_string(),
                confidence: top.score,
                processing_time_ms: milliseconds(started),
            },
        })
    }

    fn pii(
        &self,
        text: &Text,
        analysis: Analysis,
        options: &Options,
        started: Instant,
    ) -> Result<Pii, ApiError> {
        let spans = analysis
            .pii
            .ok_or_else(|| ApiError::no_head("personal data"))?;
        let router = self.router.load_full();
        let policy = router.config().security.pii.on();
        let default = policy.map_or(PiiPolicy::DEFAULT_THRESHOLD, |policy| policy.threshold);
        let least = options.confidence_threshold.unwrap_or(default);
        let wanted = |kind: &str| {
            let bare = |name: &String| name.strip_prefix("B-").unwrap_or(name) == kind;
            options.entity_types.is_empty() || options.entity_types.iter().any(bare)
        };
        let mut spans = spans;
        spans.retain(|span| span.score >= least && wanted(&span.kind));
        let positions = options.return_positions.unwrap_or(true);
        let entities = spans
            .iter()
            .map(|span| entity(text.as_str(), span, positions, options.mask_entities));
        let refused = spans
            .iter()
            .any(|span| policy.is_none_or(|policy| policy.types.denies(&span.kind)));
        Ok(Pii {
            has_pii: !spans.is_empty(),
            entities: entities.collect(),
            masked_text: options.mask_entities.then(|| masked(text.as_str(), &spans)),
            security_recommendation: if refused { "block" } else { "allow" },
            processing_time_ms: milliseconds(started),
        })
    }

    fn security(
        &self,
        analysis: &Analysis,
        options: &Options,
        started: Instant,
    ) -> Result<Security, ApiError> {
        let risk = analysis
            .jailbreak
            .ok_or_else(|| ApiError::no_head("jailbreaks"))?;
        let router = self.router.load_full();
        let policy = router.config().security.jailbreak.on();
        let default = policy.map_or(JailbreakPolicy::DEFAULT_THRESHOLD, |policy| {
            policy.threshold
        });
        let threshold = options.confidence_threshold.unwrap_or(default);
        let found = risk >= threshold;
        let types = if found { vec!["jailbreak"] } else { Vec::new() };
        Ok(Security {
            is_jailbreak: found,
            risk_score: risk,
            detection_types: types.clone(),
            confidence: if found { risk } else { 1.0 - risk },
            recommendation: if found { "block" } else { "allow" },
            reasoning: options.include_explanation.then(|| {
                let relation = if found { "reaches" } else { "is below" };
                format!("the probability {risk:.3} {relation} the threshold {threshold:.3}")
            }),
            patterns_detected: types,
            processing_time_ms: milliseconds(started),
        })
    }
}

impl Statistics {
    #[allow(
        clippy::cast_precision_loss,
        reason = "there are at most some hundred texts"
    )]
    fn of(results: &[BatchResult]) -> Self {
        let mut categories = BTreeMap::new();
        for result in results {
            *categories.entry(result.category.clone()).or_insert(0) += 1;
        }
        let sum: f32 = results.iter().map(|result| result.confidence).sum();
        let low = results.iter().filter(|result| result.confidence < CERTAIN);
        Self {
            category_distribution: categories,
            avg_confidence: sum / results.len().max(1) as f32,
            low_confidence_count: low.count(),
        }
    }
}

fn by_label(domains: &[LabelScore]) -> BTreeMap<String, f32> {
    let pairs = domains.iter().map(|one| (one.label.to_string(), one.score));
    pairs.collect()
}

/// The first model of the first decision that is about the category, else the default model.
fn recommended(config: &RouterConfig, category: &str) -> Option<String> {
    let label = category.to_lowercase().replace('_', " ");
    let about = |rule: &Rule| mentions(rule, config, &label);
    let mut decisions: Vec<&Decision> = config.decisions.iter().collect();
    decisions.sort_by_key(|decision| (decision.tier, std::cmp::Reverse(decision.priority)));
    let decision = decisions.into_iter().find(|decision| about(&decision.rule));
    let model = decision.and_then(|decision| decision.models.first());
    let model = model.map(|model| model.served_name().to_owned());
    model.or_else(|| config.default_model.clone())
}

fn mentions(rule: &Rule, config: &RouterConfig, label: &String) -> bool {
    match rule {
        Rule::All(parts) | Rule::Any(parts) => {
            parts.iter().any(|part| mentions(part, config, label))
        }
        Rule::Signal(SignalRef(at)) => match &config.signals[*at].test {
            SignalTest::Domain(labels) => labels.contains(label),
            _ => false,
        },
        Rule::Not(_) | Rule::Always | Rule::Never => false,
    }
}

fn entity(text: &str, span: &PiiSpan, positions: bool, mask: bool) -> Entity {
    let at = |byte: usize| positions.then(|| text[..byte].chars().count());
    Entity {
        kind: span.kind.to_string(),
        value: "[DETECTED]",
        confidence: span.score,
        start_position: at(span.start),
        end_position: at(span.end),
        masked_value: mask.then(|| format!("[{}]", span.kind)),
    }
}

/// The text with the type in place of each piece of personal data. Spans are in order and do not
/// overlap.
fn masked(text: &str, spans: &[PiiSpan]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for span in spans {
        masked.push_str(&text[from..span.start]);
        masked.push('[');
        masked.push_str(&span.kind);
        masked.push(']');
        from = span.end;
    }
    masked.push_str(&text[from..]);
    masked
}
