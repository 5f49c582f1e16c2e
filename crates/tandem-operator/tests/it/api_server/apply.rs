//! Server-side apply: what a manager said before and no longer says goes, unless another says it.

use serde_json::{Map, Value};

/// Lists whose items are merged by one of their members; others are replaced.
const KEYED: &[(&str, &str)] = &[
    ("ownerReferences", "uid"),
    ("conditions", "type"),
    ("containers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
];

/// A map that is replaced as a whole.
const ATOMIC: &str = "selector";

fn key_of(list: &str) -> Option<&'static str> {
    KEYED
        .iter()
        .find(|(name, _)| *name == list)
        .map(|(_, key)| *key)
}

/// Lays `config` over `live`.
pub(super) fn merge(live: &mut Value, config: &Value, list: &str) {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            for (name, value) in config {
                if name == ATOMIC {
                    live.insert(name.clone(), value.clone());
                    continue;
                }
                merge(live.entry(name.clone()).or_insert(Value::Null), value, name);
            }
        }
        (Value::Array(live), Value::Array(config)) if key_of(list).is_some() => {
            let key = key_of(list).unwrap_or_default();
            for item in config {
                match live.iter_mut().find(|other| other[key] == item[key]) {
                    Some(other) => merge(other, item, ""),
                    None => live.push(item.clone()),
                }
            }
        }
        (live, config) => *live = config.clone(),
    }
}

/// Removes from `live` what `before` has and neither `now` nor any of `others` has.
pub(super) fn remove(
    live: &mut Value,
    before: &Value,
    now: Option<&Value>,
    others: &[&Value],
    list: &str,
) {
    match (live, before) {
        (Value::Object(live), Value::Object(before)) => {
            for (name, value) in before {
                let now = now.and_then(|now| now.get(name));
                let others: Vec<&Value> =
                    others.iter().filter_map(|other| other.get(name)).collect();
                remove_member(live, name, value, now, &others);
            }
        }
        (Value::Array(live), Value::Array(before)) => {
            let Some(key) = key_of(list) else {
                return;
            };
            let same = |value: Option<&Value>, item: &Value| -> Option<Value> {
                let items = value?.as_array()?;
                items.iter().find(|other| other[key] == item[key]).cloned()
            };
            for item in before {
                let now = same(now, item);
                let others: Vec<Value> = others
                    .iter()
                    .filter_map(|other| same(Some(other), item))
                    .collect();
                if now.is_none() && others.is_empty() {
                    live.retain(|other| other[key] != item[key]);
                } else if let Some(live) = live.iter_mut().find(|other| other[key] == item[key]) {
                    let others: Vec<&Value> = others.iter().collect();
                    remove(live, item, now.as_ref(), &others, "");
                }
            }
        }
        _ => {}
    }
}

fn remove_member(
    live: &mut Map<String, Value>,
    name: &str,
    before: &Value,
    now: Option<&Value>,
    others: &[&Value],
) {
    if now.is_none() && others.is_empty() {
        live.remove(name);
    } else if let Some(live) = live.get_mut(name) {
        remove(live, before, now, others, name);
    }
}

/// A path at which `live` has another value than `config` wants.
pub(super) fn conflict(live: &Value, config: &Value, path: &str) -> Option<String> {
    match (live, config) {
        (_, Value::Object(config)) => config.iter().find_map(|(name, value)| {
            let ours = ["metadata", "apiVersion", "kind"].contains(&name.as_str());
            let live = live.get(name).filter(|_| !ours)?;
            conflict(live, value, &format!("{path}.{name}"))
        }),
        (live, config) if live != config => Some(path.to_owned()),
        _ => None,
    }
}

/// A merge patch, as RFC 7386 says.
pub(super) fn merge_patch(live: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *live = patch.clone();
        return;
    };
    if !live.is_object() {
        *live = Value::Object(Map::new());
    }
    let Some(live) = live.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            live.remove(name);
        } else {
            merge_patch(live.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
