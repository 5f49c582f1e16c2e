//! Which decision wins: pure boolean logic over facts.

use std::cmp::Ordering;

use crate::config::{Decision, Rule, SignalRef, SignalRule, SignalTest, Strategy};

/// The score of every signal rule that matched, by the rule's place in the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    scores: Vec<Option<f32>>,
}

impl Facts {
    /// Facts with the scores of the rules in the order of the configuration; `None` for a rule
    /// that does not match.
    pub fn new(scores: impl IntoIterator<Item = Option<f32>>) -> Self {
        Self {
            scores: scores.into_iter().collect(),
        }
    }

    /// The score of a rule that matched.
    pub fn score(&self, signal: SignalRef) -> Option<f32> {
        self.scores.get(signal.0).copied().flatten()
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
pub(crate) fn category(
    decision: &Decision,
    rules: &[SignalRule],
    facts: &Facts,
) -> Option<SignalRef> {
    let mut domains = Vec::new();
    collect_domains(&decision.rule, rules, &mut domains);
    let matched = domains
        .iter()
        .find(|signal| facts.score(**signal).is_some());
    matched.or(domains.first()).copied()
}

fn collect_domains(rule: &Rule, rules: &[SignalRule], domains: &mut Vec<SignalRef>) {
    match rule {
        Rule::All(parts) | Rule::Any(parts) => {
            let parts = parts.iter();
            parts.for_each(|part| collect_domains(part, rules, domains));
        }
        Rule::Signal(signal) => {
            let test = rules.get(signal.0).map(|rule| &rule.test);
            if matches!(test, Some(SignalTest::Domain(_))) {
                domains.push(*signal);
            }
        }
        // A domain under NOT is what the request is not about.
        Rule::Not(_) | Rule::Always | Rule::Never => {}
    }
}

#[cfg(test)]
mod tests;
