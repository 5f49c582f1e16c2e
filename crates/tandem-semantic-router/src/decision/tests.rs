use proptest::prelude::{Just, any, prop, proptest};
use proptest::strategy::Strategy as Generator;
use proptest::{prop_assert, prop_assert_eq, prop_oneof};

use super::*;
use crate::config::{ContextTest, OnError, Plugins, Selection};

fn decision(name: &str, priority: i64, rule: Rule) -> Decision {
    Decision {
        name: name.to_owned(),
        priority,
        tier: 0,
        rule,
        models: Vec::new(),
        load_aware: None,
        selection: Selection::Static,
        plugins: Plugins::default(),
    }
}

fn keyword(at: usize) -> Rule {
    Rule::Signal(SignalRef(at))
}

fn names(decisions: &[Decision], strategy: Strategy, facts: &Facts) -> Vec<String> {
    let matches = decide(decisions, strategy, facts);
    matches
        .iter()
        .map(|found| found.decision.name.clone())
        .collect()
}

fn facts(scores: &[Option<f32>]) -> Facts {
    Facts::new(scores.iter().copied())
}

#[test]
fn priority_beats_confidence_and_the_other_way_round() {
    let decisions = [
        decision("low", 1, keyword(0)),
        decision("high", 9, keyword(1)),
    ];
    let facts = facts(&[Some(0.9), Some(0.5)]);
    assert_eq!(
        names(&decisions, Strategy::Priority, &facts),
        ["high", "low"]
    );
    assert_eq!(
        names(&decisions, Strategy::Confidence, &facts),
        ["low", "high"]
    );
}

#[test]
fn ties_go_by_the_other_rank_and_then_by_name() {
    let decisions = [
        decision("c", 5, keyword(0)),
        decision("b", 5, keyword(0)),
        decision("a", 5, keyword(1)),
    ];
    let facts = facts(&[Some(0.9), Some(0.5)]);
    assert_eq!(
        names(&decisions, Strategy::Priority, &facts),
        ["b", "c", "a"]
    );
    assert_eq!(
        names(&decisions, Strategy::Confidence, &facts),
        ["b", "c", "a"]
    );
}

#[test]
fn a_lower_tier_wins_before_everything() {
    let mut first = decision("first", 1, Rule::Always);
    first.tier = 1;
    let mut second = decision("second", 100, Rule::Always);
    second.tier = 2;
    let order = names(&[second, first], Strategy::Priority, &Facts::default());
    assert_eq!(order, ["first", "second"]);
}

#[test]
fn confidence_is_mean_of_all_best_of_any_and_one_for_not() {
    let check = |rule: Rule, want: Option<f32>| {
        let facts = facts(&[Some(0.8), Some(0.4), None]);
        assert_eq!(evaluate(&rule, &facts), want, "{rule:?}");
    };
    check(Rule::All(vec![keyword(0), keyword(1)]), Some(0.6));
    check(Rule::All(vec![keyword(0), keyword(2)]), None);
    check(
        Rule::Any(vec![keyword(0), keyword(1), keyword(2)]),
        Some(0.8),
    );
    check(Rule::Not(Box::new(keyword(2))), Some(1.0));
    check(Rule::Not(Box::new(keyword(0))), None);
    check(Rule::All(Vec::new()), None);
    check(Rule::Any(Vec::new()), None);
    check(keyword(99), None);
}

#[test]
fn the_category_is_the_domain_that_matched() {
    let rule = |test: SignalTest| SignalRule {
        name: "rule".into(),
        test,
        on_error: OnError::Allow,
    };
    let domain = || rule(SignalTest::Domain(Vec::new()));
    let other = rule(SignalTest::Context(ContextTest { min: 0, max: None }));
    let rules = [domain(), domain(), domain(), other];
    let facts = facts(&[None, Some(0.9), None, Some(1.0)]);
    let check = |rule: Rule, want: Option<usize>| {
        let found = category(&decision("d", 0, rule), &rules, &facts);
        assert_eq!(found, want.map(SignalRef));
    };
    check(Rule::Any(vec![keyword(0), keyword(1)]), Some(1));
    check(Rule::All(vec![keyword(3), keyword(2)]), Some(2));
    check(Rule::Not(Box::new(keyword(1))), None);
    check(keyword(3), None);
}

/// Plain boolean evaluation, written independently of confidences.
fn truth(rule: &Rule, inputs: &[bool]) -> bool {
    match rule {
        Rule::All(parts) => !parts.is_empty() && parts.iter().all(|part| truth(part, inputs)),
        Rule::Any(parts) => parts.iter().any(|part| truth(part, inputs)),
        Rule::Not(part) => !truth(part, inputs),
        Rule::Signal(at) => inputs[at.0],
        Rule::Never => false,
        Rule::Always => true,
    }
}

fn rules() -> impl Generator<Value = Rule> {
    let leaf = prop_oneof![
        4 => (0..4_usize).prop_map(keyword),
        1 => Just(Rule::Always),
        1 => Just(Rule::Never),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Rule::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Rule::Any),
            inner.prop_map(|rule| Rule::Not(Box::new(rule))),
        ]
    })
}

proptest! {
    #[test]
    fn a_rule_is_its_truth_table(rule in rules()) {
        for bits in 0..16_u32 {
            let inputs: Vec<bool> = (0..4).map(|i| bits >> i & 1 == 1).collect();
            let scores: Vec<_> = inputs.iter().map(|on| on.then_some(0.5)).collect();
            let confidence = evaluate(&rule, &facts(&scores));
            prop_assert_eq!(confidence.is_some(), truth(&rule, &inputs));
            prop_assert!(confidence.is_none_or(|value| (0.0..=1.0).contains(&value)));
        }
    }

    #[test]
    fn the_order_of_the_file_never_matters(
        rows in prop::collection::vec((0..3_i64, 0..4_usize), 1..20),
        seed in any::<u64>(),
    ) {
        let facts = facts(&[Some(0.9), Some(0.9), Some(0.5), None]);
        let build = |(i, (priority, at)): (usize, &(i64, usize))| {
            decision(&format!("d{i}"), *priority, keyword(*at))
        };
        let decisions: Vec<_> = rows.iter().enumerate().map(build).collect();
        let mut shuffled = decisions.clone();
        let count = shuffled.len();
        for (i, turn) in (0..count).zip(0_u32..) {
            let other = usize::try_from(seed.rotate_left(turn) % count as u64).unwrap();
            shuffled.swap(i, other);
        }
        for strategy in [Strategy::Priority, Strategy::Confidence] {
            prop_assert_eq!(
                names(&decisions, strategy, &facts),
                names(&shuffled, strategy, &facts)
            );
        }
    }

    #[test]
    fn simplifying_changes_no_truth(rule in rules()) {
        let simple = rule.clone().simplified();
        for bits in 0..16_u32 {
            let inputs: Vec<bool> = (0..4).map(|i| bits >> i & 1 == 1).collect();
            prop_assert_eq!(truth(&rule, &inputs), truth(&simple, &inputs), "{:?}", simple);
        }
    }

    #[test]
    fn the_winner_is_the_one_that_no_other_beats(
        rows in prop::collection::vec((0..3_i64, 0..2_i64, rules()), 1..12),
        scores in prop::array::uniform4(prop::option::of(0.0..1.0_f32)),
    ) {
        let facts = facts(&scores);
        let build = |(i, (priority, tier, rule)): (usize, &(i64, i64, Rule))| {
            let mut one = decision(&format!("d{i:02}"), *priority, rule.clone());
            one.tier = *tier;
            one
        };
        let decisions: Vec<_> = rows.iter().enumerate().map(build).collect();
        for strategy in [Strategy::Priority, Strategy::Confidence] {
            let found = decide(&decisions, strategy, &facts);
            let matching: Vec<_> = decisions
                .iter()
                .filter_map(|one| Some((one, evaluate(&one.rule, &facts)?)))
                .collect();
            prop_assert_eq!(found.len(), matching.len());
            let Some(winner) = found.first() else { continue };
            let beats = |one: &Decision, sure: f32| {
                let (wins, ties): (bool, bool) = match strategy {
                    Strategy::Priority => (
                        one.priority > winner.decision.priority,
                        one.priority == winner.decision.priority && sure > winner.confidence,
                    ),
                    Strategy::Confidence => (
                        sure > winner.confidence,
                        sure.total_cmp(&winner.confidence).is_eq()
                            && one.priority > winner.decision.priority,
                    ),
                };
                let same = one.priority == winner.decision.priority
                    && sure.total_cmp(&winner.confidence).is_eq();
                let in_tier = one.tier == winner.decision.tier;
                one.tier < winner.decision.tier
                    || in_tier && (wins || ties || same && one.name < winner.decision.name)
            };
            for (one, sure) in matching {
                prop_assert!(!beats(one, sure), "{} beats {}", one.name, winner.decision.name);
            }
        }
    }
}
