//! Messaging over NATS: subjects are core subjects, logs are `JetStream` streams named and set up
//! as Dynamo 0.6.1 does.

use std::collections::HashSet;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::{Messaging, MessagingError};

/// How long a log keeps a message, unless told otherwise.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// How long the server remembers a reader that is gone.
const READER_MEMORY: Duration = Duration::from_secs(3600);
/// Pause before a log that cannot be read is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// Subjects and logs of a NATS server with `JetStream`.
pub struct NatsMessaging {
    client: Client,
    context: Context,
    max_age: Duration,
    /// Logs that are known to exist.
    created: Mutex<HashSet<String>>,
}

impl NatsMessaging {
    /// Uses `client`; `max_age` is how long a log keeps a message, one hour by default.
    pub fn new(client: Client, max_age: Option<Duration>) -> Self {
        Self {
            context: jetstream::new(client.clone()),
            client,
            max_age: max_age.unwrap_or(MAX_AGE),
            created: Mutex::new(HashSet::new()),
        }
    }

    async fn create(&self, log: &str) -> Result<(), MessagingError> {
        if self.created.lock().contains(log) {
            return Ok(());
        }
        self.context
            .get_or_create_stream(log_config(log, self.max_age))
            .await
            .map_err(unavailable)?;
        self.created.lock().insert(log.to_owned());
        Ok(())
    }
}

impl Messaging for NatsMessaging {
    fn publish<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), MessagingError>> {
        Box::pin(async move {
            self.client
                .publish(subject.to_owned(), payload)
                .await
                .map_err(unavailable)
        })
    }

    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Bytes>, MessagingError>> {
        Box::pin(async move {
            let messages = self
                .client
                .subscribe(subject.to_owned())
                .await
                .map_err(unavailable)?;
            Ok(messages.map(|message| message.payload).boxed())
        })
    }

    fn append<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), MessagingError>> {
        Box::pin(async move {
            let log = log_name(subject);
            self.create(&log).await?;
            let appended = async {
                let sent = self.context.publish(format!("{log}.queue"), payload).await;
                sent.map_err(unavailable)?.await.map_err(unavailable)
            };
            if let Err(error) = appended.await {
                // The server may have come back without its data.
                self.created.lock().remove(&log);
                return Err(error);
            }
            Ok(())
        })
    }

    fn follow(&self, subject: &str, reader: &str) -> BoxStream<'static, Bytes> {
        let follower = Follower {
            context: self.context.clone(),
            config: log_config(&log_name(subject), self.max_age),
            reader: reader.to_owned(),
            messages: None,
            failing: false,
        };
        stream::unfold(follower, |mut follower| async {
            let payload = follower.next().await;
            Some((payload, follower))
        })
        .boxed()
    }
}

/// Reads a log through a durable consumer, and opens it again whenever that fails.
struct Follower {
    context: Context,
    config: Config,
    reader: String,
    messages: Option<pull::Stream>,
    failing: bool,
}

impl Follower {
    async fn next(&mut self) -> Bytes {
        loop {
            let error = match self.try_next().await {
                Ok(payload) => {
                    if std::mem::take(&mut self.failing) {
                        info!(log = %self.config.name, "following the log again");
                    }
                    return payload;
                }
                Err(error) => error,
            };
            self.messages = None;
            if !std::mem::replace(&mut self.failing, true) {
                warn!(log = %self.config.name, %error, "cannot follow the log: trying again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_next(&mut self) -> Result<Bytes, MessagingError> {
        let messages = match &mut self.messages {
            Some(messages) => messages,
            none => none.insert(open(&self.context, &self.config, &self.reader).await?),
        };
        let ended = || MessagingError::Unavailable("the log ended".to_owned());
        let message = messages
            .next()
            .await
            .ok_or_else(ended)?
            .map_err(unavailable)?;
        message.ack().await.map_err(unavailable)?;
        Ok(message.payload.clone())
    }
}

async fn open(
    context: &Context,
    config: &Config,
    reader: &str,
) -> Result<pull::Stream, MessagingError> {
    let log = context
        .get_or_create_stream(config.clone())
        .await
        .map_err(unavailable)?;
    let consumer = pull::Config {
        durable_name: Some(reader.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        inactive_threshold: READER_MEMORY,
        ..pull::Config::default()
    };
    let consumer = log
        .get_or_create_consumer(reader, consumer)
        .await
        .map_err(unavailable)?;
    consumer.messages().await.map_err(unavailable)
}

/// A subject as the name of a stream, which has no dots.
fn log_name(subject: &str) -> String {
    let keep = |char: char| char.is_ascii_alphanumeric();
    let lower = subject.to_lowercase();
    lower
        .chars()
        .map(|char| if keep(char) { char } else { '-' })
        .collect()
}

fn log_config(log: &str, max_age: Duration) -> Config {
    Config {
        name: log.to_owned(),
        subjects: vec![format!("{log}.*")],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        max_age,
        ..Config::default()
    }
}

fn unavailable(error: impl std::fmt::Display) -> MessagingError {
    MessagingError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_the_name_and_settings_of_the_capture() {
        let log = log_name("namespace.dynamo.component.backend.kv-events");
        assert_eq!(log, "namespace-dynamo-component-backend-kv-events");
        assert_eq!(
            log_name("namespace.my_ns.component.c.kv-events"),
            "namespace-my-ns-component-c-kv-events"
        );
        let config = serde_json::to_value(log_config(&log, MAX_AGE)).unwrap();
        assert_eq!(
            config["subjects"][0],
            "namespace-dynamo-component-backend-kv-events.*"
        );
        assert_eq!(config["retention"], "limits");
        assert_eq!(config["storage"], "file");
        assert_eq!(config["max_age"], 3_600_000_000_000_i64);
    }
}
