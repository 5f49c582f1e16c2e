//! Namespaces, components, endpoints and instances, and the discovery keys that name them.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

/// Root of the keys of served endpoints.
pub const INSTANCE_ROOT: &str = "v1/instances";
/// Root of the keys of model cards.
pub const MODEL_CARD_ROOT: &str = "v1/mdc";
/// Root of the keys of KV routers.
pub const KV_ROUTER_ROOT: &str = "v1/kv_routers";

/// An endpoint of a component in a namespace: `dynamo/backend/generate`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId {
    /// Deployment that the component belongs to.
    pub namespace: String,
    /// Kind of process, such as `backend` or `prefill`.
    pub component: String,
    /// Function of the process, such as `generate`.
    pub endpoint: String,
}

impl EndpointId {
    /// The endpoint `endpoint` of `component` in `namespace`.
    pub fn new(namespace: &str, component: &str, endpoint: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            component: component.to_owned(),
            endpoint: endpoint.to_owned(),
        }
    }

    /// Another endpoint of the same component.
    #[must_use]
    pub fn sibling(&self, endpoint: &str) -> Self {
        Self::new(&self.namespace, &self.component, endpoint)
    }

    /// Key of one instance; ends in the instance id in lower-case hexadecimal.
    pub fn instance_key(&self, instance_id: u64) -> String {
        format!("{INSTANCE_ROOT}/{self}/{instance_id:x}")
    }

    /// Key of the model card of one instance.
    pub fn model_card_key(&self, instance_id: u64) -> String {
        format!("{MODEL_CARD_ROOT}/{self}/{instance_id:x}")
    }

    /// Key of the model card of an adapter of one instance; `slug` is the card's.
    pub fn adapter_card_key(&self, instance_id: u64, slug: &str) -> String {
        format!("{}/{slug}", self.model_card_key(instance_id))
    }

    /// Key of the router `router_id` for this component.
    pub fn kv_router_key(&self, router_id: &str) -> String {
        format!(
            "{KV_ROUTER_ROOT}/{}/{}/{router_id}",
            self.namespace, self.component
        )
    }

    /// Subject on which the component publishes `event`.
    pub fn component_subject(&self, event: &str) -> String {
        format!(
            "namespace.{}.component.{}.{event}",
            self.namespace, self.component
        )
    }

    /// Reads a key below [`INSTANCE_ROOT`] or [`MODEL_CARD_ROOT`]; `None` if it is not one.
    pub fn from_key(key: &str) -> Option<(Self, u64)> {
        let rest = key
            .strip_prefix(INSTANCE_ROOT)
            .or_else(|| key.strip_prefix(MODEL_CARD_ROOT))?
            .strip_prefix('/')?;
        let mut parts = rest.split('/');
        let (namespace, component, endpoint) = (parts.next()?, parts.next()?, parts.next()?);
        let instance_id = u64::from_str_radix(parts.next()?, 16).ok()?;
        Some((Self::new(namespace, component, endpoint), instance_id))
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}/{}/{}",
            self.namespace, self.component, self.endpoint
        )
    }
}

/// One process that serves an endpoint, in the JSON form of Dynamo 0.6.1's instance records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Kind of process.
    pub component: String,
    /// Function of the process.
    pub endpoint: String,
    /// Deployment.
    pub namespace: String,
    /// Lease of the process; also its worker id.
    pub instance_id: u64,
    /// How to reach it.
    pub transport: Transport,
    /// Where it takes requests over TCP without a detour. Our own addition: other readers skip it,
    /// and we skip what we do not understand.
    #[serde(
        default,
        rename = "tandem_tcp",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "understood"
    )]
    pub direct: Option<TcpAddress>,
    /// Address, `ip:port`, at which the process serves the OpenAI API itself. Our own addition as
    /// well.
    #[serde(
        default,
        rename = "tandem_http",
        skip_serializing_if = "Option::is_none"
    )]
    pub http: Option<String>,
}

/// Where a process takes requests over TCP, and in which versions of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpAddress {
    /// `host:port`.
    pub address: String,
    /// Versions that it speaks.
    pub versions: Vec<u16>,
}

/// How to reach an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Inside this process.
    Memory(String),
    /// A NATS subject; answers come over a TCP connection back to the caller.
    NatsTcp(String),
    /// The TCP plane of our own processes and nothing else: the process does without NATS.
    TandemTcp(String),
}

impl Instance {
    /// The record as it is stored: pretty-printed, as Dynamo does.
    pub fn to_json(&self) -> Bytes {
        serde_json::to_vec_pretty(self)
            .expect("a struct of strings and numbers")
            .into()
    }

    /// The endpoint that this is an instance of.
    pub fn endpoint_id(&self) -> EndpointId {
        EndpointId::new(&self.namespace, &self.component, &self.endpoint)
    }
}

/// `None` for what a later version may have written: there is another way to the instance.
fn understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TcpAddress>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(TcpAddress::deserialize(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_the_wire_format() {
        let endpoint = EndpointId::new("dynamo", "backend", "generate");
        let key = endpoint.instance_key(7_587_899_044_545_572_869);
        assert_eq!(key, "v1/instances/dynamo/backend/generate/694da1fa85aa3005");
        assert_eq!(
            EndpointId::from_key(&key),
            Some((endpoint.clone(), 7_587_899_044_545_572_869))
        );
        let card = endpoint.model_card_key(31);
        assert_eq!(card, "v1/mdc/dynamo/backend/generate/1f");
        assert_eq!(EndpointId::from_key(&card), Some((endpoint.clone(), 31)));
        let adapter = endpoint.adapter_card_key(31, "my-lora");
        assert_eq!(adapter, "v1/mdc/dynamo/backend/generate/1f/my-lora");
        assert_eq!(EndpointId::from_key(&adapter), Some((endpoint, 31)));
    }

    #[test]
    fn keys_of_other_families_are_not_instances() {
        for key in [
            "v1/kv_routers/a/b/c",
            "v1/instances/a/b/c",
            "v1/instances/a/b/c/xyz",
            "",
        ] {
            assert_eq!(EndpointId::from_key(key), None, "{key}");
        }
    }

    #[test]
    fn a_captured_instance_record_decodes() {
        let json = r#"{
          "component": "backend", "endpoint": "generate", "namespace": "dynamo",
          "instance_id": 7587899044545572869,
          "transport": { "nats_tcp": "dynamo_backend.generate-694da1fa85aa3005" }
        }"#;
        let instance: Instance = serde_json::from_str(json).unwrap();
        assert_eq!(
            instance.endpoint_id(),
            EndpointId::new("dynamo", "backend", "generate")
        );
        assert_eq!(
            instance.transport,
            Transport::NatsTcp("dynamo_backend.generate-694da1fa85aa3005".to_owned())
        );
        assert_eq!((instance.direct, instance.http), (None, None));
    }

    #[test]
    fn an_address_that_is_not_understood_is_none() {
        let check = |tcp: &str, want: Option<TcpAddress>| {
            let json = format!(
                r#"{{"component":"c","endpoint":"e","namespace":"n","instance_id":1,
                "transport":{{"nats_tcp":"s"}},"tandem_tcp":{tcp}}}"#
            );
            let instance: Instance = serde_json::from_str(&json).unwrap();
            assert_eq!(instance.direct, want, "{tcp}");
        };
        let known = TcpAddress {
            address: "h:1".to_owned(),
            versions: vec![1, 2],
        };
        check(r#"{"address":"h:1","versions":[1,2]}"#, Some(known));
        check(r#"{"address":"h:1"}"#, None);
        check(r#""h:1""#, None);
        check("null", None);
    }

    #[test]
    fn an_instance_record_has_the_captured_form() {
        let captured = r#"{
  "component": "backend",
  "endpoint": "generate",
  "namespace": "dynamo",
  "instance_id": 7587899044545572869,
  "transport": {
    "nats_tcp": "dynamo_backend.generate-694da1fa85aa3005"
  }
}"#;
        let instance: Instance = serde_json::from_str(captured).unwrap();
        assert_eq!(instance.to_json(), captured);
    }
}
