//! What is told of a request: to logs, metrics and people.

use super::Findings;
use crate::config::{Family, SignalRef};
use crate::explain::{Explanation, MatchedDecision, SignalReading};
use crate::signal::Reading;

impl Findings<'_> {
    /// Everything but the fate of the request.
    pub(super) fn explain(&self, requested_model: &str) -> Explanation {
        let domains = self.signals.domain.known().into_iter().flatten();
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
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
            matched_domains: owned(self.matched(Family::Domain)),
            matched_keywords: owned(self.matched(Family::Keyword)),
            signals: self.signal_readings(),
            context_tokens: self.signals.tokens,
            jailbreak: self.signals.jailbreak.known().copied(),
            pii: self.signals.pii.known().cloned(),
            unavailable: self.signals.unavailable(self.config, &self.readings),
            decision: matched.first().map(|winner| winner.name.clone()),
            matched,
            category: self.category.map(str::to_owned),
            ..Explanation::default()
        }
    }

    fn signal_readings(&self) -> Vec<SignalReading> {
        let rules = self.config.signals.iter().zip(&self.readings).enumerate();
        let readings = rules.filter_map(|(at, (rule, reading))| {
            let score = match reading {
                Reading::NotAsked => return None,
                Reading::Score { value, .. } => Some(*value),
                Reading::Unavailable => None,
            };
            Some(SignalReading {
                family: rule.family().label(),
                name: rule.name.clone(),
                matched: self.facts.score(SignalRef(at)).is_some(),
                score,
            })
        });
        readings.collect()
    }
}
