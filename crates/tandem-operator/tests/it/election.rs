//! Several operators, of which one acts.

use crate::api_server::{ApiServer, Fault, Kind};
use crate::harness::{graph, is_ready, start};
use tandem_operator::OperatorError;

const FLAGS: [&str; 3] = ["--leader-elect", "--leader-elect-namespace", "models"];

fn holder(server: &ApiServer) -> Option<String> {
    let lease = server.get(Kind::Lease, "tandem-operator")?;
    Some(lease["spec"]["holderIdentity"].as_str()?.to_owned())
}

#[tokio::test]
async fn one_acts_and_the_next_takes_over_when_it_stops() {
    let server = ApiServer::start().await;
    server.make_pods_ready(true);
    let flags = |name: &'static str| [FLAGS.as_slice(), &["--identity", name]].concat();
    let first = start(&server, &flags("first"));
    server
        .wait_for("the first leads", |server| {
            holder(server).as_deref() == Some("first")
        })
        .await;
    let second = start(&server, &flags("second"));
    server.create(graph("vllm"));
    server
        .wait_for("the graph is ready", |server| is_ready(server, "vllm"))
        .await;
    assert!(first.metrics().contains("tandem_operator_leader 1"));
    assert!(second.metrics().contains("tandem_operator_leader 0"));
    first.stop().await.unwrap();
    server
        .wait_for("the second leads", |server| {
            holder(server).as_deref() == Some("second")
        })
        .await;
    server.create(graph("next"));
    server
        .wait_for("it acts", |server| is_ready(server, "next"))
        .await;
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_stops() {
    let server = ApiServer::start().await;
    let operator = start(&server, &FLAGS);
    server
        .wait_for("it leads", |server| holder(server).is_some())
        .await;
    server.fail(Fault {
        method: "PUT",
        path: "/leases/tandem-operator".to_owned(),
        code: 409,
        message: "the object has been modified",
        times: 1,
    });
    let error = operator.end().await.unwrap_err();
    assert!(matches!(error, OperatorError::LostLease), "{error}");
}
