//! Which services of a graph deployment are the workers of a role.

use serde_json::{Map, Value};

use super::{PerRole, Role, Standing};

/// Names of services that play a role although they do not say so, in lower case.
const USUAL_NAMES: PerRole<&[&str]> = PerRole {
    prefill: &[
        "vllmprefillworker",
        "trtllmprefillworker",
        "prefillworker",
        "prefill",
    ],
    decode: &[
        "vllmdecodeworker",
        "trtllmdecodeworker",
        "decodeworker",
        "decode",
        "worker",
    ],
};

/// What a graph deployment says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Graph<'a>(pub(super) &'a Value);

impl<'a> Graph<'a> {
    /// The one service that plays a role.
    pub(super) fn service(self, role: Role) -> Result<&'a str, String> {
        let services = self.services();
        let says = |spec: &Value| spec["subComponentType"].as_str() == Some(role.name());
        let named = |name: &str| {
            let name = name.to_lowercase();
            USUAL_NAMES.get(role).contains(&name.as_str())
        };
        let mut found: Vec<_> = services.filter(|(_, spec)| says(spec)).collect();
        if found.is_empty() {
            found = self.services().filter(|(name, _)| named(name)).collect();
        }
        match found[..] {
            [(name, _)] => Ok(name),
            [] => Err(format!("no service has the subComponentType {role}")),
            _ => {
                let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
                Err(format!("there are several, {}", names.join(" and ")))
            }
        }
    }

    /// How things stand with the roles' services.
    pub(super) fn standing(self, services: PerRole<Option<&str>>) -> Standing {
        let replicas = |role: Role| {
            let service = (*services.get(role))?;
            let asked = &self.0["spec"]["services"][service]["replicas"];
            // One is Kubernetes' default.
            asked
                .as_u64()
                .map_or(Some(1), |asked| u32::try_from(asked).ok())
        };
        Standing {
            replicas: PerRole::of(replicas),
            settled: self.is_ready(),
        }
    }

    fn is_ready(self) -> bool {
        let conditions = self.0["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }

    fn services(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let services = self.0["spec"]["services"].as_object();
        let services = services.into_iter().flat_map(Map::iter);
        services.map(|(name, spec)| (name.as_str(), spec))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_is_what_a_service_says_or_else_its_name() {
        let check = |services: Value, want: Result<&str, &str>| {
            let graph = json!({"spec": {"services": services}});
            let found = Graph(&graph).service(Role::Decode);
            match want {
                Ok(name) => assert_eq!(found, Ok(name)),
                Err(reason) => assert!(found.unwrap_err().contains(reason)),
            }
        };
        let decode = json!({"subComponentType": "decode"});
        check(json!({"A": decode, "VllmDecodeWorker": {}}), Ok("A"));
        check(
            json!({"Frontend": {}, "VllmDecodeWorker": {}}),
            Ok("VllmDecodeWorker"),
        );
        check(json!({"A": decode, "B": decode}), Err("several, A and B"));
        check(json!({"Frontend": {}}), Err("no service"));
        check(Value::Null, Err("no service"));
    }

    #[test]
    fn a_graph_is_settled_when_it_is_ready() {
        let graph = |status: &str| {
            json!({"spec": {"services": {"D": {"replicas": 3}, "P": {}}},
                   "status": {"conditions": [{"type": "Ready", "status": status}]}})
        };
        let services = PerRole {
            prefill: Some("P"),
            decode: Some("D"),
        };
        let standing = Graph(&graph("True")).standing(services);
        assert_eq!(
            standing.replicas,
            PerRole {
                prefill: Some(1),
                decode: Some(3)
            }
        );
        assert!(standing.settled);
        assert!(!Graph(&graph("False")).standing(services).settled);
    }
}
