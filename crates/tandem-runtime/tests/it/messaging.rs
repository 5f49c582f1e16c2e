use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tandem_runtime::discovery::{Discovery as _, MemoryDiscovery};
use tandem_runtime::messaging::{NatsMessaging, ZmqMessaging};
use tandem_runtime::nats::{NatsLogin, NatsOptions, NatsTls, connect};
use tandem_runtime::{Lifecycle, Messaging, Secret};

use crate::servers::Server;

const SUBJECT: &str = "namespace.ns.component.backend.kv-events";

pub(crate) async fn client(server: &Server) -> async_nats::Client {
    let options = NatsOptions {
        server: format!("nats://{}", server.address()),
        login: NatsLogin::Password {
            user: "user".to_owned(),
            password: Secret::new("user"),
        },
        tls: NatsTls::default(),
        connect_timeout: Duration::from_secs(10),
    };
    connect(&options).await.unwrap()
}

async fn join(server: &Server) -> NatsMessaging {
    NatsMessaging::new(client(server).await, None)
}

async fn next(messages: &mut BoxStream<'static, Bytes>) -> Bytes {
    let next = tokio::time::timeout(Duration::from_secs(20), messages.next()).await;
    next.expect("in time").expect("no end")
}

#[tokio::test]
async fn subscribers_get_what_is_published_later() {
    let Some(server) = Server::nats().await else {
        return;
    };
    let (publisher, subscriber) = (join(&server).await, join(&server).await);
    let mut messages = subscriber.subscribe("a.b").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    publisher.publish("a.b", "1".into()).await.unwrap();
    publisher.publish("a.c", "other".into()).await.unwrap();
    publisher.publish("a.b", "2".into()).await.unwrap();
    assert_eq!(next(&mut messages).await, "1");
    assert_eq!(next(&mut messages).await, "2");
}

#[tokio::test]
async fn a_log_is_read_from_its_start_and_goes_on_after_an_outage() {
    let Some(mut server) = Server::nats().await else {
        return;
    };
    let (writer, reader) = (join(&server).await, join(&server).await);
    writer.append(SUBJECT, "1".into()).await.unwrap();
    let mut first = reader.follow(SUBJECT, "reader-1");
    assert_eq!(next(&mut first).await, "1");
    writer.append(SUBJECT, "2".into()).await.unwrap();
    assert_eq!(next(&mut first).await, "2");
    let mut late = reader.follow(SUBJECT, "reader-2");
    assert_eq!(next(&mut late).await, "1");

    server.stop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.resume().await;
    // The first attempts may fail until the connection is made again.
    while writer.append(SUBJECT, "3".into()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(next(&mut late).await, "2");
    for messages in [&mut first, &mut late] {
        while next(messages).await != "3" {}
    }
}

/// Two publishers and a subscriber that meets them in discovery.
#[tokio::test]
async fn subscribers_find_publishers_without_a_broker() {
    let store = MemoryDiscovery::new();
    let join = || Arc::new(store.join());
    let host = IpAddr::from([127, 0, 0, 1]);
    let (one, two) = (join(), join());
    let lifecycle = Lifecycle::new();
    let open = |discovery: Arc<MemoryDiscovery>| ZmqMessaging::new(discovery, host, &lifecycle);
    let (first, second, reader) = (open(one), open(Arc::clone(&two)), open(join()));
    let mut messages = reader.subscribe(SUBJECT).await.unwrap();
    let mut other = reader
        .subscribe("namespace.ns.component.c.load")
        .await
        .unwrap();
    // What is sent before a subscriber has connected is lost.
    let hears =
        async |publisher: &ZmqMessaging, messages: &mut BoxStream<'static, Bytes>, text: &str| {
            for _ in 0..200 {
                publisher
                    .publish(SUBJECT, text.to_owned().into())
                    .await
                    .unwrap();
                let wait = tokio::time::timeout(Duration::from_millis(50), messages.next());
                if let Ok(Some(message)) = wait.await {
                    assert_eq!(message, *text);
                    return;
                }
            }
            panic!("nothing arrived of {text}");
        };
    hears(&first, &mut messages, "1").await;
    hears(&second, &mut messages, "2").await;
    while tokio::time::timeout(Duration::from_millis(100), messages.next())
        .await
        .is_ok()
    {}
    for number in 0..1000 {
        let text = format!("{number}");
        first.append(SUBJECT, text.clone().into()).await.unwrap();
        assert_eq!(next(&mut messages).await, text);
    }
    // One that leaves is not waited for, and one that comes back under a new address is found.
    two.revoke().await.unwrap();
    drop(second);
    let third = open(join());
    hears(&third, &mut messages, "3").await;
    assert!(other.next().now_or_never().is_none());
}
