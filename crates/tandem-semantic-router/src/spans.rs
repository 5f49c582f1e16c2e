//! The spans of a decision, under the names of the original router. Never a text of the request.

use std::time::Instant;

use tandem_classifier::Heads;
use tracing::{Span, field, info_span};

use crate::explain::Explanation;
use crate::routing::{Block, Forward, Routing};

/// Target of spans that are exported and not logged.
const SPANS: &str = "tandem::spans";

/// The classifier is asked about a request.
pub(crate) struct Detection {
    started: Instant,
    jailbreak: Span,
    pii: Span,
}

impl Detection {
    /// Begins where these questions are asked.
    pub(crate) fn begin(heads: Heads) -> Self {
        let jailbreak = || {
            info_span!(
                target: SPANS,
                "semantic_router.security.jailbreak_detection",
                jailbreak.detected = field::Empty,
                jailbreak.r#type = field::Empty,
                jailbreak.detection_time_ms = field::Empty,
                security.action = field::Empty,
            )
        };
        let pii = || {
            info_span!(
                target: SPANS,
                "semantic_router.security.pii_detection",
                pii.detected = field::Empty,
                pii.types = field::Empty,
                pii.detection_time_ms = field::Empty,
                security.action = field::Empty,
            )
        };
        let when = |asked: bool, span: &dyn Fn() -> Span| if asked { span() } else { Span::none() };
        Self {
            started: Instant::now(),
            jailbreak: when(heads.jailbreak, &jailbreak),
            pii: when(heads.pii, &pii),
        }
    }

    /// The answers are there, and what they lead to.
    pub(crate) fn end(self, explanation: &Explanation, block: Option<&Block>) {
        let took = self.started.elapsed().as_secs_f64() * 1e3;
        let blocked = matches!(block, Some(Block::Jailbreak { .. }));
        self.jailbreak.record("jailbreak.detected", blocked);
        if let Some(Block::Jailbreak { label, .. }) = block {
            self.jailbreak.record("jailbreak.type", label);
        }
        self.jailbreak.record("jailbreak.detection_time_ms", took);
        self.jailbreak.record("security.action", action(blocked));
        let found: Vec<&str> = match (block, &explanation.pii) {
            (Some(Block::Pii { types }), _) => types.iter().map(String::as_str).collect(),
            (_, Some(findings)) => findings.iter().map(|found| found.kind.as_str()).collect(),
            (_, None) => Vec::new(),
        };
        let blocked = matches!(block, Some(Block::Pii { .. }));
        self.pii.record("pii.detected", !found.is_empty());
        self.pii.record("pii.types", found.join(","));
        self.pii.record("pii.detection_time_ms", took);
        let redacted = !explanation.redacted.is_empty();
        let action = if redacted {
            "redacted"
        } else {
            action(blocked)
        };
        self.pii.record("security.action", action);
    }
}

fn action(blocked: bool) -> &'static str {
    if blocked { "blocked" } else { "allowed" }
}

/// A model is being chosen.
pub(crate) fn decision() -> Span {
    info_span!(
        target: SPANS,
        "semantic_router.routing.decision",
        routing.strategy = field::Empty,
        routing.reason = field::Empty,
        routing.original_model = field::Empty,
        routing.selected_model = field::Empty,
        reasoning.enabled = field::Empty,
        reasoning.effort = field::Empty,
    )
}

/// The model is chosen, or none is needed; what is done to the request has spans of its own.
pub(crate) fn decided(span: &Span, routing: &Routing, explanation: &Explanation) {
    if span.is_disabled() {
        return;
    }
    let reason = explanation.reason.map(|reason| reason.label());
    span.record("routing.reason", reason.unwrap_or("none"));
    span.record("routing.original_model", &explanation.requested_model);
    let Routing::Forward(forward) = routing else {
        return;
    };
    let strategy = match reason {
        Some("model_specified") => "specified",
        _ => "auto",
    };
    span.record("routing.strategy", strategy);
    span.record("routing.selected_model", &forward.model);
    if let Some(reasoning) = &explanation.reasoning {
        span.record("reasoning.enabled", reasoning.on);
        let effort = reasoning.effort.as_deref();
        span.record("reasoning.effort", effort.unwrap_or_default());
    }
    span.in_scope(|| applied(forward, explanation));
}

fn applied(forward: &Forward, explanation: &Explanation) {
    if let Some(endpoint) = &forward.endpoint {
        let _selection = info_span!(
            target: SPANS,
            "semantic_router.backend.selection",
            endpoint.address = endpoint,
        );
    }
    if explanation.system_prompt {
        let _injection = info_span!(
            target: SPANS,
            "semantic_router.system_prompt.injection",
            system_prompt.injected = true,
        );
    }
}
