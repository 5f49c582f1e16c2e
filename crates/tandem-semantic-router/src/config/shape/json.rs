//! The shapes as a JSON Schema (2020-12), for editors and pipelines.

use serde_json::{Map, Value, json};

use super::{Field, PluginKind, Shape, flat, layered, plugins};

/// The schema of a router configuration: either layout, or a chart's values with one of them
/// under `config`.
///
/// It is stricter than loading in one way: keys that nobody knows are refused, where loading only
/// warns of them unless they look like a typing mistake.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let flat = object(flat::FIELDS, &mut definitions);
    let layered = object(layered::FIELDS, &mut definitions);
    definitions.insert("flat".to_owned(), flat);
    definitions.insert("layered".to_owned(), layered);
    let layered_keys: Vec<Value> = ["version", "routing", "global", "providers"]
        .iter()
        .map(|key| json!({ "required": [key] }))
        .collect();
    definitions.insert(
        "router".to_owned(),
        json!({
            "if": { "anyOf": layered_keys },
            "then": { "$ref": "#/$defs/layered" },
            "else": { "$ref": "#/$defs/flat" },
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tandem router configuration",
        "type": "object",
        "if": { "required": ["config"], "properties": { "config": { "type": "object" } } },
        "then": { "properties": { "config": { "$ref": "#/$defs/router" } } },
        "else": { "$ref": "#/$defs/router" },
        "$defs": definitions,
    })
}

fn object(fields: &[Field], definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = nullable(shape(field.shape, definitions));
        let text = match (field.doc, field.unused) {
            (doc, None) => doc.to_owned(),
            ("", Some(reason)) => format!("No effect: {reason}."),
            (doc, Some(reason)) => format!("{doc}. No effect: {reason}."),
        };
        if let Some(schema) = schema.as_object_mut() {
            if !text.is_empty() {
                schema.insert("description".to_owned(), Value::String(text));
            }
            if field.unused.is_some() {
                schema.insert("deprecated".to_owned(), Value::Bool(true));
            }
        }
        properties.insert(field.key.to_owned(), schema);
    }
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.key)
        .collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// A key without a value counts as absent.
fn nullable(schema: Value) -> Value {
    if schema.as_object().is_some_and(Map::is_empty) {
        return schema;
    }
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn shape(shape: Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Any => json!({}),
        Shape::Text => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Bool => or_text(&json!({ "type": "boolean" })),
        Shape::Whole(least, most) => or_text(&whole(least, most)),
        Shape::Number(least, most) => or_text(&number(least, most)),
        Shape::Tokens => json!({ "type": ["integer", "string"], "minimum": 0 }),
        Shape::Time => json!({
            "type": ["number", "string"],
            "minimum": 0,
            "pattern": "^[0-9.]+ *(ms|s|m|h)?$",
        }),
        Shape::Choice(words) => {
            let mut all: Vec<String> = Vec::new();
            for word in words {
                for form in [(*word).to_owned(), word.to_lowercase(), word.to_uppercase()] {
                    if !all.contains(&form) {
                        all.push(form);
                    }
                }
            }
            json!({ "anyOf": [{ "enum": all }, substituted()] })
        }
        Shape::List(items) => {
            let items = self::shape(*items, definitions);
            json!({ "type": "array", "items": items })
        }
        Shape::Map(values) => {
            let values = nullable(self::shape(*values, definitions));
            json!({ "type": "object", "additionalProperties": values })
        }
        Shape::Object(fields) => object(fields, definitions),
        Shape::Named(name, inner) => {
            if !definitions.contains_key(name) {
                // The place is taken first, because the shape holds itself.
                definitions.insert(name.to_owned(), Value::Null);
                let inner = self::shape(*inner, definitions);
                definitions.insert(name.to_owned(), inner);
            }
            json!({ "$ref": format!("#/$defs/{name}") })
        }
        Shape::Plugin => {
            let kinds = plugins::KINDS.iter();
            let kinds: Vec<Value> = kinds.map(|kind| plugin(kind, definitions)).collect();
            json!({ "type": "object", "oneOf": kinds })
        }
    }
}

fn plugin(kind: &PluginKind, definitions: &mut Map<String, Value>) -> Value {
    let configuration = nullable(shape(kind.configuration, definitions));
    let mut schema = json!({
        "properties": { "type": { "const": kind.name }, "configuration": configuration },
        "required": ["type"],
        "additionalProperties": false,
    });
    match kind.unused {
        Some(reason) => schema["description"] = json!(format!("No effect: {reason}.")),
        None => schema["required"] = json!(["type", "configuration"]),
    }
    schema
}

/// A number from `least` to `most`; the ends of the type are no bounds.
fn whole(least: i64, most: i64) -> Value {
    let mut schema = json!({ "type": "integer" });
    if least > i64::MIN {
        schema["minimum"] = json!(least);
    }
    if most < i64::MAX {
        schema["maximum"] = json!(most);
    }
    schema
}

/// As [`whole`], with a fraction.
fn number(least: f64, most: f64) -> Value {
    let mut schema = json!({ "type": "number" });
    if least > f64::MIN {
        schema["minimum"] = json!(least);
    }
    if most < f64::MAX {
        schema["maximum"] = json!(most);
    }
    schema
}

/// A value that comes from the environment is a text in the file.
fn or_text(schema: &Value) -> Value {
    json!({ "anyOf": [schema, substituted()] })
}

fn substituted() -> Value {
    json!({ "type": "string", "pattern": "\\$\\{" })
}
