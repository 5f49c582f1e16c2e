//! `docs/configuration.md` names the keys of the schema, with their types, the reasons why some have
//! no effect, and the defaults that reading applies.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::config::RouterConfig;
use crate::config::read::tree::Node;
use crate::config::read::{Report, read as read_config};

/// What is said of a key.
#[derive(Debug, Clone, PartialEq)]
enum Entry {
    /// The type of its value.
    Used(String),
    /// Why it has no effect.
    Unused(String),
}

type Keys = BTreeMap<String, Entry>;

/// A row of the page.
#[derive(Clone)]
struct Row {
    entry: Entry,
    /// Empty for keys without effect.
    default: String,
}

#[test]
fn the_page_says_what_the_schema_says() {
    let schema = schema_keys();
    let page = page_rows();
    assert!(schema.len() > 500, "{} keys in the schema", schema.len());
    let mut problems = Vec::new();
    for (key, entry) in &schema {
        match page.get(key) {
            None => problems.push(format!("`{key}` is missing: {entry:?}")),
            Some(row) if row.entry != *entry => {
                problems.push(format!("`{key}` is {entry:?}, not {:?}", row.entry));
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

/// A key that is set to its default means the same as one that is not set.
#[test]
fn the_page_says_what_is_read_without_a_key() {
    let page = page_rows();
    let mut problems = Vec::new();
    let mut telling = 0;
    for fields in [FLAT, LAYERED] {
        let root: Document = std::rc::Rc::new(str::to_owned);
        for place in places(fields, "", false, &root) {
            let key = page_key(&place);
            let Some(default) = page.get(&key).and_then(|row| literal(&row.default)) else {
                continue;
            };
            let meaning = |value: &str| meaning(&(place.document)(value));
            let unset = meaning("null");
            if unset != meaning(&default) {
                problems.push(format!("`{key}` is not {default} by default"));
            }
            let other = others(place.field.shape);
            telling += usize::from(other.iter().any(|value| unset != meaning(value)));
        }
    }
    assert!(
        problems.is_empty(),
        "docs/configuration.md:\n{}",
        problems.join("\n")
    );
    assert!(
        telling > 70,
        "only {telling} keys mean something by themselves"
    );
}

/// The key of the page that a place of a document is for.
fn page_key(place: &Place) -> String {
    let path = place.path.replace("[0]", "[]");
    if let Some((_, key)) = path.split_once(".configuration.") {
        let document = (place.document)("null");
        let (before, _) = document.rsplit_once(", configuration: ").unwrap();
        let (_, kind) = before.rsplit_once("{type: ").unwrap();
        return format!("plugin {kind}.{key}");
    }
    let path = path.replace("model_config.name.", "model_config.<name>.");
    path.replace("reasoning_families.name.", "reasoning_families.<name>.")
}

/// A default that can be written in a file; others are described.
fn literal(default: &str) -> Option<String> {
    let words = code(default);
    if default.parse::<f64>().is_ok() {
        return Some(default.to_owned());
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    if words.is_empty() || quoted.join(", ") != default {
        return None;
    }
    match &words[..] {
        [word] => Some(word.clone()),
        words => Some(format!("[{}]", words.join(", "))),
    }
}

/// What a document is read as, whatever is missing in it.
fn meaning(document: &str) -> RouterConfig {
    let none = |_: &str| None;
    let report = Report::new(&none);
    let config = read_config(&Node::parse(document).unwrap(), &report);
    config.unwrap().with_default_security()
}

/// Some values of a shape.
fn others(shape: Shape) -> Vec<String> {
    match shape {
        Shape::Bool => vec!["true".to_owned(), "false".to_owned()],
        Shape::Whole(..) => vec!["1".to_owned(), "2".to_owned()],
        Shape::Choice(words) => words.iter().map(|word| (*word).to_owned()).collect(),
        shape => vec![sample(shape)],
    }
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
        Value::Array(forms) if forms.contains(&"number".into()) => "time".to_owned(),
        Value::Array(_) => "tokens".to_owned(),
        _ if schema["$ref"] == "#/$defs/rule" => "rule".to_owned(),
        _ => "any".to_owned(),
    }
}

/// The rows of the page's tables: each stands below the places that the line before its table
/// names.
fn page_rows() -> BTreeMap<String, Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let mut rows = BTreeMap::new();
    let mut places = Vec::new();
    let mut unused = false;
    for line in std::fs::read_to_string(page).unwrap().lines() {
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
                    let row = if unused {
                        Row {
                            entry: Entry::Unused(cells[1].to_owned()),
                            default: String::new(),
                        }
                    } else {
                        Row {
                            entry: Entry::Used(cells[1].to_owned()),
                            default: cells[2].to_owned(),
                        }
                    };
                    for name in code(names) {
                        add(&mut rows, &places, &name, &row);
                    }
                }
            }
        }
    }
    rows
}

fn add(rows: &mut BTreeMap<String, Row>, places: &[String], name: &str, row: &Row) {
    for place in places {
        let key = match place.as_str() {
            "" => name.to_owned(),
            // The plugins that do nothing stand in one table.
            "plugin" => format!("plugin {name}"),
            place => format!("{place}.{name}"),
        };
        let before = rows.insert(key.clone(), row.clone());
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
