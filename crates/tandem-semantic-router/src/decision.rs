//! Which decision wins: pure boolean logic over facts.

use std::cmp::Ordering;

use crate::config::{Decision, Rule, SignalRef, Strategy};

/// The score of every signal rule that matched, by the rule's place in the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Domain rules.
    pub domains: Vec<Option<f32>>,
    /// Keyword rules.
    pub keywords: Vec<Option<f32>>,
    /// Jailbreak rules.
    pub jailbreaks: Vec<Option<f32>>,
    /// Personal data rules.
    pub pii: Vec<Option<f32>>,
}

impl Facts {
    /// The score of a rule that matched.
    pub fn score(&self, signal: SignalRef) -> Option<f32> {
        let (family, at) = match signal {
            SignalRef::Domain(at) => (&self.domains, at),
            SignalRef::Keyword(at) => (&self.keywords, at),
            SignalRef::Jailbreak(at) => (&self.jailbreaks, at),
            SignalRef::Pii(at) => (&self.pii, at),
        };
        family.get(at).copied().flatten()
    }
}

/// A decision whose rule matched.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// How sure the match is, 0 to 1.
    pub confidence: f32,
}

/// All decisions that match, the winner first. The order is total: two runs never differ.
pub fn decide<'a>(decisions: &'a [Decision], strategy: Strategy, facts: &Facts) -> Vec<Match<'a>> {
    let mut matches: Vec<Match<'a>> = Vec::new();
    for decision in decisions {
        if let Some(confidence) = evaluate(&decision.rule, facts) {
            matches.push(Match {
                decision,
                confidence,
            });
        }
    }
    matches.sort_by(|left, right| rank(left, right, strategy));
    matches
}

/// `Less` when `left` wins.
fn rank(left: &Match<'_>, right: &Match<'_>, strategy: Strategy) -> Ordering {
    let priority = right.decision.priority.cmp(&left.decision.priority);
    let confidence = right.confidence.total_cmp(&left.confidence);
    let tier = left.decision.tier.cmp(&right.decision.tier);
    let ranked = match strategy {
        Strategy::Priority => tier.then(priority).then(confidence),
        Strategy::Confidence => tier.then(confidence).then(priority),
    };
    ranked.then_with(|| left.decision.name.cmp(&right.decision.name))
}

/// The confidence of a rule that matches: a signal's own score, the mean of all that must match,
/// the best of those of which one must, certainty for what is absent.
fn evaluate(rule: &Rule, facts: &Facts) -> Option<f32> {
    match rule {
        Rule::Signal(signal) => facts.score(*signal),
        Rule::All(parts) => {
            let mut sum = 0.0;
            let mut count = 0.0;
            for part in parts {
                sum += evaluate(part, facts)?;
                count += 1.0;
            }
            (count > 0.0).then(|| sum / count)
        }
        Rule::Any(parts) => {
            let scores = parts.iter().filter_map(|part| evaluate(part, facts));
            scores.max_by(f32::total_cmp)
        }
        Rule::Not(part) => match evaluate(part, facts) {
            Some(_) => None,
            None => Some(1.0),
        },
        Rule::Always => Some(1.0),
        Rule::Never => None,
    }
}

/// The category that a winning decision stands for: its first domain that matched, else its first
/// domain.
pub(crate) fn category(decision: &Decision, facts: &Facts) -> Option<usize> {
    let mut domains = Vec::new();
    collect_domains(&decision.rule, &mut domains);
    let matched = domains
        .iter()
        .find(|at| facts.score(SignalRef::Domain(**at)).is_some());
    matched.or(domains.first()).copied()
}

fn collect_domains(rule: &Rule, domains: &mut Vec<usize>) {
    match rule {
        Rule::All(parts) | Rule::Any(parts) => {
            parts.iter().for_each(|part| collect_domains(part, domains));
        }
        Rule::Signal(SignalRef::Domain(at)) => domains.push(*at),
        // A domain under NOT is what the request is not about.
        Rule::Not(_) | Rule::Signal(_) | Rule::Always | Rule::Never => {}
    }
}

#[cfg(test)]
mod tests;
