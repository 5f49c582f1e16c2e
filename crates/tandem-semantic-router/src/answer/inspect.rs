//! What the policies say about the texts of an answer.

use std::sync::Arc;

use tandem_classifier::{Heads, PiiSpan};

use super::AnswerFindings;
use crate::config::{
    OnError, PiiPolicy, Plugins, ResponseAction, ResponseJailbreakPolicy, SecurityPolicy,
};
use crate::events;
use crate::redact::Redaction;
use crate::routing::Block;
use crate::security::{Inspection, UNAVAILABLE};
use crate::signal::{SignalEngine, Signals};

/// The policies that apply to an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AnswerPolicy {
    jailbreak: Option<ResponseJailbreakPolicy>,
    pii: Option<PiiPolicy>,
}

/// Judges the texts of one answer.
pub(super) struct Inspector {
    pub(super) signals: Arc<SignalEngine>,
    pub(super) policy: AnswerPolicy,
    pub(super) request_id: String,
    pub(super) decision: Option<String>,
    pub(super) findings: AnswerFindings,
}

/// The answer must not go on; why is in the findings.
#[derive(Debug)]
pub(super) struct Blocked;

impl AnswerPolicy {
    /// A decision's own policies replace the global ones; `None` if no answer is looked at.
    pub(super) fn new(plugins: Option<&Plugins>, global: &SecurityPolicy) -> Option<Self> {
        let (mut jailbreak, mut pii) = (global.response_jailbreak.on(), global.pii.on());
        if let Some(plugins) = plugins {
            jailbreak = plugins.response_jailbreak.or(jailbreak);
            pii = plugins.pii.or(pii);
        }
        let pii = pii.filter(|policy| policy.scan_response);
        (jailbreak.is_some() || pii.is_some()).then(|| Self {
            jailbreak: jailbreak.cloned(),
            pii: pii.cloned(),
        })
    }

    fn heads(&self) -> Heads {
        Heads {
            jailbreak: self.jailbreak.is_some(),
            pii: self.pii.is_some(),
            ..Heads::default()
        }
    }

    /// What an answer that cannot be read is taken for.
    fn unreadable(&self) -> Option<Block> {
        let jailbreak = self.jailbreak.as_ref();
        if jailbreak.is_some_and(|policy| policy.check.on_error == OnError::Block) {
            return Some(Block::Jailbreak {
                label: UNAVAILABLE,
                confidence: 1.0,
            });
        }
        let pii = self.pii.as_ref();
        let pii = pii.filter(|policy| policy.on_error == OnError::Block);
        pii.map(|_| Block::Pii {
            types: vec![UNAVAILABLE.to_owned()],
        })
    }
}

impl Inspector {
    /// Finds out about texts, and whether they may go on.
    pub(super) async fn look(&mut self, texts: Vec<Arc<str>>) -> Result<Signals, Blocked> {
        let signals = self.signals.look_at(texts, self.policy.heads()).await;
        let jailbreak = self.policy.jailbreak.as_ref().and_then(|policy| {
            let block = policy.check.violation(&signals.jailbreak)?;
            Some((policy.action, block))
        });
        match jailbreak {
            Some((ResponseAction::Block, block)) => return Err(self.block(block)),
            Some((action, Block::Jailbreak { confidence, .. })) => self.flag(action, confidence),
            _ => {}
        }
        let pii = self.policy.pii.as_ref();
        let inspection = pii.map_or(Inspection::Pass, |policy| policy.inspect(&signals.pii));
        let types = match inspection {
            Inspection::Pass => return Ok(signals),
            Inspection::Block(block) => return Err(self.block(block)),
            Inspection::Redact(policy) => policy.violation(&signals.pii),
        };
        if let Some(Block::Pii { types }) = types {
            self.redact(types);
        }
        Ok(signals)
    }

    /// Spans of `text` that must be replaced.
    pub(super) fn denied<'a>(&self, signals: &'a Signals, text: &str) -> Vec<&'a PiiSpan> {
        let (Some(policy), Some(spans)) = (&self.policy.pii, signals.spans.get(text)) else {
            return Vec::new();
        };
        let denied = spans.iter();
        denied
            .filter(|span| policy.denies(&span.kind, span.score))
            .collect()
    }

    /// `text` without what must be replaced; `None` if nothing must be.
    pub(super) fn redacted(&self, signals: &Signals, text: &str) -> Option<String> {
        let redaction = Redaction {
            spans: &signals.spans,
            policy: self.policy.pii.as_ref()?,
        };
        Some(redaction.text(text)).filter(|redacted| redacted != text)
    }

    /// The answer, or a part of it, is not what answers are.
    pub(super) fn unreadable(&mut self) -> Result<(), Blocked> {
        match self.policy.unreadable() {
            Some(block) => Err(self.block(block)),
            None => Ok(()),
        }
    }

    pub(super) fn block(&mut self, block: Block) -> Blocked {
        events::answer_blocked(&self.request_id, self.decision.as_deref(), &block);
        self.findings.blocked = Some(block);
        Blocked
    }

    fn flag(&mut self, action: ResponseAction, confidence: f32) {
        if self.findings.flagged.is_none() {
            events::answer_flagged(&self.request_id, self.decision.as_deref(), confidence);
        }
        self.findings.told |= action == ResponseAction::Header;
        let highest = self
            .findings
            .flagged
            .map_or(confidence, |seen| seen.max(confidence));
        self.findings.flagged = Some(highest);
    }

    fn redact(&mut self, types: Vec<String>) {
        let seen = &mut self.findings.redacted;
        let new: Vec<String> = types
            .into_iter()
            .filter(|kind| !seen.contains(kind))
            .collect();
        if !new.is_empty() {
            events::answer_redacted(&self.request_id, self.decision.as_deref(), &new);
            seen.extend(new);
        }
    }
}
