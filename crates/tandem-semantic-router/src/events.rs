//! What operators read in the logs. Never a text of the request.

use tracing::{debug, info, warn};

use crate::explain::{CacheOutcome, Explanation};
use crate::routing::Block;

/// The line about the classifier's answer.
pub(crate) fn classified(request_id: &str, label: &str, confidence: f32) {
    info!(
        request_id,
        "Classified as category: {label} (confidence={confidence:.3})"
    );
}

/// A model was chosen, or kept.
pub(crate) fn routed(request_id: &str, explanation: &Explanation, score: f32) {
    let model = explanation.model.as_deref().unwrap_or_default();
    let category = explanation.category.as_deref().unwrap_or_default();
    if explanation.decision.is_some() {
        info!(
            request_id,
            "Selected model {model} for category {category} with score {score:.4}"
        );
    }
    let reasoning = explanation.reasoning.as_ref();
    info!(
        event = "routing_decision",
        reason_code = explanation.reason.map(|reason| reason.label()),
        request_id,
        original_model = explanation.requested_model,
        selected_model = model,
        decision = explanation.decision.as_deref().unwrap_or_default(),
        category,
        reasoning_enabled = reasoning.is_some_and(|reasoning| reasoning.on),
        reasoning_effort = reasoning.and_then(|reasoning| reasoning.effort.as_deref()),
        routing_latency_ms = explanation.timings.total.as_secs_f64() * 1e3,
        "routing_decision"
    );
}

/// An answer, or the rest of it, was withheld.
pub(crate) fn answer_blocked(request_id: &str, decision: Option<&str>, block: &Block) {
    let decision = decision.unwrap_or_default();
    match block {
        Block::Pii { types } => warn!(
            event = "security_block",
            reason_code = "response_pii_denied",
            request_id,
            decision,
            denied_pii = types.join(","),
            "security_block"
        ),
        Block::Jailbreak { label, confidence } => warn!(
            event = "security_block",
            reason_code = "response_jailbreak_detected",
            request_id,
            decision,
            jailbreak_type = label,
            confidence,
            "security_block"
        ),
        Block::FastResponse => {}
    }
}

/// An answer counts as the work of a jailbreak and goes on.
pub(crate) fn answer_flagged(request_id: &str, decision: Option<&str>, confidence: f32) {
    warn!(
        event = "response_warning",
        reason_code = "response_jailbreak_detected",
        request_id,
        decision = decision.unwrap_or_default(),
        confidence,
        "response_warning"
    );
}

/// Personal data was taken out of an answer.
pub(crate) fn answer_redacted(request_id: &str, decision: Option<&str>, types: &[String]) {
    warn!(
        event = "response_redacted",
        reason_code = "response_pii_redacted",
        request_id,
        decision = decision.unwrap_or_default(),
        redacted_pii = types.join(","),
        "response_redacted"
    );
}

/// The answer was given before.
pub(crate) fn answered_before(request_id: &str, explanation: &Explanation) {
    let similarity = match explanation.cache {
        Some(CacheOutcome::Hit { similarity }) => similarity,
        Some(CacheOutcome::Miss) | None => None,
    };
    info!(
        event = "cache_hit",
        request_id,
        model = explanation.model.as_deref().unwrap_or_default(),
        decision = explanation.decision.as_deref().unwrap_or_default(),
        category = explanation.category.as_deref().unwrap_or_default(),
        similarity,
        latency_ms = explanation.timings.total.as_secs_f64() * 1e3,
        "cache_hit"
    );
}

/// The cache has no answer.
pub(crate) fn missed(request_id: &str, explanation: &Explanation) {
    debug!(
        event = "cache_miss",
        request_id,
        model = explanation.model.as_deref().unwrap_or_default(),
        decision = explanation.decision.as_deref().unwrap_or_default(),
        "cache_miss"
    );
}

/// A request was refused or answered without a model.
pub(crate) fn blocked(request_id: &str, explanation: &Explanation, block: &Block) {
    let decision = explanation.decision.as_deref().unwrap_or_default();
    match block {
        Block::Pii { types } => warn!(
            event = "routing_block",
            reason_code = "pii_policy_denied",
            request_id,
            decision,
            denied_pii = types.join(","),
            "routing_block"
        ),
        Block::Jailbreak { label, confidence } => warn!(
            event = "security_block",
            reason_code = "jailbreak_detected",
            request_id,
            jailbreak_type = label,
            confidence,
            "security_block"
        ),
        Block::FastResponse => info!(
            event = "routing_block",
            reason_code = "fast_response",
            request_id,
            decision,
            "routing_block"
        ),
    }
}
