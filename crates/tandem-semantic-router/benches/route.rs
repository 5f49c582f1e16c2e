//! How long the router itself takes, the classifier's answer being there at once.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use tandem_protocol::openai::body::JsonObject;
use tandem_protocol::prefix::{PrefixFilter, PromptPrefixes};
use tandem_semantic_router::config::RouterConfig;
use tandem_semantic_router::testing::FixedClassifier;
use tandem_semantic_router::{Endpoint, Facts, RouteRequest, Router, decide};

fn decision_engine(criterion: &mut Criterion) {
    let config = RouterConfig::built_in("model");
    let facts = Facts::new((0..config.signals.len()).map(|at| (at == 9).then_some(0.9)));
    criterion.bench_function("decide/14 decisions", |bencher| {
        bencher.iter(|| {
            decide(
                black_box(&config.decisions),
                config.strategy,
                black_box(&facts),
            )
            .len()
        });
    });
}

/// Fifteen decisions whose rules nest three deep, all of which match: the most that there is to do.
fn nested_decisions(criterion: &mut Criterion) {
    let mut text =
        "version: v0.3\nproviders: {models: [{name: m}]}\nrouting:\n  signals:\n    keywords:\n"
            .to_owned();
    for i in 0..15 {
        text += &format!("      - {{name: k{i}, operator: OR, keywords: [w{i}]}}\n");
    }
    text += "      - {name: never, operator: OR, keywords: [never]}\n  decisions:\n";
    for i in 0..15 {
        let next = (i + 1) % 15;
        text += &format!(
            "    - {{name: d{i}, priority: {i}, modelRefs: [{{model: m}}], rules: {{operator: AND, conditions: [\
             {{operator: OR, conditions: [{{type: keyword, name: k{i}}}, {{operator: AND, conditions: [\
             {{type: keyword, name: k{next}}}, {{type: domain, name: law}}]}}]}}, \
             {{operator: NOT, conditions: [{{type: keyword, name: never}}]}}]}}}}\n"
        );
    }
    let config = RouterConfig::parse(&text, &|_| None)
        .expect("the text is a configuration")
        .config;
    let never = config.signals.iter().position(|rule| rule.name == "never");
    let scores = (0..config.signals.len()).map(|at| (Some(at) != never).then_some(0.9));
    let facts = Facts::new(scores);
    let matched = decide(&config.decisions, config.strategy, &facts).len();
    assert_eq!(matched, 15, "every decision matches");
    criterion.bench_function("decide/15 nested decisions that match", |bencher| {
        bencher.iter(|| {
            decide(
                black_box(&config.decisions),
                config.strategy,
                black_box(&facts),
            )
            .len()
        });
    });
}

fn route(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without IO always starts");
    let classifier = FixedClassifier::default().domain("2+2", "math", 0.9);
    let router = Router::new(RouterConfig::built_in("model"), Arc::new(classifier));
    let text = "a word and another ".repeat(400);
    for (name, text) in [("short", "What is 2+2?"), ("8 kB", text.as_str())] {
        let body =
            format!(r#"{{"model":"MoM","messages":[{{"role":"user","content":"{text}"}}]}}"#);
        let body = Bytes::from(body);
        criterion.bench_function(&format!("route/{name}"), |bencher| {
            bencher.iter(|| {
                let request = RouteRequest {
                    endpoint: Endpoint::Chat,
                    body: &body,
                    request_id: "0190-bench",
                };
                runtime.block_on(router.route(black_box(request)))
            });
        });
    }
}

/// What a choice by load adds: the hashes of a prompt of 4 KiB, looked up for three models.
fn cached_prefixes(criterion: &mut Criterion) {
    let text = "The old baker repaired the wooden door. ".repeat(103);
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let body = JsonObject::parse(body.as_bytes()).expect("the text is an object");
    let hashes = PromptPrefixes::of(&body).into_iter();
    let hashes: Vec<_> = hashes.flat_map(|prompt| prompt.hashes).collect();
    let filters = [(); 3].map(|()| PrefixFilter::new(hashes.iter().copied()));
    criterion.bench_function("cached prefixes/4 KiB, 3 models", |bencher| {
        bencher.iter(|| {
            let prompts = PromptPrefixes::of(black_box(&body));
            let overlaps = filters.iter().map(|filter| prompts[0].overlap(filter));
            overlaps.sum::<usize>()
        });
    });
}

criterion_group!(
    benches,
    decision_engine,
    nested_decisions,
    route,
    cached_prefixes
);
criterion_main!(benches);
