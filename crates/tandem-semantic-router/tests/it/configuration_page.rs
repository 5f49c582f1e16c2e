//! `docs/configuration.md` and the schema name the same keys, with the same types and the same
//! reasons why some have no effect.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tandem_semantic_router::config::json_schema;

/// What is said of a key.
#[derive(Debug, Clone, PartialEq)]
enum Entry {
    /// The type of its value.
    Used(String),
    /// Why it has no effect.
    Unused(String),
}

type Keys = BTreeMap<String, Entry>;

#[test]
fn the_page_says_what_the_schema_says() {
    let schema = schema_keys();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = page_keys(&std::fs::read_to_string(page).unwrap());
    assert!(schema.len() > 500, "{} keys in the schema", schema.len());
    let mut problems = Vec::new();
    for (key, entry) in &schema {
        match page.get(key) {
            None => problems.push(format!("`{key}` is missing: {entry:?}")),
            Some(said) if said != entry => {
                problems.push(format!("`{key}` is {entry:?}, not {said:?}"));
            }
            Some(_) => {}
        }
    }
    let extra = page.keys().filter(|key| !schema.contains_key(*key));
    problems.extend(extra.map(|key| format!("`{key}` is no key")));
    assert!(
        problems.is_empty(),
        "docs/configuration.md:\n{}",
        problems.join("\n")
    );
}

fn schema_keys() -> Keys {
    let schema = json_schema();
    let mut keys = Keys::new();
    for (path, name) in [("", "flat"), ("", "layered"), ("rule", "rule")] {
        read(path, &schema["$defs"][name], &mut keys);
    }
    keys
}

/// Adds the keys at and below `path`.
fn read(path: &str, schema: &Value, keys: &mut Keys) {
    if let Some(reason) = reason(schema) {
        keys.insert(path.to_owned(), Entry::Unused(reason));
        return;
    }
    let value = value(schema);
    let (items, values) = (&value["items"], &value["additionalProperties"]);
    if let Some(properties) = value["properties"].as_object() {
        for (key, schema) in properties {
            let dot = if path.is_empty() { "" } else { "." };
            read(&format!("{path}{dot}{key}"), schema, keys);
        }
    } else if self::value(items)["properties"].is_object() {
        read(&format!("{path}[]"), items, keys);
    } else if self::value(values)["properties"].is_object() {
        read(&format!("{path}.<name>"), values, keys);
    } else {
        for plugin in items["oneOf"].as_array().into_iter().flatten() {
            let name = plugin["properties"]["type"]["const"].as_str().unwrap();
            let name = format!("plugin {name}");
            match reason(plugin) {
                Some(reason) => {
                    keys.insert(name, Entry::Unused(reason));
                }
                None => read(&name, &plugin["properties"]["configuration"], keys),
            }
        }
        keys.insert(path.to_owned(), Entry::Used(kind(value)));
    }
}

/// Why what the schema describes has no effect.
fn reason(schema: &Value) -> Option<String> {
    let text = schema["description"].as_str()?;
    let (_, reason) = text.split_once("No effect: ")?;
    Some(reason.trim_end_matches('.').to_owned())
}

/// The schema without what it allows beside a proper value: nothing, and `${NAME}`.
fn value(schema: &Value) -> &Value {
    match schema["anyOf"].as_array() {
        Some(forms) => value(&forms[0]),
        None => schema,
    }
}

/// The type of a value as the page writes it.
fn kind(schema: &Value) -> String {
    let schema = value(schema);
    if let Some(words) = schema["enum"].as_array() {
        let mut shown: Vec<&str> = Vec::new();
        for word in words.iter().filter_map(Value::as_str) {
            // Each word is there in other cases, too.
            if !shown.iter().any(|other| other.eq_ignore_ascii_case(word)) {
                shown.push(word);
            }
        }
        let shown: Vec<String> = shown.iter().map(|word| format!("`{word}`")).collect();
        return shown.join(", ");
    }
    let range = |name: &str| match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(least), Some(most)) => format!("{name}, {least} to {most}"),
        (Some(least), None) => format!("{name}, from {least}"),
        _ => name.to_owned(),
    };
    match &schema["type"] {
        Value::String(name) => match name.as_str() {
            "boolean" => "bool".to_owned(),
            "array" if schema["items"]["oneOf"].is_array() => "list of plugins".to_owned(),
            "array" => format!("list of {}", kind(&schema["items"])),
            "object" => format!("map to {}", kind(&schema["additionalProperties"])),
            number => range(number),
        },
        // Texts may be written as numbers, and numbers of tokens as texts.
        Value::Array(forms) if forms.contains(&"boolean".into()) => "text".to_owned(),
        Value::Array(_) => "tokens".to_owned(),
        _ if schema["$ref"] == "#/$defs/rule" => "rule".to_owned(),
        _ => "any".to_owned(),
    }
}

/// The keys of the page's tables: each stands below the places that the line before its table
/// names.
fn page_keys(page: &str) -> Keys {
    let mut keys = Keys::new();
    let mut places = Vec::new();
    let mut unused = false;
    for line in page.lines() {
        if line.starts_with("Below `") {
            places = code(line);
        } else if line.starts_with("At the top:") {
            places = vec![String::new()];
        } else if let Some(row) = line.strip_prefix("| ") {
            let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
            match cells[0] {
                "key" => unused = false,
                "without effect" => unused = true,
                "---" => {}
                names => {
                    let entry = match unused {
                        true => Entry::Unused(cells[1].to_owned()),
                        false => Entry::Used(cells[1].to_owned()),
                    };
                    for name in code(names) {
                        add(&mut keys, &places, &name, &entry);
                    }
                }
            }
        }
    }
    keys
}

fn add(keys: &mut Keys, places: &[String], name: &str, entry: &Entry) {
    for place in places {
        let key = match place.as_str() {
            "" => name.to_owned(),
            // The plugins that do nothing stand in one table.
            "plugin" => format!("plugin {name}"),
            place => format!("{place}.{name}"),
        };
        let before = keys.insert(key.clone(), entry.clone());
        assert!(before.is_none(), "`{key}` is there twice");
    }
}

/// What stands between backticks.
fn code(line: &str) -> Vec<String> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}
