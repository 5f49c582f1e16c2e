//! The API server of the tests as a process, for an operator that is one too.
//!
//! Prints its address, and makes the pods of workloads ready at once.

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../tests/it/api_server/mod.rs"]
mod api_server;

use api_server::ApiServer;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "whoever starts it reads its address")]
async fn main() -> std::io::Result<()> {
    let server = ApiServer::start().await;
    server.make_pods_ready(true);
    // The tests ask it for things themselves.
    server.allow_everything();
    println!("http://{}", server.address);
    tokio::signal::ctrl_c().await
}
