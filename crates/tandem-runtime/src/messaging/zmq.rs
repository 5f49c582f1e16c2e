//! Messaging over ZMQ, without a broker: every publisher binds a socket of its own and registers it
//! in discovery as Dynamo 1.6.1 does, and subscribers connect to all that are registered.

mod channel;
mod envelope;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, warn};
use zeromq::{Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use super::{Messaging, MessagingError};
use crate::discovery::{Discovery, DiscoveryEvent};
use crate::lifecycle::Lifecycle;
use channel::{Channel, Subject};
use envelope::{Envelope, millis_now};

/// Messages that a subscriber may lag behind before its publishers wait, and lose what is newest.
const DEPTH: usize = 4096;
/// Pause before a publisher is connected to again.
const PAUSE: Duration = Duration::from_millis(500);

/// Subjects whose publishers are found in discovery. Nothing is kept: a reader that comes late asks
/// the publishers for what it missed.
pub struct ZmqMessaging {
    discovery: Arc<dyn Discovery>,
    host: IpAddr,
    lifecycle: Lifecycle,
    publishers: Mutex<HashMap<String, Publisher>>,
}

/// A bound socket, for one subject.
struct Publisher {
    socket: zeromq::PubSocket,
    topic: String,
    id: u64,
    /// Number of the last message.
    sequence: u64,
}

impl ZmqMessaging {
    /// Publishes on free ports of `host`, an address that the subscribers can reach; `lifecycle`
    /// ends the subscriptions.
    pub fn new(discovery: Arc<dyn Discovery>, host: IpAddr, lifecycle: &Lifecycle) -> Self {
        Self {
            discovery,
            host,
            lifecycle: lifecycle.clone(),
            publishers: Mutex::default(),
        }
    }

    async fn bind(&self, subject: &str) -> Result<Publisher, MessagingError> {
        let subject = Subject::parse(subject);
        let mut socket = zeromq::PubSocket::new();
        let host = match self.host {
            IpAddr::V4(host) => host.to_string(),
            IpAddr::V6(host) => format!("[{host}]"),
        };
        let address = socket
            .bind(&format!("tcp://{host}:0"))
            .await
            .map_err(unavailable)?;
        let id = channel::random_id();
        let channel = Channel::new(&subject, id, address.to_string());
        self.discovery
            .put(subject.key(id), channel.to_bytes())
            .await
            .map_err(unavailable)?;
        Ok(Publisher {
            socket,
            topic: subject.topic,
            id,
            sequence: 0,
        })
    }

    fn listen(&self, subject: &str) -> BoxStream<'static, Bytes> {
        let subject = Subject::parse(subject);
        let channels = self.discovery.watch(&subject.prefix());
        let (messages, stream) = mpsc::channel(DEPTH);
        let following = follow_channels(channels, subject.topic, messages);
        self.lifecycle.spawn(following);
        ReceiverStream::new(stream).boxed()
    }
}

impl Messaging for ZmqMessaging {
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), MessagingError>> {
        Box::pin(async move {
            let mut publishers = self.publishers.lock().await;
            if !publishers.contains_key(subject) {
                let publisher = self.bind(subject).await?;
                publishers.insert(subject.to_owned(), publisher);
            }
            match publishers.get_mut(subject) {
                Some(publisher) => publisher.send(payload).await,
                None => Ok(()),
            }
        })
    }

    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Bytes>, MessagingError>> {
        Box::pin(async move { Ok(self.listen(subject)) })
    }

    fn append<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), MessagingError>> {
        self.publish(subject, payload)
    }

    fn follow(&self, subject: &str, _reader: &str) -> BoxStream<'static, Bytes> {
        self.listen(subject)
    }
}

impl Publisher {
    async fn send(&mut self, payload: Bytes) -> Result<(), MessagingError> {
        self.sequence += 1;
        let envelope = Envelope {
            publisher_id: self.id,
            sequence: self.sequence,
            published_at: millis_now(),
            topic: self.topic.clone(),
            payload,
        };
        let message = ZmqMessage::try_from(envelope.to_frames()).map_err(unavailable)?;
        self.socket.send(message).await.map_err(unavailable)
    }
}

/// Keeps a connection to every publisher that is registered, until nobody listens.
async fn follow_channels(
    mut channels: BoxStream<'static, DiscoveryEvent>,
    topic: String,
    messages: mpsc::Sender<Bytes>,
) {
    let mut connections = JoinSet::new();
    let mut by_key: HashMap<String, AbortHandle> = HashMap::new();
    loop {
        let event = tokio::select! {
            () = messages.closed() => return,
            event = channels.next() => event,
        };
        match event {
            None => return,
            Some(DiscoveryEvent::Put { key, value }) => {
                let channel = match Channel::parse(&value) {
                    Ok(channel) => channel,
                    Err(error) => {
                        warn!(key, %error, "skipped an event channel that does not decode");
                        continue;
                    }
                };
                let connection = receive(channel, topic.clone(), messages.clone());
                let running = connections.spawn(connection);
                if let Some(old) = by_key.insert(key, running) {
                    old.abort();
                }
            }
            Some(DiscoveryEvent::Delete { key }) => {
                if let Some(connection) = by_key.remove(&key) {
                    connection.abort();
                }
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Passes on what a publisher sends; connects again whenever that ends.
async fn receive(channel: Channel, topic: String, messages: mpsc::Sender<Bytes>) {
    let mut last = None;
    loop {
        let error = match connect(&channel, &topic).await {
            Ok(mut socket) => loop {
                match socket.recv().await {
                    Ok(message) => {
                        let Some(payload) = open(message, &channel, &mut last) else {
                            continue;
                        };
                        if messages.send(payload).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        debug!(endpoint = channel.endpoint(), %error, "an event channel is away");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn connect(channel: &Channel, topic: &str) -> zeromq::ZmqResult<SubSocket> {
    let mut socket = SubSocket::new();
    socket.connect(channel.endpoint()).await?;
    socket.subscribe(topic).await?;
    Ok(socket)
}

/// The payload of a message; `None` if it is none, or was there already.
fn open(message: ZmqMessage, channel: &Channel, last: &mut Option<u64>) -> Option<Bytes> {
    let endpoint = channel.endpoint();
    let envelope = match Envelope::from_frames(&message.into_vec()) {
        Ok(envelope) => envelope,
        Err(error) => {
            warn!(endpoint, %error, "skipped an event that does not decode");
            return None;
        }
    };
    let sequence = envelope.sequence;
    match last.replace(sequence) {
        Some(before) if sequence <= before => return None,
        Some(before) if sequence > before + 1 => {
            debug!(endpoint, before, sequence, "events were missed");
        }
        _ => {}
    }
    Some(envelope.payload)
}

fn unavailable(error: impl std::fmt::Display) -> MessagingError {
    MessagingError::Unavailable(error.to_string())
}
