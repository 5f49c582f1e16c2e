//! Whether a request is refused for what it holds.

use crate::config::{Decision, JailbreakPolicy, OnError, PiiAction, PiiPolicy, SecurityPolicy};
use crate::explain::PiiFinding;
use crate::routing::Block;
use crate::signal::{Signal, Signals};

/// What the findings say when they could not be had and the policy is to block.
pub(crate) const UNAVAILABLE: &str = "classifier_unavailable";

/// What the policies say about a request.
#[derive(Debug)]
pub(crate) enum Inspection<'a> {
    /// Nothing is wrong with it.
    Pass,
    /// It is refused.
    Block(Block),
    /// It goes on without its personal data.
    Redact(&'a PiiPolicy),
}

/// Applies the policies, jailbreaks first. A decision's own policy replaces the global one.
pub(crate) fn inspect<'a>(
    signals: &Signals,
    decision: Option<&'a Decision>,
    global: &'a SecurityPolicy,
) -> Inspection<'a> {
    let plugins = decision.map(|decision| &decision.plugins);
    let jailbreak = match plugins {
        Some(plugins) => plugins.jailbreak.or(global.jailbreak.on()),
        None => global.jailbreak.on(),
    };
    let pii = match plugins {
        Some(plugins) => plugins.pii.or(global.pii.on()),
        None => global.pii.on(),
    };
    let jailbreak = jailbreak.and_then(|policy| policy.violation(&signals.jailbreak));
    if let Some(block) = jailbreak {
        return Inspection::Block(block);
    }
    match pii {
        Some(policy) => policy.inspect(&signals.pii),
        None => Inspection::Pass,
    }
}

impl JailbreakPolicy {
    /// The score that counts as a match.
    pub(crate) fn score(&self, found: &Signal<f32>) -> Option<f32> {
        let score = found
            .known()
            .copied()
            .filter(|score| *score >= self.threshold);
        score.or_else(|| (found.incomplete() && self.on_error == OnError::Block).then_some(1.0))
    }

    pub(crate) fn violation(&self, found: &Signal<f32>) -> Option<Block> {
        let confidence = self.score(found)?;
        let seen = found.known().is_some_and(|score| *score >= self.threshold);
        let label = if seen { "jailbreak" } else { UNAVAILABLE };
        Some(Block::Jailbreak { label, confidence })
    }
}

impl PiiPolicy {
    /// The highest score of a denied type, whatever the threshold.
    pub(crate) fn highest(&self, found: &Signal<Vec<PiiFinding>>) -> Option<f32> {
        let findings = found.known().map_or(&[][..], Vec::as_slice).iter();
        let denied = findings.filter(|finding| self.types.denies(&finding.kind));
        denied.map(|finding| finding.score).max_by(f32::total_cmp)
    }

    /// The score that counts as a match.
    pub(crate) fn score(&self, found: &Signal<Vec<PiiFinding>>) -> Option<f32> {
        let scores = self.denied(found).map(|finding| finding.score);
        let score = scores.max_by(f32::total_cmp);
        score.or_else(|| (found.incomplete() && self.on_error == OnError::Block).then_some(1.0))
    }

    pub(crate) fn violation(&self, found: &Signal<Vec<PiiFinding>>) -> Option<Block> {
        self.score(found)?;
        let denied = self.denied(found);
        // The token classifier's labels mark the beginning of a span with `B-`; that form is what
        // clients of the original router look for.
        let mut types: Vec<String> = denied
            .map(|finding| format!("B-{}", finding.kind))
            .collect();
        if types.is_empty() {
            types.push(UNAVAILABLE.to_owned());
        }
        Some(Block::Pii { types })
    }

    /// What the policy says about what was found.
    pub(crate) fn inspect(&self, found: &Signal<Vec<PiiFinding>>) -> Inspection<'_> {
        let Some(block) = self.violation(found) else {
            return Inspection::Pass;
        };
        // What could not be looked at cannot be redacted.
        let unseen = found.incomplete() && self.on_error == OnError::Block;
        match self.action {
            PiiAction::Redact if !unseen => Inspection::Redact(self),
            PiiAction::Redact | PiiAction::Block => Inspection::Block(block),
        }
    }

    fn denied<'a>(
        &'a self,
        found: &'a Signal<Vec<PiiFinding>>,
    ) -> impl Iterator<Item = &'a PiiFinding> {
        let findings = found.known().map_or(&[][..], Vec::as_slice).iter();
        findings.filter(|finding| self.denies(&finding.kind, finding.score))
    }

    /// Whether personal data of this type is refused if it is found with this score.
    pub(crate) fn denies(&self, kind: &str, score: f32) -> bool {
        score >= self.threshold && self.types.denies(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PiiTypes;

    fn jailbreak(threshold: f32, on_error: OnError) -> JailbreakPolicy {
        JailbreakPolicy {
            threshold,
            on_error,
        }
    }

    #[test]
    fn an_unavailable_classifier_means_what_the_policy_says() {
        let check = |signal: Signal<f32>, on_error, want: Option<(&str, f32)>| {
            let block = jailbreak(0.7, on_error).violation(&signal);
            let want = want.map(|(label, confidence)| (label.to_owned(), confidence));
            let block = block.map(|block| match block {
                Block::Jailbreak { label, confidence } => (label.to_owned(), confidence),
                other => panic!("{other:?}"),
            });
            assert_eq!(block, want, "{signal:?}");
        };
        check(Signal::Known(0.7), OnError::Allow, Some(("jailbreak", 0.7)));
        check(Signal::Known(0.69), OnError::Block, None);
        check(Signal::Unavailable, OnError::Allow, None);
        check(
            Signal::Unavailable,
            OnError::Block,
            Some((UNAVAILABLE, 1.0)),
        );
        check(
            Signal::Partial(0.9),
            OnError::Allow,
            Some(("jailbreak", 0.9)),
        );
        check(Signal::Partial(0.1), OnError::Allow, None);
        check(
            Signal::Partial(0.1),
            OnError::Block,
            Some((UNAVAILABLE, 1.0)),
        );
        check(Signal::NotNeeded, OnError::Block, None);
    }

    #[test]
    fn only_denied_types_above_the_threshold_count() {
        let found = |kinds: &[(&str, f32)]| {
            let findings = kinds.iter().map(|(kind, score)| PiiFinding {
                kind: (*kind).to_owned(),
                score: *score,
            });
            Signal::Known(findings.collect::<Vec<_>>())
        };
        let policy = |types| PiiPolicy {
            types,
            threshold: 0.7,
            action: PiiAction::Block,
            on_error: OnError::Allow,
            scan_response: false,
        };
        let all = policy(PiiTypes::AllBut(vec!["PERSON".into()]));
        let check = |policy: &PiiPolicy, kinds: &[(&str, f32)], want: &[&str]| {
            let types = match policy.violation(&found(kinds)) {
                Some(Block::Pii { types }) => types,
                None => Vec::new(),
                Some(other) => panic!("{other:?}"),
            };
            assert_eq!(types, want);
        };
        check(&all, &[("US_SSN", 1.0), ("PERSON", 1.0)], &["B-US_SSN"]);
        check(&all, &[("US_SSN", 0.6)], &[]);
        let only = policy(PiiTypes::Only(vec!["US_SSN".into()]));
        check(&only, &[("EMAIL_ADDRESS", 1.0)], &[]);
        check(
            &only,
            &[("EMAIL_ADDRESS", 1.0), ("US_SSN", 0.9)],
            &["B-US_SSN"],
        );
    }
}
