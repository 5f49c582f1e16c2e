use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tandem_runtime::discovery::{
    DiscoveryError, DiscoveryEvent, EtcdDiscovery, EtcdOptions, EtcdTls,
};
use tandem_runtime::{Discovery, Lifecycle};

use crate::servers::Server;

const TTL: Duration = Duration::from_secs(2);

async fn join(server: &Server, lifecycle: &Lifecycle) -> EtcdDiscovery {
    join_at(vec![server.address()], lifecycle).await
}

pub(crate) async fn join_at(endpoints: Vec<String>, lifecycle: &Lifecycle) -> EtcdDiscovery {
    let options = EtcdOptions {
        endpoints,
        login: None,
        tls: EtcdTls::default(),
        lease_ttl: TTL,
        connect_timeout: Duration::from_secs(10),
    };
    EtcdDiscovery::connect(options, lifecycle).await.unwrap()
}

/// The next event as `+key=value` or `-key`; `None` if there is none in time.
pub(crate) async fn next(
    events: &mut BoxStream<'static, DiscoveryEvent>,
    seconds: u64,
) -> Option<String> {
    let event = tokio::time::timeout(Duration::from_secs(seconds), events.next()).await;
    Some(match event.ok()?? {
        DiscoveryEvent::Put { key, value } => {
            format!("+{key}={}", String::from_utf8_lossy(&value))
        }
        DiscoveryEvent::Delete { key } => format!("-{key}"),
    })
}

pub(crate) async fn put(discovery: &dyn Discovery, key: &str, value: &'static str) {
    let value = Bytes::from_static(value.as_bytes());
    discovery.put(key.to_owned(), value).await.unwrap();
}

#[tokio::test]
async fn a_watch_lists_then_follows_and_a_lease_takes_its_entries_along() {
    let Some(server) = Server::etcd().await else {
        return;
    };
    let lifecycle = Lifecycle::new();
    let worker = join(&server, &lifecycle).await;
    let frontend = join(&server, &lifecycle).await;
    assert_ne!(worker.lease(), frontend.lease());
    put(&worker, "v1/a/1", "x").await;
    put(&worker, "v2/a/1", "x").await;
    let mut events = frontend.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=x");
    put(&worker, "v1/a/2", "y").await;
    put(&worker, "v1/a/1", "z").await;
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/2=y");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=z");
    let taken = frontend.put("v1/a/1".to_owned(), Bytes::new()).await;
    assert_eq!(taken, Err(DiscoveryError::Taken("v1/a/1".to_owned())));
    worker.delete("v1/a/2").await.unwrap();
    assert_eq!(next(&mut events, 5).await.unwrap(), "-v1/a/2");
    worker.revoke().await.unwrap();
    assert_eq!(next(&mut events, 5).await.unwrap(), "-v1/a/1");
    let gone = worker.put("v1/a/3".to_owned(), Bytes::new()).await;
    assert_eq!(gone, Err(DiscoveryError::LeaseGone));
}

#[tokio::test]
async fn a_process_that_dies_is_forgotten() {
    let Some(server) = Server::etcd().await else {
        return;
    };
    let lifecycle = Lifecycle::new();
    let frontend = join(&server, &lifecycle).await;
    let process = lifecycle.child();
    let worker = join(&server, &process).await;
    put(&worker, "v1/a/1", "x").await;
    let mut events = frontend.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=x");
    assert_eq!(next(&mut events, 5).await, None, "the lease is kept alive");
    process.stop(Duration::from_secs(1)).await.unwrap();
    assert_eq!(next(&mut events, 15).await.unwrap(), "-v1/a/1");
}

#[tokio::test]
async fn an_outage_is_no_news() {
    let Some(mut server) = Server::etcd().await else {
        return;
    };
    let lifecycle = Lifecycle::new();
    let worker = join(&server, &lifecycle).await;
    let frontend = join(&server, &lifecycle).await;
    put(&worker, "v1/a/1", "x").await;
    let mut events = frontend.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=x");
    server.stop();
    // Longer than the lease.
    assert_eq!(next(&mut events, 4).await, None);
    server.resume().await;
    assert_eq!(next(&mut events, 3).await, None);
    put(&worker, "v1/a/2", "y").await;
    assert_eq!(next(&mut events, 10).await.unwrap(), "+v1/a/2=y");
}

#[tokio::test]
async fn a_store_that_lost_everything_is_filled_again() {
    let Some(mut first) = Server::etcd().await else {
        return;
    };
    let lifecycle = Lifecycle::new();
    let worker = join(&first, &lifecycle).await;
    let lease = worker.lease();
    put(&worker, "v1/a/1", "x").await;
    let reader = lifecycle.child();
    let frontend = join(&first, &reader).await;
    let mut events = frontend.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=x");
    first.lose_data();
    first.resume().await;
    // The reader was told nothing, because the entry came back in time.
    assert_eq!(next(&mut events, 5).await, None);
    let mut fresh = join(&first, &lifecycle).await.watch("v1/");
    assert_eq!(next(&mut fresh, 5).await.unwrap(), "+v1/a/1=x");
    assert_eq!(worker.lease(), lease, "instances keep their id");
}

#[tokio::test]
async fn a_compacted_history_does_not_stop_a_watch() {
    let Some(server) = Server::etcd().await else {
        return;
    };
    let lifecycle = Lifecycle::new();
    let worker = join(&server, &lifecycle).await;
    let mut events = worker.watch("v1/");
    put(&worker, "v1/a/1", "1").await;
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=1");
    for value in ["2", "3"] {
        put(&worker, "v1/a/1", value).await;
    }
    server.compact(4);
    put(&worker, "v1/a/2", "x").await;
    let mut seen = Vec::new();
    while let Some(event) = next(&mut events, 2).await {
        seen.push(event);
    }
    assert_eq!(seen.last().unwrap(), "+v1/a/2=x");
    assert!(seen.contains(&"+v1/a/1=3".to_owned()), "{seen:?}");
}
