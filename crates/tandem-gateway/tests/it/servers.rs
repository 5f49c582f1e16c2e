//! Several servers behind the gateway, and what happens when they fail.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::service_fn;

use crate::harness::{Harness, SOON, ok};

/// A server whose status can be changed.
struct Server {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    status: AtomicU16,
    requests: AtomicUsize,
    headers: Mutex<HeaderMap>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let task = serve(listener, Arc::clone(&state));
        Self {
            address,
            state,
            task,
        }
    }

    fn status(&self, status: u16) {
        self.state.status.store(status, Ordering::Relaxed);
    }

    /// Requests so far, without health checks.
    fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    fn header(&self, name: &str) -> Option<String> {
        let headers = self.state.headers.lock();
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    }

    /// Nobody listens from now on.
    async fn stop(&mut self) {
        self.task.abort();
        while tokio::net::TcpStream::connect(self.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may abort its server")]
fn serve(listener: TcpListener, state: Arc<State>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let handler = service_fn(move |request: Request| {
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(answer(&state, &request)) }
        });
        let routes = axum::Router::new().fallback_service(handler);
        axum::serve(listener, routes).await.unwrap();
    })
}

fn answer(state: &State, request: &Request) -> Response {
    let status = match state.status.load(Ordering::Relaxed) {
        0 => 200,
        status => status,
    };
    if request.uri().path() != "/healthz" {
        state.requests.fetch_add(1, Ordering::Relaxed);
        *state.headers.lock() = request.headers().clone();
    }
    if status == 200 {
        return ok();
    }
    Response::builder()
        .status(status)
        .body(Body::empty())
        .unwrap()
}

/// A gateway whose model `m` is served by these, and `reliability` as it says.
async fn gateway(servers: &[&Server], reliability: &str) -> Harness {
    let backends = servers.iter().enumerate().map(|(at, server)| {
        format!(
            "        - {{name: s{at}, endpoint: '{}', api_key: key-{at}}}\n",
            server.address
        )
    });
    let backends: String = backends.collect();
    let config = format!(
        "version: v0.3\nproviders:\n  models:\n    - name: m\n      reliability: \
         {{lb_policy: round_robin, {reliability}}}\n      backend_refs:\n{backends}    - name: lost\n"
    );
    Harness::configured(&config).await
}

/// Statuses of `count` requests in turn.
async fn statuses(harness: &Harness, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(harness.chat("m", "hello").await.status);
    }
    statuses
}

async fn metric(harness: &Harness, line: &str) {
    let page = harness.get("/metrics").await.body;
    assert!(page.contains(line), "no {line} in\n{page}");
}

#[tokio::test]
async fn requests_are_shared_and_each_server_has_its_own_key() {
    let (a, b) = (Server::start().await, Server::start().await);
    let harness = gateway(&[&a, &b], "").await;
    assert_eq!(statuses(&harness, 4).await, [200; 4]);
    assert_eq!((a.requests(), b.requests()), (2, 2));
    assert_eq!(a.header("authorization").as_deref(), Some("Bearer key-0"));
    assert_eq!(b.header("authorization").as_deref(), Some("Bearer key-1"));
}

#[tokio::test]
async fn a_model_without_a_server_is_an_error_that_says_so() {
    let server = Server::start().await;
    let harness = gateway(&[&server], "").await;
    let answer = harness.chat("lost", "hello").await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.body.contains("no server is configured"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn no_request_is_lost_with_a_server() {
    let (mut a, b) = (Server::start().await, Server::start().await);
    let harness = gateway(&[&a, &b], "consecutive_5xx: 2, base_ejection_time: 1h").await;
    assert_eq!(statuses(&harness, 2).await, [200; 2]);
    a.stop().await;
    assert_eq!(statuses(&harness, 20).await, [200; 20]);
    assert_eq!(b.requests(), 21);
    metric(
        &harness,
        r#"tandem_gateway_upstream_ejections_total{server="s0"} 1"#,
    )
    .await;
    metric(
        &harness,
        r#"tandem_gateway_upstream_retries_total{server="s0"} 2"#,
    )
    .await;
}

#[tokio::test]
async fn statuses_that_may_pass_are_tried_again() {
    let check = async |status: u16, reliability: &str, want: u16, requests: (usize, usize)| {
        let (a, b) = (Server::start().await, Server::start().await);
        a.status(status);
        let harness = gateway(&[&a, &b], reliability).await;
        let got = harness.chat("m", "hello").await.status;
        assert_eq!(
            (got, (a.requests(), b.requests())),
            (want, requests),
            "{status} {reliability}"
        );
    };
    check(503, "", 200, (1, 1)).await;
    check(500, "", 500, (1, 0)).await;
    check(500, "retry_on: 5xx", 200, (1, 1)).await;
    check(429, "", 429, (1, 0)).await;
    check(429, "retry_on: '429'", 200, (1, 1)).await;
    check(400, "retry_on: '5xx,429'", 400, (1, 0)).await;
    check(503, "retry_count: 0", 503, (1, 0)).await;
}

#[tokio::test]
async fn one_server_is_tried_again_after_a_pause() {
    let server = Server::start().await;
    server.status(503);
    let harness = gateway(&[&server], "retry_count: 3").await;
    let answer = harness.chat("m", "hello").await;
    assert_eq!((answer.status, server.requests()), (503, 4));
}

#[tokio::test]
async fn a_server_that_was_left_alone_is_tried_by_one_request() {
    let (a, b) = (Server::start().await, Server::start().await);
    let harness = gateway(
        &[&a, &b],
        "consecutive_5xx: 1, base_ejection_time: 300ms, retry_count: 0",
    )
    .await;
    a.status(500);
    let mut failed = statuses(&harness, 6).await;
    failed.retain(|status| *status != 200);
    assert_eq!(failed, [500]);
    assert_eq!(a.requests(), 1);
    a.status(200);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(statuses(&harness, 6).await, [200; 6]);
    assert!(a.requests() > 2, "it is trusted again");
}

#[tokio::test]
async fn health_checks_find_servers_that_are_not_well() {
    let (a, b) = (Server::start().await, Server::start().await);
    a.status(503);
    let harness = gateway(
        &[&a, &b],
        "health_check_path: /healthz, health_check_interval: 20ms, retry_count: 0",
    )
    .await;
    let until = async |want: fn(&[u16]) -> bool| {
        let wait = async { while !want(&statuses(&harness, 4).await) {} };
        tokio::time::timeout(SOON, wait).await.unwrap();
    };
    until(|statuses| statuses == [200; 4]).await;
    let before = a.requests();
    assert_eq!(statuses(&harness, 4).await, [200; 4]);
    assert_eq!(a.requests(), before, "it gets none");
    a.status(200);
    let wait = async {
        while a.requests() == before {
            statuses(&harness, 1).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
}

#[tokio::test]
async fn clients_need_a_key_and_stay_within_their_limits() {
    let server = Server::start().await;
    let config = format!(
        "
vllm_endpoints: [{{name: e, address: 127.0.0.1, port: {}}}]
model_config: {{m: {{preferred_endpoints: [e], access_key: upstream-key}}}}
tandem:
  gateway:
    clients:
      - {{name: a, key: key-a, limits: {{requests_per_minute: 2}}}}
      - {{name: b, key: key-b, limits: {{tokens_per_minute: 4}}}}
",
        server.address.port()
    );
    let harness = Harness::configured(&config).await;
    let body = crate::harness::chat("m", "hello");
    let ask = async |key: &str| {
        let request = harness
            .request("POST", "/v1/chat/completions")
            .header("authorization", format!("Bearer {key}"))
            .header("x-authz-user-id", "somebody else");
        harness.send(request, &body).await
    };
    let answer = harness.chat("m", "hello").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.json()["error"]["type"], "authentication_error");
    assert_eq!(ask("wrong").await.status, 401);
    assert_eq!(server.requests(), 0);

    let answer = ask("key-a").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("1"));
    assert_eq!(
        server.header("authorization").as_deref(),
        Some("Bearer upstream-key")
    );
    assert_eq!(server.header("x-authz-user-id"), None);
    assert_eq!(ask("key-a").await.status, 200);
    let refused = ask("key-a").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("30"));
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");

    // The answer says that it cost 5 tokens.
    assert_eq!(ask("key-b").await.status, 200);
    assert_eq!(ask("key-b").await.status, 429);
    metric(
        &harness,
        r#"tandem_gateway_refused_requests_total{reason="tokens_per_minute"} 1"#,
    )
    .await;
    assert_eq!(harness.get("/health").await.status, 200);
}
