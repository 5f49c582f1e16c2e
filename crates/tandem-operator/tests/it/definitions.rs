//! The definitions of the custom resources, as files that a cluster takes.

use std::path::Path;

use serde_json::Value;
use tandem_operator::crd;

const FILES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/helm/dynamo-crds/templates"
);

#[test]
fn the_chart_has_the_definitions_of_these_types() {
    let mut names = Vec::new();
    for file in crd::definition_files() {
        let text = std::fs::read_to_string(Path::new(FILES).join(&file.name)).unwrap_or_default();
        assert!(
            text == file.text,
            "{} is not what `make crds` writes",
            file.name
        );
        names.push(file.name);
    }
    for entry in std::fs::read_dir(FILES).expect("the chart has templates") {
        let name = entry.expect("the directory can be read").file_name();
        let name = name.to_string_lossy();
        let ours = name.starts_with("nvidia.com_dynamographdeployment")
            || name.starts_with("nvidia.com_dynamocomponentdeployment");
        assert!(
            !ours || names.iter().any(|known| *known == name),
            "{name} has no type"
        );
    }
}

/// The API server takes "structural" schemas only: every part has a type, nothing is referred to,
/// and `additionalProperties` stands alone.
#[test]
fn schemas_are_structural() {
    for definition in crd::definitions() {
        let name = definition.metadata.name.clone().unwrap_or_default();
        for version in &definition.spec.versions {
            let schema = version.schema.as_ref().expect("every version has a schema");
            let schema = serde_json::to_value(&schema.open_api_v3_schema).unwrap();
            check(&name, &schema);
        }
    }
}

fn check(path: &str, schema: &Value) {
    let schema_of = schema
        .as_object()
        .unwrap_or_else(|| panic!("{path} is no object"));
    for forbidden in [
        "$ref",
        "definitions",
        "oneOf",
        "anyOf",
        "allOf",
        "not",
        "patternProperties",
    ] {
        assert!(!schema_of.contains_key(forbidden), "{path} has {forbidden}");
    }
    let any = schema["x-kubernetes-int-or-string"] == true
        || schema["x-kubernetes-preserve-unknown-fields"] == true;
    assert!(any || schema["type"].is_string(), "{path} has no type");
    let both =
        schema_of.contains_key("properties") && schema_of.contains_key("additionalProperties");
    assert!(!both, "{path} has properties and additionalProperties");
    if let Some(kind) = schema.get("default") {
        let fits = match schema["type"].as_str() {
            Some("string") => kind.is_string(),
            Some("boolean") => kind.is_boolean(),
            Some("integer" | "number") => kind.is_number(),
            Some("array") => kind.is_array(),
            _ => kind.is_object(),
        };
        assert!(fits, "{path} has a default of another type: {kind}");
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        check(&format!("{path}.{name}"), inner);
    }
    for inner in ["items", "additionalProperties"] {
        if schema_of.contains_key(inner) {
            check(&format!("{path}.{inner}"), &schema[inner]);
        }
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap_or_default();
        assert!(
            !schema["properties"][name].is_null(),
            "{path} requires {name}, which it lacks"
        );
    }
}
