//! The planner against servers that answer like Prometheus, a frontend and the Kubernetes API.

mod apply;
mod observe;

use std::net::SocketAddr;

use axum::Router;
use tandem_runtime::Lifecycle;
use tandem_runtime::http::{HttpOptions, serve};
use tokio::net::TcpListener;

/// Serves `router` on a free port of loopback until `lifecycle` stops.
async fn start(router: Router, lifecycle: &Lifecycle) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let options = HttpOptions::default();
    lifecycle.spawn_to_end(serve(listener, router, options, lifecycle.clone()));
    address
}
