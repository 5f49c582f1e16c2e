//! A pod's entries as one JSON object, in the form of Dynamo 1.6.1, and back.
//!
//! Dynamo sorts records by kind and tags each with it. What has no kind there is kept beside them
//! by its whole key, in a member of our own that other readers skip.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tracing::{debug, warn};

use crate::component::{EndpointId, INSTANCE_ROOT, MODEL_CARD_ROOT};
use crate::discovery::DiscoveryError;
use crate::discovery::snapshots::Entries;

/// Root of the keys of event channels.
const EVENT_CHANNEL_ROOT: &str = "v1/event_channels";
/// Member that tells the kind of a record.
const TYPE: &str = "type";
/// Member of a model's record with its card.
const CARD: &str = "card_json";
/// Member with the entries that are of no kind, as texts.
const OTHERS: &str = "tandem";

/// What Dynamo sorts records by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Endpoint,
    Model,
    EventChannel,
}

const KINDS: [Kind; 3] = [Kind::Endpoint, Kind::Model, Kind::EventChannel];

impl Kind {
    const fn root(self) -> &'static str {
        match self {
            Self::Endpoint => INSTANCE_ROOT,
            Self::Model => MODEL_CARD_ROOT,
            Self::EventChannel => EVENT_CHANNEL_ROOT,
        }
    }

    /// Name of the map of its records.
    const fn member(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoints",
            Self::Model => "model_cards",
            Self::EventChannel => "event_channels",
        }
    }

    /// Value of [`TYPE`].
    const fn tag(self) -> &'static str {
        match self {
            Self::Endpoint => "Endpoint",
            Self::Model => "Model",
            Self::EventChannel => "EventChannel",
        }
    }

    /// The record of an entry; `None` if it has no such form.
    fn record(self, key: &str, value: Value) -> Option<Value> {
        match (self, value) {
            (Self::Endpoint, Value::Object(fields)) if !fields.contains_key(TYPE) => {
                let mut record = Map::new();
                record.insert(TYPE.to_owned(), self.tag().into());
                record.extend(fields);
                Some(Value::Object(record))
            }
            (Self::Model, card) => {
                let (endpoint, instance_id) = EndpointId::from_key(key)?;
                Some(json!({
                    TYPE: self.tag(),
                    "namespace": endpoint.namespace,
                    "component": endpoint.component,
                    "endpoint": endpoint.endpoint,
                    "instance_id": instance_id,
                    CARD: card,
                }))
            }
            (Self::EventChannel, Value::Object(fields))
                if fields.get(TYPE).is_some_and(|tag| tag == self.tag()) =>
            {
                Some(Value::Object(fields))
            }
            _ => None,
        }
    }

    /// The value of an entry; `None` for a record that is not of this kind.
    fn value(self, record: Value) -> Option<Value> {
        let Value::Object(mut fields) = record else {
            return None;
        };
        if fields.get(TYPE)? != self.tag() {
            return None;
        }
        match self {
            Self::Endpoint => {
                fields.shift_remove(TYPE);
                Some(Value::Object(fields))
            }
            Self::Model => fields.shift_remove(CARD),
            Self::EventChannel => Some(Value::Object(fields)),
        }
    }
}

/// Whether an entry can be stored.
///
/// # Errors
/// Its value is no text.
pub(super) fn check(key: &str, value: &[u8]) -> Result<(), DiscoveryError> {
    match std::str::from_utf8(value) {
        Ok(_) => Ok(()),
        Err(error) => Err(DiscoveryError::Address(format!(
            "{key} cannot be stored in Kubernetes: its value is no text: {error}"
        ))),
    }
}

/// The JSON form of `entries`, which have passed [`check`].
pub(super) fn encode(entries: &Entries) -> Value {
    let mut data = Map::new();
    for kind in KINDS {
        data.insert(kind.member().to_owned(), json!({}));
    }
    for (key, value) in entries {
        let (member, path, record) = sorted(key, value).unwrap_or_else(|| {
            let text = String::from_utf8_lossy(value).into_owned();
            (OTHERS, key.as_str(), Value::String(text))
        });
        let map = data.entry(member).or_insert_with(|| json!({}));
        map[path] = record;
    }
    Value::Object(data)
}

fn sorted<'a>(key: &'a str, value: &[u8]) -> Option<(&'static str, &'a str, Value)> {
    let below = |kind: Kind| Some((kind, key.strip_prefix(kind.root())?.strip_prefix('/')?));
    let (kind, path) = KINDS.into_iter().find_map(below)?;
    let record = kind.record(key, serde_json::from_slice(value).ok()?)?;
    Some((kind.member(), path, record))
}

/// The entries in the JSON form of `pod`; records that make no sense are left out.
pub(super) fn decode(pod: &str, data: Value) -> Entries {
    let mut entries = Entries::new();
    let Value::Object(mut data) = data else {
        warn!(pod, "skipped the registrations of a pod that are no object");
        return entries;
    };
    for kind in KINDS {
        for (path, record) in map(data.shift_remove(kind.member())) {
            let Some(value) = kind.value(record) else {
                debug!(pod, path, kind = kind.tag(), "skipped a record");
                continue;
            };
            let key = format!("{}/{path}", kind.root());
            entries.insert(key, Bytes::from(value.to_string()));
        }
    }
    for (key, value) in map(data.shift_remove(OTHERS)) {
        if let Value::String(text) = value {
            entries.insert(key, Bytes::from(text));
        }
    }
    entries
}

fn map(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries<const N: usize>(pairs: [(&str, &str); N]) -> Entries {
        let pairs = pairs.map(|(key, value)| (key.to_owned(), Bytes::from(value.to_owned())));
        pairs.into()
    }

    #[test]
    fn records_have_the_form_of_dynamo() {
        let stored = entries([
            (
                "v1/instances/dynamo/backend/generate/1f",
                r#"{"component":"backend","endpoint":"generate","namespace":"dynamo","instance_id":31,"transport":{"tandem_tcp":"10.0.0.1:4000"}}"#,
            ),
            (
                "v1/mdc/dynamo/backend/generate/1f",
                r#"{"display_name":"m"}"#,
            ),
            (
                "v1/event_channels/namespace/dynamo/component/backend/topic/kv-events/7",
                r#"{"type":"EventChannel","scope":null,"topic":"kv-events","instance_id":7,"transport":{"kind":"Zmq","config":{"endpoint":"tcp://10.0.0.1:4001"}}}"#,
            ),
            ("v1/kv_routers/dynamo/backend/3b1c", r#"{"a": 1.0}"#),
        ]);
        let data = json!({
            "endpoints": {"dynamo/backend/generate/1f": {
                "type": "Endpoint", "component": "backend", "endpoint": "generate",
                "namespace": "dynamo", "instance_id": 31,
                "transport": {"tandem_tcp": "10.0.0.1:4000"},
            }},
            "model_cards": {"dynamo/backend/generate/1f": {
                "type": "Model", "namespace": "dynamo", "component": "backend",
                "endpoint": "generate", "instance_id": 31, "card_json": {"display_name": "m"},
            }},
            "event_channels": {"namespace/dynamo/component/backend/topic/kv-events/7": {
                "type": "EventChannel", "scope": null, "topic": "kv-events", "instance_id": 7,
                "transport": {"kind": "Zmq", "config": {"endpoint": "tcp://10.0.0.1:4001"}},
            }},
            "tandem": {"v1/kv_routers/dynamo/backend/3b1c": "{\"a\": 1.0}"},
        });
        assert_eq!(encode(&stored), data);
        assert_eq!(decode("p", data), stored);
        let nothing = json!({"endpoints": {}, "model_cards": {}, "event_channels": {}});
        assert_eq!(encode(&Entries::new()), nothing);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let sound = r#"{"type":"Endpoint","component":"c"}"#;
        for data in [
            json!(null),
            json!([]),
            json!({}),
            json!({"endpoints": [], "model_cards": 1, "event_channels": "x", "tandem": []}),
            json!({"endpoints": {"a/b/c/1": {"type": "Model"}, "a/b/c/2": 7, "a/b/c/3": {}}}),
            json!({"model_cards": {"a/b/c/1": {"type": "Model"}}, "tandem": {"k": {}}}),
        ] {
            assert_eq!(decode("p", data.clone()), Entries::new(), "{data}");
        }
        let sound: Value = serde_json::from_str(sound).unwrap();
        let mixed = json!({"endpoints": {"a/b/c/1": sound, "a/b/c/2": null}});
        let left = entries([("v1/instances/a/b/c/1", r#"{"component":"c"}"#)]);
        assert_eq!(decode("p", mixed), left);
    }

    #[test]
    fn a_value_must_be_text() {
        assert_eq!(check("k", b"{}"), Ok(()));
        let error = check("k", b"\xff").unwrap_err().to_string();
        assert!(error.contains("k cannot be stored"), "{error}");
    }

    fn key() -> impl Strategy<Value = String> {
        let root = prop::sample::select(vec![
            "v1/instances/",
            "v1/mdc/",
            "v1/event_channels/",
            "v1/kv_routers/",
            "",
        ]);
        (root, "[a-z]{1,3}(/[a-f0-9]{1,3}){0,4}").prop_map(|(root, path)| format!("{root}{path}"))
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-z]{0,5}".prop_map(|text| json!({ "topic": text, "instance_id": 7 }).to_string()),
            "[a-z]{0,5}".prop_map(|text| json!({ "type": text }).to_string()),
            Just(r#"{"type":"EventChannel"}"#.to_owned()),
            Just("null".to_owned()),
            Just("[1.5]".to_owned()),
        ]
    }

    proptest! {
        /// JSON comes back as JSON, which need not be the same to the byte, and all else as it was.
        #[test]
        fn what_is_stored_is_read_again(
            stored in prop::collection::btree_map(key(), value(), 0..8),
        ) {
            let stored: Entries = stored.into_iter().map(|(k, v)| (k, Bytes::from(v))).collect();
            let read = decode("p", encode(&stored));
            prop_assert_eq!(read.keys().collect::<Vec<_>>(), stored.keys().collect::<Vec<_>>());
            for (key, value) in &stored {
                let json = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).ok();
                if json(value).is_some() {
                    prop_assert_eq!(json(&read[key]), json(value), "{}", key);
                } else {
                    prop_assert_eq!(&read[key], value);
                }
            }
        }
    }
}
