use std::time::Duration;

use tandem_protocol::prefix::PrefixFilter;
use tandem_protocol::serving_load::{ModelLoad, PrefillCost};

use super::*;
use crate::config::{FactorWeights, Limits, ModelConfig, Plugins, Pricing, Rule};
use crate::load_view::{LoadView, LoadViews};

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
        load_aware: None,
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
        body: &JsonObject::default(),
        now: Instant::now(),
    };
    for _ in 0..3 {
        let chosen = choose(decision, among).map(|chosen| chosen.model.model.as_str());
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
            body: &JsonObject::default(),
            now: Instant::now(),
        };
        let chosen = choose(&decision, among).unwrap();
        assert_eq!(chosen, choose(&decision, among).unwrap());
        first += u32::from(chosen.model.model == "m0");
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

/// A view of a model whose prompts cost 1 ms a token of 4 bytes, if `queued` tokens wait and
/// `cached` is cached.
fn view(queued: u64, cached: &PromptPrefixes, at: Instant) -> LoadView {
    LoadView {
        load: ModelLoad {
            workers: 1,
            queued_prefill_tokens: queued,
            prefill: Some(PrefillCost {
                seconds: 0.01,
                seconds_per_token: 0.001,
                bytes_per_token: 4.0,
            }),
            ..ModelLoad::default()
        },
        prefixes: PrefixFilter::new(cached.hashes.iter().copied()),
        at,
    }
}

/// What is chosen of three models with these weights if the first ones have these views.
#[track_caller]
fn check_load(weights: &[f32], views: Vec<LoadView>, want: &str) {
    let mut decision = decision(Selection::Static, weights);
    decision.load_aware = Some(LoadAware { tolerance: 0.1 });
    let statistics = ModelStatistics::default();
    let named = views.into_iter().enumerate();
    let loads = named.map(|(i, view)| (format!("m{i}"), vec![view]));
    statistics.tell_loads(loads.collect::<LoadViews>());
    let (config, body) = (config(), long_prompt());
    let among = Candidates {
        config: &config,
        statistics: &statistics,
        request_id: "id",
        body: &body,
        now: Instant::now(),
    };
    let chosen = choose(&decision, among).unwrap();
    assert_eq!(chosen.model.model, want, "{chosen:?}");
}

fn long_prompt() -> JsonObject {
    let text = "a".repeat(4096);
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#);
    JsonObject::parse(body.as_bytes()).unwrap()
}

#[test]
fn close_scores_are_decided_by_the_load_and_by_what_is_cached() {
    let now = Instant::now();
    let none = PromptPrefixes::default();
    let cached = PromptPrefixes::of(&long_prompt()).remove(0);
    let idle = || view(0, &none, now);
    let busy = || view(500, &none, now);
    let knows = |queued| view(queued, &cached, now);
    check_load(&[1.0, 0.95], vec![idle(), idle()], "m0");
    check_load(&[1.0, 0.95], vec![busy(), idle()], "m1");
    check_load(&[0.95, 1.0], vec![idle(), busy()], "m0");
    check_load(&[1.0, 0.8], vec![busy(), idle()], "m0");
    // A thousand tokens that are cached outweigh 500 that wait, and 2000 that wait outweigh them.
    check_load(&[1.0, 0.95], vec![idle(), knows(500)], "m1");
    check_load(&[1.0, 0.95], vec![idle(), knows(2000)], "m0");
    // Equals keep the better score.
    check_load(&[0.95, 1.0], vec![idle(), idle()], "m1");
}

#[test]
fn without_a_view_of_the_best_model_scores_decide() {
    let now = Instant::now();
    let none = PromptPrefixes::default();
    let before = now.checked_sub(Duration::from_secs(60)).unwrap();
    let (idle, old) = (view(0, &none, now), view(0, &none, before));
    let busy = view(9000, &none, now);
    check_load(&[1.0, 0.95], Vec::new(), "m0");
    check_load(&[0.95, 1.0], vec![idle.clone()], "m1");
    check_load(&[1.0, 0.95], vec![old.clone(), idle], "m0");
    check_load(&[1.0, 0.95], vec![busy.clone(), old], "m0");
    check_load(&[1.0, 0.95], vec![busy], "m0");
}

#[test]
fn the_systems_prompt_of_the_decision_counts() {
    let mut decision = decision(Selection::Static, &[1.0, 1.0]);
    decision.plugins.system_prompt = Some(crate::config::SystemPrompt {
        text: "Be exact.".into(),
        mode: crate::config::PromptMode::Insert,
    });
    let (config, body) = (config(), long_prompt());
    let among = Candidates {
        config: &config,
        statistics: &ModelStatistics::default(),
        request_id: "id",
        body: &body,
        now: Instant::now(),
    };
    let mut sent = body.clone();
    let prompt = decision.plugins.system_prompt.as_ref().unwrap();
    assert!(system_prompt::inject(&mut sent, prompt));
    assert_eq!(among.prompts(&decision), PromptPrefixes::of(&sent));
    assert_ne!(among.prompts(&decision), PromptPrefixes::of(&body));
}

#[test]
fn requests_that_servers_do_not_know_of_yet_wait_as_well() {
    let mut decision = decision(Selection::Static, &[1.0, 1.0]);
    decision.load_aware = Some(LoadAware { tolerance: 0.1 });
    let (config, body, statistics) = (config(), long_prompt(), ModelStatistics::default());
    let (none, now) = (PromptPrefixes::default(), Instant::now());
    let views = ["m0", "m1"].map(|name| (name.to_owned(), vec![view(0, &none, now)]));
    statistics.tell_loads(LoadViews::from(views));
    let among = Candidates {
        config: &config,
        statistics: &statistics,
        request_id: "id",
        body: &body,
        now,
    };
    let mut counts = [0, 0];
    for _ in 0..10 {
        let chosen = choose(&decision, among).unwrap().model.model.clone();
        counts[usize::from(chosen == "m1")] += 1;
        statistics.started(&chosen);
    }
    assert_eq!(counts, [5, 5]);
}
