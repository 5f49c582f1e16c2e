//! Discovery through the Kubernetes API keeps the same promises as discovery in etcd.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use tandem_runtime::discovery::{
    DiscoveryError, DiscoveryEvent, KubernetesDiscovery, KubernetesOptions, PodIdentity,
};
use tandem_runtime::{Discovery, Lifecycle};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::api_server::{ApiServer, Gone, NAMESPACE};
use crate::credentials::Certificates;
use crate::discovery::{next, put};

/// A pod, and the process in it.
struct Pod {
    name: &'static str,
    uid: String,
    process: Lifecycle,
    discovery: KubernetesDiscovery,
}

impl Pod {
    async fn create(server: &ApiServer, name: &'static str) -> Self {
        let uid = server.create_pod(name);
        Self::with_uid(server, name, uid).await
    }

    async fn with_uid(server: &ApiServer, name: &'static str, uid: String) -> Self {
        let process = Lifecycle::new();
        let discovery = connect(server, name, &uid, &process).await.unwrap();
        Self {
            name,
            uid,
            process,
            discovery,
        }
    }

    /// How the pod is in an EndpointSlice.
    fn ready(&self, ready: bool) -> (&str, &str, bool) {
        (self.name, &self.uid, ready)
    }

    async fn kill(self) {
        self.process.stop(Duration::from_secs(5)).await.unwrap();
    }
}

async fn connect(
    server: &ApiServer,
    name: &str,
    uid: &str,
    lifecycle: &Lifecycle,
) -> Result<KubernetesDiscovery, DiscoveryError> {
    let options = KubernetesOptions {
        pod: PodIdentity {
            name: name.to_owned(),
            namespace: NAMESPACE.to_owned(),
            uid: uid.to_owned(),
        },
        kubeconfig: Some(server.kubeconfig().into()),
        connect_timeout: Duration::from_secs(1),
    };
    KubernetesDiscovery::connect(options, lifecycle).await
}

/// A worker and a frontend, both ready.
async fn pair() -> (ApiServer, Pod, Pod) {
    let server = ApiServer::start().await;
    let worker = Pod::create(&server, "worker-0").await;
    let frontend = Pod::create(&server, "frontend-0").await;
    server.put_slice("workers", &[worker.ready(true)]);
    server.put_slice("frontends", &[frontend.ready(true)]);
    (server, worker, frontend)
}

/// The next event; fails if there is none in time.
async fn news(events: &mut BoxStream<'static, DiscoveryEvent>) -> String {
    next(events, 20).await.expect("something happens")
}

/// Fails if a change is told before the entry `v1/marker`, which `writer` writes now.
async fn no_news_before_a_marker(
    events: &mut BoxStream<'static, DiscoveryEvent>,
    writer: &KubernetesDiscovery,
) {
    put(writer, "v1/marker", "m").await;
    assert_eq!(news(events).await, "+v1/marker=m");
    writer.delete("v1/marker").await.unwrap();
    assert_eq!(news(events).await, "-v1/marker");
}

#[tokio::test]
async fn a_watch_lists_then_follows_and_a_lease_takes_its_entries_along() {
    let (server, worker, frontend) = pair().await;
    assert_ne!(worker.discovery.lease(), frontend.discovery.lease());
    put(&worker.discovery, "v1/a/1", "x").await;
    put(&worker.discovery, "v2/a/1", "x").await;
    let mut events = frontend.discovery.watch("v1/");
    assert_eq!(news(&mut events).await, "+v1/a/1=x");
    put(&worker.discovery, "v1/a/2", "y").await;
    assert_eq!(news(&mut events).await, "+v1/a/2=y");
    put(&worker.discovery, "v1/a/1", "z").await;
    assert_eq!(news(&mut events).await, "+v1/a/1=z");
    worker.discovery.delete("v1/a/2").await.unwrap();
    worker.discovery.delete("v1/none").await.unwrap();
    assert_eq!(news(&mut events).await, "-v1/a/2");
    worker.discovery.revoke().await.unwrap();
    assert_eq!(news(&mut events).await, "-v1/a/1");
    assert_eq!(server.registration("worker-0"), None);
    let gone = worker.discovery.put("v1/a/3".to_owned(), Bytes::new());
    assert_eq!(gone.await, Err(DiscoveryError::LeaseGone));
}

#[tokio::test]
async fn a_pod_registers_in_the_form_of_dynamo_and_owns_what_it_registers() {
    let (server, worker, _) = pair().await;
    // The documented hash of the name, cut to what a JSON number keeps.
    assert_eq!(worker.discovery.lease(), 1_186_445_869_714_687);
    let key = "v1/instances/dynamo/backend/generate/43710f49c0cff";
    let record = r#"{"component":"backend","instance_id":1186445869714687,"weight":1.0}"#;
    put(&worker.discovery, key, record).await;
    let object = server.registration("worker-0").unwrap();
    assert_eq!(object["apiVersion"], "nvidia.com/v1alpha1");
    assert_eq!(object["kind"], "DynamoWorkerMetadata");
    let owners = json!([
        {"apiVersion": "v1", "kind": "Pod", "name": "worker-0", "uid": worker.uid},
    ]);
    assert_eq!(object["metadata"]["ownerReferences"], owners);
    let endpoints = json!({"dynamo/backend/generate/43710f49c0cff": {
        "type": "Endpoint", "component": "backend", "instance_id": 1_186_445_869_714_687_u64,
        "weight": 1,
    }});
    let data = json!({"endpoints": endpoints, "model_cards": {}, "event_channels": {}});
    assert_eq!(object["spec"]["data"], data);
}

#[tokio::test]
async fn a_pod_is_seen_while_it_is_ready_and_a_process_always_sees_itself() {
    let (server, worker, frontend) = pair().await;
    server.put_slice("workers", &[worker.ready(false)]);
    put(&worker.discovery, "v1/a", "x").await;
    let mut own = worker.discovery.watch("v1/");
    assert_eq!(news(&mut own).await, "+v1/a=x");
    let mut events = frontend.discovery.watch("v1/");
    no_news_before_a_marker(&mut events, &frontend.discovery).await;
    server.put_slice("workers", &[worker.ready(true)]);
    assert_eq!(news(&mut events).await, "+v1/a=x");
    server.put_slice("workers", &[worker.ready(false)]);
    assert_eq!(news(&mut events).await, "-v1/a");
    // Any slice will do, but only those of Services that want to be found.
    server.put_slice_with("other", &json!({"app": "x"}), &[worker.ready(true)]);
    no_news_before_a_marker(&mut events, &frontend.discovery).await;
    server.put_slice("other", &[worker.ready(true)]);
    assert_eq!(news(&mut events).await, "+v1/a=x");
}

#[tokio::test]
async fn a_pod_that_is_deleted_takes_its_entries_along_and_another_of_its_name_takes_over() {
    let (server, worker, frontend) = pair().await;
    let lease = worker.discovery.lease();
    put(&worker.discovery, "v1/a", "old").await;
    let mut events = frontend.discovery.watch("v1/");
    assert_eq!(news(&mut events).await, "+v1/a=old");
    worker.kill().await;
    server.delete_pod("worker-0");
    assert_eq!(news(&mut events).await, "-v1/a");
    assert_eq!(server.registration("worker-0"), None);
    let worker = Pod::create(&server, "worker-0").await;
    put(&worker.discovery, "v1/a", "new").await;
    server.put_slice("workers", &[worker.ready(true)]);
    assert_eq!(news(&mut events).await, "+v1/a=new");
    assert_eq!(worker.discovery.lease(), lease);
}

#[tokio::test]
async fn what_a_pod_has_left_is_not_taken_for_that_of_the_next_one() {
    let (server, worker, frontend) = pair().await;
    put(&worker.discovery, "v1/a", "old").await;
    let mut events = frontend.discovery.watch("v1/");
    assert_eq!(news(&mut events).await, "+v1/a=old");
    worker.kill().await;
    // Nobody has tidied up yet, and the next pod of the name is ready before its process has begun.
    server.put_slice("workers", &[("worker-0", "another", true)]);
    assert_eq!(news(&mut events).await, "-v1/a");
    let next = Pod::with_uid(&server, "worker-0", "another".to_owned()).await;
    put(&next.discovery, "v1/b", "new").await;
    assert_eq!(news(&mut events).await, "+v1/b=new");
    let owners = &server.registration("worker-0").unwrap()["metadata"]["ownerReferences"];
    assert_eq!(owners[0]["uid"], "another");
    assert_eq!(owners.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_process_that_starts_again_in_its_pod_begins_with_nothing() {
    let (server, worker, frontend) = pair().await;
    put(&worker.discovery, "v1/a", "x").await;
    let mut events = frontend.discovery.watch("v1/");
    assert_eq!(news(&mut events).await, "+v1/a=x");
    let uid = worker.uid.clone();
    worker.kill().await;
    let _worker = Pod::with_uid(&server, "worker-0", uid).await;
    assert_eq!(news(&mut events).await, "-v1/a");
}

/// An outage, in which the history may be lost; what changed meanwhile is told, and nothing else.
async fn outage(gone: Option<Gone>) {
    let (mut server, worker, frontend) = pair().await;
    put(&worker.discovery, "v1/a", "x").await;
    server.put_registration("other", &json!({"data": {"tandem": {"v1/other": "1"}}}));
    server.put_slice("others", &[("other", "7", true)]);
    let mut events = frontend.discovery.watch("v1/");
    let mut seen = [news(&mut events).await, news(&mut events).await];
    seen.sort();
    assert_eq!(seen, ["+v1/a=x", "+v1/other=1"]);
    server.stop().await;
    server.put_registration("other", &json!({"data": {"tandem": {"v1/other": "2"}}}));
    if let Some(gone) = gone {
        server.compact(gone);
    }
    let written = worker.discovery.put("v1/b".to_owned(), "y".into());
    let resumed = async {
        // The writer waits.
        assert_eq!(next(&mut events, 1).await, None);
        server.resume().await;
        let mut seen = [news(&mut events).await, news(&mut events).await];
        seen.sort();
        seen
    };
    let (written, seen) = tokio::join!(written, resumed);
    assert_eq!(written, Ok(()));
    assert_eq!(seen, ["+v1/b=y", "+v1/other=2"]);
    no_news_before_a_marker(&mut events, &frontend.discovery).await;
}

#[tokio::test]
async fn an_outage_is_no_news() {
    outage(None).await;
}

#[tokio::test]
async fn lost_history_is_no_news() {
    outage(Some(Gone::Event)).await;
    outage(Some(Gone::Status)).await;
}

#[tokio::test]
async fn what_could_not_be_removed_is_removed_later() {
    let (mut server, worker, frontend) = pair().await;
    put(&worker.discovery, "v1/a", "x").await;
    let mut events = frontend.discovery.watch("v1/");
    assert_eq!(news(&mut events).await, "+v1/a=x");
    server.stop().await;
    let failed = worker.discovery.delete("v1/a").await.unwrap_err();
    assert!(matches!(failed, DiscoveryError::Unavailable(_)), "{failed}");
    server.resume().await;
    assert_eq!(news(&mut events).await, "-v1/a");
}

#[tokio::test]
async fn registrations_that_somebody_removed_come_back() {
    let (mut server, worker, frontend) = pair().await;
    put(&worker.discovery, "v1/a", "x").await;
    let mut events = frontend.discovery.watch("v1/");
    assert_eq!(news(&mut events).await, "+v1/a=x");
    server.remove_registration("worker-0");
    assert_eq!(news(&mut events).await, "-v1/a");
    assert_eq!(news(&mut events).await, "+v1/a=x");
    server.put_registration("worker-0", &json!({"data": {}}));
    assert_eq!(news(&mut events).await, "-v1/a");
    assert_eq!(news(&mut events).await, "+v1/a=x");
    server.stop().await;
    server.lose_data();
    server.resume().await;
    server.put_slice("workers", &[worker.ready(true)]);
    let mut seen = news(&mut events).await;
    while seen != "+v1/a=x" {
        assert_eq!(seen, "-v1/a");
        seen = news(&mut events).await;
    }
}

#[tokio::test]
async fn two_processes_that_claim_one_pod_do_not_flood_the_server() {
    let (server, worker, _) = pair().await;
    let rival = Pod::with_uid(&server, "worker-0", worker.uid.clone()).await;
    let start = std::time::Instant::now();
    put(&worker.discovery, "v1/a", "x").await;
    put(&rival.discovery, "v1/b", "x").await;
    let before = server.count("patch dynamoworkermetadatas");
    while server.count("patch dynamoworkermetadatas") < before + 4 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Each of the two repairs at most once a second.
    assert!(start.elapsed() > Duration::from_millis(900));
}

#[tokio::test]
async fn a_record_that_makes_no_sense_hides_no_other() {
    let (server, worker, frontend) = pair().await;
    server.put_slice(
        "others",
        &[("a", "1", true), ("b", "2", true), ("c", "3", true)],
    );
    server.put_registration("a", &json!({"data": [1]}));
    server.put_registration("b", &json!("text"));
    server.put_registration("c", &Value::Null);
    let mut events = frontend.discovery.watch("v1/");
    put(&worker.discovery, "v1/a", "x").await;
    assert_eq!(news(&mut events).await, "+v1/a=x");
}

#[tokio::test]
async fn a_refusal_at_the_start_says_what_is_missing() {
    let server = ApiServer::start().await;
    let lifecycle = Lifecycle::new();
    let attempt = async || {
        let refused = connect(&server, "worker-0", "1", &lifecycle).await;
        refused.err().expect("it is refused")
    };
    for (verb, resource) in [
        ("patch", "dynamoworkermetadatas"),
        ("list", "dynamoworkermetadatas"),
        ("list", "endpointslices"),
    ] {
        server.refuse(verb, resource, 403);
        let DiscoveryError::Denied(message) = attempt().await else {
            panic!("{verb} {resource} is denied");
        };
        let missing = format!("cannot {verb} resource \"{resource}\"");
        assert!(message.contains(&missing), "{message}");
        assert!(
            message.contains("apiGroups: [discovery.k8s.io]"),
            "{message}"
        );
        server.allow_all();
    }
    server.refuse("patch", "dynamoworkermetadatas", 401);
    assert!(matches!(attempt().await, DiscoveryError::Denied(_)));
    server.allow_all();
    server.refuse("patch", "dynamoworkermetadatas", 404);
    let DiscoveryError::Unavailable(message) = attempt().await else {
        panic!("the definition may be installed later");
    };
    assert!(message.contains("CustomResourceDefinition"), "{message}");
    server.allow_all();
    connect(&server, "worker-0", "1", &lifecycle).await.unwrap();
}

#[tokio::test]
async fn a_watch_that_is_refused_for_a_while_keeps_what_is_known() {
    let (server, worker, frontend) = pair().await;
    put(&worker.discovery, "v1/a", "x").await;
    let mut events = frontend.discovery.watch("v1/");
    assert_eq!(news(&mut events).await, "+v1/a=x");
    server.refuse("watch", "dynamoworkermetadatas", 403);
    server.refuse("list", "dynamoworkermetadatas", 403);
    let watches = server.count("watch dynamoworkermetadatas");
    // The running watches end after two seconds.
    while server.count("watch dynamoworkermetadatas") < watches + 4 {
        assert_eq!(next(&mut events, 0).await, None);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    put(&worker.discovery, "v1/a", "y").await;
    server.allow_all();
    assert_eq!(news(&mut events).await, "+v1/a=y");
}

#[tokio::test]
async fn a_pod_of_another_process_is_not_removed_by_the_lease() {
    let (server, worker, _) = pair().await;
    server.remove_registration("worker-0");
    server.put_registration("worker-0", &json!({"data": {}}));
    worker.discovery.revoke().await.unwrap();
    assert!(server.registration("worker-0").is_some());
}

#[tokio::test]
async fn the_api_is_reached_over_tls() {
    let certificates = Certificates::new();
    let own = CertificateDer::from_pem_slice(certificates.text("server.pem").as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificates.text("server.key").as_bytes()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let trust = json!({"certificate-authority": certificates.path("ca.pem")});
    let server = ApiServer::start_with(Some(acceptor.clone()), trust).await;
    let pod = Pod::create(&server, "worker-0").await;
    let mut events = pod.discovery.watch("v1/");
    put(&pod.discovery, "v1/a", "x").await;
    assert_eq!(news(&mut events).await, "+v1/a=x");
    let stranger = ApiServer::start_with(Some(acceptor), json!({})).await;
    let refused = connect(&stranger, "worker-0", "1", &Lifecycle::new()).await;
    let error = refused
        .err()
        .expect("its authority is not known")
        .to_string();
    assert!(error.contains("certificate"), "{error}");
}
