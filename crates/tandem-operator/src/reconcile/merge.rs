//! Lays what people wrote over what the operator would write, the way that Kubernetes merges
//! pods: lists of named things are merged by name, everything else is replaced.

use serde_json::{Map, Value};

/// Lists whose items are told apart by one of their members.
const NAMED_LISTS: &[(&str, &str)] = &[
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("ports", "name"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// Members that are replaced as a whole: half of one and half of another probe is neither.
const WHOLE: &[&str] = &[
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "strategy",
];

/// Lays `over` over `base`.
pub(super) fn lay_over(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (name, value) in over {
        let named = NAMED_LISTS.iter().find(|(list, _)| list == name);
        match (base.get_mut(name), value, named) {
            (Some(Value::Array(items)), Value::Array(over), Some((_, key))) => {
                lay_list_over(items, over, key);
            }
            (Some(Value::Object(members)), Value::Object(over), _)
                if !WHOLE.contains(&name.as_str()) =>
            {
                lay_over(members, over);
            }
            _ => {
                base.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Items of `over` replace those of `items` with the same `key`, and come last: what refers to an
/// earlier item, as environment variables do, still finds it.
fn lay_list_over(items: &mut Vec<Value>, over: &[Value], key: &str) {
    let names = |value: &Value| value.get(key).cloned();
    items.retain(|item| {
        let name = names(item);
        name.is_none() || !over.iter().any(|other| names(other) == name)
    });
    items.extend(over.iter().cloned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(base: Value, over: Value, expected: &Value) {
        let (Value::Object(mut base), Value::Object(over)) = (base, over) else {
            panic!("objects are merged")
        };
        lay_over(&mut base, &over);
        assert_eq!(&Value::Object(base), expected);
    }

    #[test]
    fn named_items_are_replaced_and_others_kept() {
        check(
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}),
            json!({"env": [{"name": "A", "value": "3"}, {"name": "C", "value": "$(B)"}]}),
            &json!({"env": [
                {"name": "B", "value": "2"},
                {"name": "A", "value": "3"},
                {"name": "C", "value": "$(B)"},
            ]}),
        );
    }

    #[test]
    fn probes_and_unnamed_lists_are_replaced_as_a_whole() {
        check(
            json!({"livenessProbe": {"httpGet": {"port": 1}}, "args": ["a", "b"]}),
            json!({"livenessProbe": {"tcpSocket": {"port": 2}}, "args": ["c"]}),
            &json!({"livenessProbe": {"tcpSocket": {"port": 2}}, "args": ["c"]}),
        );
    }

    fn container() -> impl Strategy<Value = Map<String, Value>> {
        let item =
            ("[A-C]", 0..9_u8).prop_map(|(name, value)| json!({"name": name, "value": value}));
        let env = proptest::collection::vec(item, 0..4);
        ("[a-c]", env).prop_map(|(image, env)| {
            let members = [("image", json!(image)), ("env", json!(env))];
            members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_lies_on_top_is_all_there(mut base in container(), over in container()) {
            lay_over(&mut base, &over);
            prop_assert_eq!(&base["image"], &over["image"]);
            let items = base["env"].as_array().cloned().unwrap_or_default();
            let on_top = over["env"].as_array().cloned().unwrap_or_default();
            prop_assert!(items.ends_with(&on_top));
            let again = { let mut again = base.clone(); lay_over(&mut again, &over); again };
            prop_assert_eq!(again, base);
        }
    }
}
