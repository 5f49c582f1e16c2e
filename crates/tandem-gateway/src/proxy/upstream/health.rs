//! Asking servers whether they are well.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tandem_semantic_router::config::HealthCheck;
use tracing::debug;

use super::server::Server;
use super::{HttpClient, uri};

/// Least time between two checks.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// Asks until nobody uses the server any more.
pub(super) async fn watch(server: Weak<Server>, client: HttpClient) {
    loop {
        let Some(server) = server.upgrade() else {
            return;
        };
        let Some(check) = server.check() else {
            return;
        };
        let healthy = ask(&server, &client, &check).await;
        server.checked(healthy);
        drop(server);
        tokio::time::sleep(check.interval.max(LEAST_INTERVAL)).await;
    }
}

async fn ask(server: &Server, client: &HttpClient, check: &HealthCheck) -> bool {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = uri(server.address(), &check.path);
    let answer = tokio::time::timeout(check.timeout, client.request(request)).await;
    match answer {
        Ok(Ok(answer)) => answer.status().is_success(),
        Ok(Err(error)) => {
            debug!(server = %server.address(), %error, "health check failed");
            false
        }
        Err(_) => false,
    }
}
