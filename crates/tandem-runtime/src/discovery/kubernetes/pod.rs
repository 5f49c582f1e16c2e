//! Which pod this process runs in.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// Bits of an instance id: a JSON number keeps that many.
const ID_BITS: u32 = 53;

/// A pod, as the downward API tells it to its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its name (`metadata.name`).
    pub name: String,
    /// Its namespace in Kubernetes (`metadata.namespace`).
    pub namespace: String,
    /// Its id (`metadata.uid`), which tells it from an earlier pod of the same name.
    pub uid: String,
}

impl PodIdentity {
    /// The id of the instances in the pod: SipHash-1-3 of its name, as Dynamo 1.6.1 computes it.
    pub(super) fn instance_id(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.name.hash(&mut hasher);
        hasher.finish() & ((1 << ID_BITS) - 1)
    }

    /// What makes the cluster remove an object together with the pod.
    pub(super) fn as_owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            ..OwnerReference::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values come from an implementation of SipHash-1-3 other than Rust's.
    #[test]
    fn instance_ids_are_those_of_dynamo() {
        let check = |name: &str, id: u64| {
            let pod = PodIdentity {
                name: name.to_owned(),
                namespace: "default".to_owned(),
                uid: String::new(),
            };
            assert_eq!(pod.instance_id(), id, "{name}");
        };
        check(
            "vllm-disagg-vllmdecodeworker-6c9f7d5b8-x2x7k",
            644_664_038_304_527,
        );
        check("worker-0", 1_186_445_869_714_687);
        check("", 121_655_548_788_207);
    }
}
