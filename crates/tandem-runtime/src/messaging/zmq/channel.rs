//! Where the publishers of a subject are: records in discovery, in the form of Dynamo 1.6.1.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Root of the keys.
const ROOT: &str = "v1/event_channels";
/// Bits of a publisher's id: a JSON number keeps that many.
const ID_BITS: u32 = 53;

/// A subject, taken apart: `namespace.N.component.C.TOPIC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// `namespace/N/component/C`.
    scope: String,
    pub(super) topic: String,
}

impl Subject {
    /// The topic is what follows the last dot.
    pub(super) fn parse(subject: &str) -> Self {
        let (scope, topic) = subject.rsplit_once('.').unwrap_or(("", subject));
        Self {
            scope: scope.replace('.', "/"),
            topic: topic.to_owned(),
        }
    }

    /// What the keys of all its publishers begin with.
    pub(super) fn prefix(&self) -> String {
        format!("{ROOT}/{}/topic/{}/", self.scope, self.topic)
    }

    /// The key of a publisher.
    pub(super) fn key(&self, publisher: u64) -> String {
        format!("{}{publisher:x}", self.prefix())
    }
}

/// A publisher of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Channel {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    scope: serde_json::Value,
    topic: String,
    instance_id: u64,
    transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    EventChannel,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "config")]
enum Transport {
    Zmq { endpoint: String },
}

impl Channel {
    /// The publisher `id` of `subject` at `endpoint`, such as `tcp://10.0.0.1:4000`.
    pub(super) fn new(subject: &Subject, id: u64, endpoint: String) -> Self {
        let parts: Vec<&str> = subject.scope.split('/').collect();
        let scope = match parts[..] {
            ["namespace", namespace, "component", component] => serde_json::json!({
                "kind": "component", "component": { "namespace": namespace, "name": component }
            }),
            _ => serde_json::Value::Null,
        };
        Self {
            kind: Kind::EventChannel,
            scope,
            topic: subject.topic.clone(),
            instance_id: id,
            transport: Transport::Zmq { endpoint },
        }
    }

    pub(super) fn parse(record: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(record)
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts and a number").into()
    }

    pub(super) fn endpoint(&self) -> &str {
        let Transport::Zmq { endpoint } = &self.transport;
        endpoint
    }
}

/// A number that no other publisher has.
pub(super) fn random_id() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 >> (u64::BITS - ID_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_records_have_the_captured_form() {
        let subject = Subject::parse("namespace.dynamo.component.backend.kv-events");
        let key = "v1/event_channels/namespace/dynamo/component/backend/topic/kv-events/1e77b5";
        assert_eq!(subject.key(0x001e_77b5), key);
        assert!(key.starts_with(&subject.prefix()));
        let captured = br#"{"type":"EventChannel","scope":{"kind":"endpoint","endpoint":{"namespace":"dynamo","component":"backend","name":"generate"}},"topic":"kv-events","instance_id":7,"transport":{"kind":"Zmq","config":{"endpoint":"tcp://127.0.0.1:4000"}}}"#;
        let channel = Channel::parse(captured).unwrap();
        assert_eq!(channel.endpoint(), "tcp://127.0.0.1:4000");
        let json = |record: &[u8]| serde_json::from_slice::<serde_json::Value>(record).unwrap();
        assert_eq!(json(captured), json(&channel.to_bytes()));
        let own = Channel::new(&subject, 7, "tcp://127.0.0.1:4000".to_owned());
        assert_eq!(Channel::parse(&own.to_bytes()).unwrap(), own);
        assert!(Channel::parse(b"{}").is_err());
    }

    #[test]
    fn ids_fit_into_a_json_number() {
        let id = random_id();
        assert!(id < 1 << ID_BITS);
        assert_ne!(id, random_id());
    }
}
