use std::time::Duration;

use super::*;
use crate::config::{FactorWeights, Limits, ModelConfig, Plugins, Pricing, Rule};

fn decision(selection: Selection, weights: &[f32]) -> Decision {
    let models = weights.iter().enumerate().map(|(i, weight)| ModelRef {
        model: format!("m{i}"),
        lora: None,
        weight: *weight,
        use_reasoning: false,
        effort: None,
    });
    Decision {
        name: "d".into(),
        priority: 0,
        tier: 0,
        rule: Rule::Always,
        models: models.collect(),
        selection,
        plugins: Plugins::default(),
    }
}

/// Three models: `m0` good and expensive, `m1` in between, `m2` cheap.
fn config() -> RouterConfig {
    let mut config = RouterConfig::built_in("model");
    let model = |(i, (quality, price)): (usize, (f32, f64))| ModelConfig {
        name: format!("m{i}"),
        quality: Some(quality),
        pricing: Some(Pricing {
            currency: "USD".into(),
            prompt_per_1m: price,
            completion_per_1m: price,
        }),
        ..ModelConfig::default()
    };
    let models = [(0.9, 10.0), (0.8, 2.0), (0.2, 1.0)];
    config.models = models.into_iter().enumerate().map(model).collect();
    config
}

#[track_caller]
fn check(decision: &Decision, statistics: &ModelStatistics, want: Option<&str>) {
    let config = config();
    let among = Candidates {
        config: &config,
        statistics,
        request_id: "id",
    };
    for _ in 0..3 {
        let chosen = choose(decision, among).map(|model| model.model.as_str());
        assert_eq!(chosen, want);
    }
}

/// Every model with its milliseconds to the first token and per token.
fn observed(latencies: &[(u64, u64)]) -> ModelStatistics {
    let statistics = ModelStatistics::default();
    for (i, (ttft, tpot)) in latencies.iter().enumerate() {
        statistics.observe_ttft(&format!("m{i}"), Duration::from_millis(*ttft));
        statistics.observe_tpot(&format!("m{i}"), Duration::from_millis(*tpot));
    }
    statistics
}

#[test]
fn static_takes_the_heaviest_and_the_first_of_equals() {
    let none = ModelStatistics::default();
    check(&decision(Selection::Static, &[1.0, 1.0]), &none, Some("m0"));
    let weights = [0.2, 0.9, 0.9];
    check(&decision(Selection::Static, &weights), &none, Some("m1"));
    check(&decision(Selection::Static, &[]), &none, None);
}

#[test]
fn weighted_follows_the_shares_and_repeats() {
    let decision = decision(Selection::Weighted, &[3.0, 1.0]);
    let (config, statistics) = (config(), ModelStatistics::default());
    let mut first = 0;
    for i in 0..2000 {
        let id = format!("request-{i}");
        let among = Candidates {
            config: &config,
            statistics: &statistics,
            request_id: &id,
        };
        let chosen = choose(&decision, among).unwrap();
        assert_eq!(chosen, choose(&decision, among).unwrap());
        first += u32::from(chosen.model == "m0");
    }
    assert!((1400..1600).contains(&first), "{first} of 2000");
}

#[test]
fn latency_aware_takes_the_fastest_and_tries_the_unknown() {
    let by = |ttft: Option<u8>, tpot: Option<u8>| {
        let settings = LatencyAware {
            ttft_percentile: ttft,
            tpot_percentile: tpot,
        };
        decision(Selection::LatencyAware(settings), &[1.0, 1.0, 1.0])
    };
    let statistics = observed(&[(100, 9), (50, 30), (200, 10)]);
    check(&by(Some(95), None), &statistics, Some("m1"));
    check(&by(None, Some(90)), &statistics, Some("m0"));
    check(&by(Some(50), Some(50)), &statistics, Some("m0"));
    check(
        &by(Some(50), Some(50)),
        &observed(&[(1, 1), (1, 1)]),
        Some("m2"),
    );
    let none = ModelStatistics::default();
    check(&by(Some(50), Some(50)), &none, Some("m0"));
}

fn multi(weights: FactorWeights, limits: Limits, fallback: Fallback) -> Decision {
    let settings = MultiFactor {
        weights,
        limits,
        latency_percentile: 50,
        fallback,
    };
    decision(Selection::MultiFactor(settings), &[1.0, 1.0, 1.0])
}

const NOTHING: FactorWeights = FactorWeights {
    quality: 0.0,
    latency: 0.0,
    cost: 0.0,
    load: 0.0,
};

#[test]
fn multi_factor_weighs_quality_cost_latency_and_load() {
    let by = |weights| multi(weights, Limits::default(), Fallback::First);
    let none = ModelStatistics::default();
    let quality = FactorWeights {
        quality: 1.0,
        ..NOTHING
    };
    check(&by(quality), &none, Some("m0"));
    let cost = FactorWeights {
        cost: 1.0,
        ..NOTHING
    };
    check(&by(cost), &none, Some("m2"));
    let both = FactorWeights {
        quality: 1.0,
        cost: 1.0,
        ..NOTHING
    };
    check(&by(both), &none, Some("m1"));
    let latency = FactorWeights {
        latency: 1.0,
        ..NOTHING
    };
    check(
        &by(latency),
        &observed(&[(9, 9), (5, 5), (2, 2)]),
        Some("m2"),
    );
    let load = FactorWeights {
        load: 1.0,
        ..NOTHING
    };
    none.started("m0");
    check(&by(load), &none, Some("m1"));
}

#[test]
fn limits_rule_candidates_out() {
    let quality = FactorWeights {
        quality: 1.0,
        ..NOTHING
    };
    let limits = Limits {
        max_cost_per_1m: Some(5.0),
        ..Limits::default()
    };
    let none = ModelStatistics::default();
    check(&multi(quality, limits, Fallback::First), &none, Some("m1"));
    let slow = observed(&[(10, 1), (900, 1), (1, 1)]);
    let limits = Limits {
        max_ttft_ms: Some(800.0),
        max_cost_per_1m: Some(5.0),
        ..Limits::default()
    };
    check(&multi(quality, limits, Fallback::First), &slow, Some("m2"));
}

#[test]
fn without_a_candidate_the_fallback_decides() {
    let limits = Limits {
        max_cost_per_1m: Some(0.1),
        ..Limits::default()
    };
    let quality = FactorWeights {
        quality: 1.0,
        ..NOTHING
    };
    let check_fallback = |fallback, want| {
        let statistics = observed(&[(9, 9), (1, 1), (5, 5)]);
        check(&multi(quality, limits, fallback), &statistics, Some(want));
    };
    check_fallback(Fallback::First, "m0");
    check_fallback(Fallback::Best, "m0");
    check_fallback(Fallback::Cheapest, "m2");
    check_fallback(Fallback::Fastest, "m1");
}
