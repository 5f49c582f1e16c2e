use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tandem_runtime::Messaging;
use tandem_runtime::Secret;
use tandem_runtime::messaging::NatsMessaging;
use tandem_runtime::nats::{NatsLogin, NatsOptions, NatsTls, connect};

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
