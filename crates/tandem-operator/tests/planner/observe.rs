//! What is seen of traffic and load.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use parking_lot::Mutex;
use tandem_operator::planner::observe::{Frontends, ObserveError, Prometheus, Source};
use tandem_runtime::Lifecycle;

use crate::start;

const INTERVAL: Duration = Duration::from_secs(60);

/// A frontend's metrics page after so many requests of 100 and 20 tokens and half a second.
fn page(requests: u32) -> String {
    let histogram = |name: &str, each: f64| {
        let sum = each * f64::from(requests);
        format!(
            "dynamo_frontend_{name}_sum{{model=\"m\"}} {sum}\n\
             dynamo_frontend_{name}_count{{model=\"m\"}} {requests}\n"
        )
    };
    format!(
        "dynamo_frontend_requests_total{{model=\"m\"}} {requests}\n\
         dynamo_frontend_requests_total{{model=\"other\"}} 1000\n\
         dynamo_frontend_queued_requests{{model=\"m\"}} 4\n{}{}{}# EOF\n",
        histogram("input_sequence_tokens", 100.0),
        histogram("output_sequence_tokens", 20.0),
        histogram("request_duration_seconds", 0.5),
    )
}

/// A frontend that has served a number of requests; only ours tells of its load.
fn frontend(requests: &Arc<Mutex<u32>>, tells_load: bool) -> Router {
    let metrics = get(async |State(requests): State<Arc<Mutex<u32>>>| page(*requests.lock()));
    let load = get(async move || {
        let load = r#"{"version": "1", "models": {
            "m": {"waiting_requests": 3, "active_kv_blocks": 30, "total_kv_blocks": 40},
            "other": {"waiting_requests": 9, "active_kv_blocks": 1, "total_kv_blocks": 1}}}"#;
        if tells_load {
            Ok(load)
        } else {
            Err(StatusCode::NOT_FOUND)
        }
    });
    Router::new()
        .route("/metrics", metrics)
        .route("/load", load)
        .with_state(Arc::clone(requests))
}

#[tokio::test]
async fn frontends_tell_of_the_time_between() {
    let lifecycle = Lifecycle::new();
    let counts: Vec<_> = [10, 20].map(|count| Arc::new(Mutex::new(count))).into();
    let ours = start(frontend(&counts[0], true), &lifecycle).await;
    let theirs = start(frontend(&counts[1], false), &lifecycle).await;
    let urls = [format!("http://{ours}/"), format!("http://{theirs}")];
    let frontends = Frontends::new(&urls, Some("m".to_owned())).unwrap();
    let mut source = Source::Frontends(frontends);

    let seen = source.see(INTERVAL).await.unwrap();
    assert_eq!(seen.traffic, None);
    assert_eq!(seen.pressure.waiting, Some(7.0));
    assert_eq!(seen.pressure.kv_usage, Some(0.75));

    *counts[0].lock() = 16;
    // It began anew.
    *counts[1].lock() = 5;
    let seen = source.see(INTERVAL).await.unwrap();
    let traffic = seen.traffic.unwrap();
    assert!(traffic.rate > 0.0);
    assert!((traffic.prompt_tokens - 100.0).abs() < 1e-9);
    assert!((traffic.answer_tokens - 20.0).abs() < 1e-9);
    assert_eq!(seen.latency.request, Some(0.5));
    assert_eq!(seen.latency.first_token, None);

    let silent = source.see(INTERVAL).await.unwrap().traffic.unwrap();
    assert!(silent.rate == 0.0 && silent.prompt_tokens.is_nan());
}

#[tokio::test]
async fn prometheus_answers_queries() {
    let lifecycle = Lifecycle::new();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answer = async |State(asked): State<Arc<Mutex<Vec<String>>>>,
                        Query(query): Query<HashMap<String, String>>| {
        let query = query["query"].clone();
        let value = [
            ("requests_total", "120"),
            ("input_sequence_tokens_sum", "12000"),
            ("output_sequence_tokens_sum", "NaN"),
            ("_count", "120"),
            ("time_to_first_token_seconds_sum", "24"),
            ("kv_active_blocks", "0.5"),
        ];
        let value = value.iter().find(|(name, _)| query.contains(name));
        let result = value.map_or_else(String::new, |(_, value)| {
            format!(r#"{{"metric": {{}}, "value": [1.5, "{value}"]}}"#)
        });
        asked.lock().push(query);
        format!(
            r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{result}]}}}}"#
        )
    };
    let router = Router::new()
        .route("/api/v1/query", get(answer))
        .with_state(Arc::clone(&asked));
    let address = start(router, &lifecycle).await;
    let prometheus = Prometheus::new(&format!("http://{address}"), Some("a\"b".to_owned()));
    let seen = Source::Prometheus(prometheus.unwrap())
        .see(INTERVAL)
        .await
        .unwrap();
    let traffic = seen.traffic.unwrap();
    assert!((traffic.rate - 2.0).abs() < 1e-9);
    assert!((traffic.prompt_tokens - 100.0).abs() < 1e-9);
    assert!(traffic.answer_tokens.is_nan());
    assert_eq!(seen.latency.first_token, Some(0.2));
    assert_eq!(seen.pressure.kv_usage, Some(0.5));
    assert_eq!(seen.pressure.waiting, None);
    let first = r#"sum(increase(dynamo_frontend_requests_total{model="a\"b"}[60s]))"#;
    assert_eq!(asked.lock()[0], first);
}

#[tokio::test]
async fn what_does_not_answer_is_an_error() {
    let lifecycle = Lifecycle::new();
    let address = start(Router::new(), &lifecycle).await;
    let frontends = Frontends::new(&[format!("http://{address}")], None).unwrap();
    let error = Source::Frontends(frontends)
        .see(INTERVAL)
        .await
        .unwrap_err();
    assert!(matches!(error, ObserveError::Answer { .. }), "{error}");
    let error = Prometheus::new("https://prometheus", None).unwrap_err();
    assert!(error.to_string().contains("http://"), "{error}");
}
