//! What a gateway is told: servers, how failures are treated, clients.

use std::time::Duration;

use crate::config::*;

fn load(text: &str) -> RouterConfig {
    let loaded = RouterConfig::parse(text, &|name| (name == "KEY").then(|| "secret".to_owned()));
    loaded
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
        .config
}

/// What is wrong with a file.
fn mistakes(text: &str) -> String {
    let error = RouterConfig::parse(text, &|_| None).unwrap_err();
    error.to_string()
}

/// The backends of the only model.
fn backends(text: &str) -> Vec<String> {
    let config = load(text);
    let shown = config.models[0].backends.iter().map(|backend| {
        let key = backend.credential.as_ref().map(|key| key.value.as_str());
        let Backend {
            name,
            address,
            weight,
            headers,
            ..
        } = backend;
        format!("{name} {address} {weight} {key:?} {headers:?}")
    });
    shown.collect()
}

const LAYERED: &str = "
version: v0.3
providers:
  models:
    - name: m
      backend_refs:
";

#[test]
fn backends_of_the_layered_layout() {
    let check = |backend: &str, want: &str| {
        let text = format!("{LAYERED}        - {{{backend}}}\n");
        assert_eq!(backends(&text), [want], "{backend}");
    };
    check("endpoint: 'h:1'", "h:1 http://h:1 1 None []");
    check(
        "endpoint: 'h:1', protocol: https, name: n",
        "n https://h:1 1 None []",
    );
    check(
        "base_url: 'https://h/v1', weight: 3, api_key: '${KEY}', extra_headers: {X-Team: a}",
        r#"h:443 https://h:443 3 Some("Bearer secret") [("x-team", "a")]"#,
    );
}

#[test]
fn a_credential_is_for_its_own_backend() {
    let text = format!(
        "{LAYERED}        - {{endpoint: 'a:1', api_key: k}}\n        - {{endpoint: 'b:2'}}\n"
    );
    let want = [
        r#"a:1 http://a:1 1 Some("Bearer k") []"#,
        "b:2 http://b:2 1 None []",
    ];
    assert_eq!(backends(&text), want);
}

#[test]
fn backends_of_the_flat_layout() {
    let text = "
vllm_endpoints:
  - {name: a, address: 10.0.0.1, port: 80, weight: 2}
  - {name: b, address: '::1', port: 81, path: /llm/}
  - {name: c, address: 10.0.0.3, port: 82}
model_config: {m: {preferred_endpoints: [b, a], access_key: k}}
";
    let want = [
        r#"b http://[::1]:81/llm 1 Some("Bearer k") []"#,
        r#"a http://10.0.0.1:80 2 Some("Bearer k") []"#,
    ];
    assert_eq!(backends(text), want);
    let migrated = migrate(text, &|_| None).unwrap().text;
    assert_eq!(backends(&migrated), want, "{migrated}");
}

#[test]
fn reliability_is_the_models_then_the_gateways_then_the_default() {
    let check = |model: &str, gateway: &str, probe: fn(&Reliability) -> String, want: &str| {
        let text = format!(
            "version: v0.3\nproviders: {{models: [{{name: m, reliability: {{{model}}}}}]}}\n\
             tandem: {{gateway: {{reliability: {{{gateway}}}}}}}\n"
        );
        assert_eq!(probe(&load(&text).models[0].reliability), want, "{text}");
    };
    let retries = |r: &Reliability| r.retries.to_string();
    check("", "", retries, "2");
    check("", "retry_count: 5", retries, "5");
    check("retry_count: 0", "retry_count: 5", retries, "0");
    let balance = |r: &Reliability| format!("{:?}", r.balance);
    check("", "", balance, "LeastRequest");
    check("lb_policy: ROUND_ROBIN", "", balance, "RoundRobin");
    let timeout = |r: &Reliability| format!("{:?}", r.timeout);
    check("", "", timeout, "None");
    check("timeout: 2m", "timeout: 1s", timeout, "Some(120s)");
    let ejection = |r: &Reliability| format!("{:?}", r.ejection);
    check(
        "consecutive_5xx: 3, base_ejection_time: 500ms, max_ejection_percent: 34",
        "",
        ejection,
        "Ejection { consecutive_5xx: 3, base_time: 500ms, max_percent: 34.0 }",
    );
    let health = |r: &Reliability| format!("{:?}", r.health_check);
    check("", "", health, "None");
    check("health_check_interval: 3", "", health, "None");
    check(
        "health_check_path: health, health_check_timeout: 1.5s",
        "",
        health,
        r#"Some(HealthCheck { path: "/health", interval: 10s, timeout: 1.5s })"#,
    );
}

#[test]
fn what_is_tried_again() {
    let statuses = |words: &str| {
        let text = format!(
            "model_config: {{m: {{}}}}\ntandem: {{gateway: {{reliability: {{retry_on: '{words}'}}}}}}\n"
        );
        let on = load(&text).reliability.retry_on;
        let statuses: Vec<u16> = [200, 400, 429, 500, 502, 503]
            .into_iter()
            .filter(|status| on.status(*status))
            .collect();
        (on.connect_failure, on.reset, statuses)
    };
    assert_eq!(statuses(""), (false, false, vec![]));
    assert_eq!(statuses("connect-failure, reset"), (true, true, vec![]));
    assert_eq!(statuses("gateway-error"), (false, false, vec![502, 503]));
    assert_eq!(statuses("5xx,429"), (true, true, vec![429, 500, 502, 503]));
    let wrong = mistakes("tandem: {gateway: {reliability: {retry_on: 'resett'}}}");
    assert!(wrong.contains("unknown condition `resett`"), "{wrong}");
}

#[test]
fn clients_and_their_limits() {
    let config = load(
        "
tandem:
  gateway:
    limits: {requests_per_minute: 60, tokens_per_day: 1000}
    clients:
      - {name: a, key: ' ${KEY}', groups: [g], limits: {requests_per_minute: 5}}
      - {name: b, key: other}
",
    );
    let access = &config.access;
    let client = &access.clients[0];
    assert_eq!((client.name.as_str(), client.key.expose()), ("a", "secret"));
    assert_eq!(client.groups, ["g"]);
    let limits = client.limits.or(access.limits);
    assert_eq!(limits.requests_per_minute, Some(5));
    assert_eq!(limits.tokens_per_day, Some(1000));
    assert_eq!(limits.tokens_per_minute, None);
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn mistakes_are_named() {
    let check = |section: &str, want: &str| {
        let text = format!("tandem: {{gateway: {{{section}}}}}");
        let found = mistakes(&text);
        assert!(found.contains(want), "{found}");
    };
    let two = "clients: [{name: a, key: k}, {name: a, key: l}]";
    check(two, "there are two clients `a`");
    let shared = "clients: [{name: a, key: k}, {name: b, key: k}]";
    check(shared, "client `b` has the key of another one");
    check("clients: [{name: a}]", "`key` is missing");
    check("reliability: {timeout: soon}", "`soon` is not a time");
    check(
        "reliability: {lb_policy: fastest}",
        "unknown value `fastest`",
    );
    let url = format!("{LAYERED}        - {{base_url: 'h:1'}}\n");
    assert!(mistakes(&url).contains("`h:1` is not an address"));
}

#[test]
fn times() {
    let timeout = |text: &str| {
        let text = format!("tandem: {{gateway: {{reliability: {{timeout: {text}}}}}}}");
        load(&text).reliability.timeout
    };
    assert_eq!(timeout("90"), Some(Duration::from_secs(90)));
    assert_eq!(timeout("0.5"), Some(Duration::from_millis(500)));
    assert_eq!(timeout("'1 h'"), Some(Duration::from_secs(3600)));
}
