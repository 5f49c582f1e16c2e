//! Members that say what form an answer has: OpenAI's, and those of vLLM and Dynamo.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{InvalidParameter, json};

/// What form an answer is to have, in the words of the client.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Guided {
    /// OpenAI's member.
    pub response_format: Option<ResponseFormat>,
    /// vLLM's member.
    pub structured_outputs: Option<StructuredOutputs>,
    /// A JSON Schema, as an object or as text.
    #[serde(deserialize_with = "json::optional_value")]
    pub guided_json: Option<Value>,
    /// A regular expression that the whole answer matches.
    pub guided_regex: Option<String>,
    /// Texts of which the answer is one.
    pub guided_choice: Option<Vec<String>>,
    /// A context-free grammar.
    pub guided_grammar: Option<String>,
    /// What is allowed between the members of JSON, for engines that know it.
    pub guided_whitespace_pattern: Option<String>,
    /// Which library is to guide, for engines that have several.
    pub guided_decoding_backend: Option<String>,
}

/// OpenAI's `response_format`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResponseFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    pub kind: String,
    /// With `json_schema`.
    pub json_schema: Option<NamedSchema>,
}

/// A schema with its name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NamedSchema {
    /// The schema itself; without one, any JSON will do.
    #[serde(deserialize_with = "json::optional_value")]
    pub schema: Option<Value>,
}

/// vLLM's `structured_outputs`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct StructuredOutputs {
    /// See [`Guided::guided_json`].
    #[serde(deserialize_with = "json::optional_value")]
    pub json: Option<Value>,
    /// See [`Guided::guided_regex`].
    pub regex: Option<String>,
    /// See [`Guided::guided_choice`].
    pub choice: Option<Vec<String>>,
    /// See [`Guided::guided_grammar`].
    pub grammar: Option<String>,
    /// Whether the answer is any JSON object.
    pub json_object: Option<bool>,
    /// See [`Guided::guided_whitespace_pattern`].
    pub whitespace_pattern: Option<String>,
}

impl Guided {
    /// The engine's form of these members, Dynamo's `guided_decoding`: one of `json`, `regex`,
    /// `choice` and `grammar`. `None` if the answer may be anything.
    ///
    /// # Errors
    /// Names the member that makes no sense, or that contradicts another.
    pub fn decoding(&self) -> Result<Option<Value>, InvalidParameter> {
        let mut found: Vec<(&str, &str, Value)> = Vec::new();
        if let Some(format) = &self.response_format
            && let Some(schema) = format.schema()?
        {
            found.push(("response_format", "json", schema));
        }
        let outputs = self.structured_outputs.clone().unwrap_or_default();
        let any_object = outputs.json_object == Some(true);
        let any_object = any_object.then(|| json!({"type": "object"}));
        for (json, name) in [
            (self.guided_json.as_ref(), "guided_json"),
            (outputs.json.as_ref(), "structured_outputs.json"),
            (any_object.as_ref(), "structured_outputs.json_object"),
        ] {
            if let Some(json) = json {
                found.push((name, "json", parsed(name, json)?));
            }
        }
        for (text, name, kind) in [
            (&self.guided_regex, "guided_regex", "regex"),
            (&outputs.regex, "structured_outputs.regex", "regex"),
            (&self.guided_grammar, "guided_grammar", "grammar"),
            (&outputs.grammar, "structured_outputs.grammar", "grammar"),
        ] {
            if let Some(text) = text {
                found.push((name, kind, text.as_str().into()));
            }
        }
        for (choice, name) in [
            (&self.guided_choice, "guided_choice"),
            (&outputs.choice, "structured_outputs.choice"),
        ] {
            let Some(choice) = choice else { continue };
            if choice.is_empty() {
                let message = format!("{name} must hold at least one text");
                return Err(InvalidParameter::new(name, message));
            }
            found.push((name, "choice", choice.as_slice().into()));
        }
        if let [(first, ..), (second, ..), ..] = &*found {
            let message = format!("{second} contradicts {first}: use one of them");
            return Err(InvalidParameter::new(*second, message));
        }
        let Some((_, kind, value)) = found.pop() else {
            return Ok(None);
        };
        let mut decoding = Map::from_iter([(kind.to_owned(), value)]);
        let pattern = self.guided_whitespace_pattern.as_ref();
        for (name, value) in [
            (
                "whitespace_pattern",
                pattern.or(outputs.whitespace_pattern.as_ref()),
            ),
            ("backend", self.guided_decoding_backend.as_ref()),
        ] {
            if let Some(value) = value {
                decoding.insert(name.to_owned(), value.as_str().into());
            }
        }
        Ok(Some(Value::Object(decoding)))
    }
}

impl ResponseFormat {
    fn schema(&self) -> Result<Option<Value>, InvalidParameter> {
        match self.kind.as_str() {
            "text" => Ok(None),
            "json_object" => Ok(Some(json!({"type": "object"}))),
            "json_schema" => {
                let Some(named) = &self.json_schema else {
                    return Err(InvalidParameter::new(
                        "response_format.json_schema",
                        "response_format of type json_schema needs the member json_schema",
                    ));
                };
                let any = || Value::Object(Map::new());
                Ok(Some(named.schema.clone().unwrap_or_else(any)))
            }
            other => Err(InvalidParameter::new(
                "response_format.type",
                format!(
                    "response_format of type `{other}` is not supported; use text, json_object or json_schema"
                ),
            )),
        }
    }
}

/// A schema that may be written as text.
fn parsed(name: &str, schema: &Value) -> Result<Value, InvalidParameter> {
    let Value::String(text) = schema else {
        return Ok(schema.clone());
    };
    let parsed: Result<json::Json, _> = serde_json::from_str(text);
    match parsed {
        Ok(json::Json(schema)) => Ok(schema),
        Err(error) => {
            let message = format!("{name} is not valid JSON: {error}");
            Err(InvalidParameter::new(name, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::error::from_json;

    fn decoding(body: &Value) -> Result<Option<Value>, InvalidParameter> {
        let guided: Guided = from_json(body.to_string().as_bytes())?;
        guided.decoding()
    }

    #[test]
    fn all_ways_to_say_it_mean_the_same() {
        let schema = json!({"type": "integer"});
        for body in [
            json!({"guided_json": schema}),
            json!({"guided_json": schema.to_string()}),
            json!({"structured_outputs": {"json": schema}}),
            json!({"response_format": {"type": "json_schema", "json_schema": {
                "name": "number", "strict": true, "schema": schema}}}),
        ] {
            let expect = json!({"json": {"type": "integer"}});
            assert_eq!(decoding(&body), Ok(Some(expect)), "{body}");
        }
        let object = json!({"json": {"type": "object"}});
        for body in [
            json!({"response_format": {"type": "json_object"}}),
            json!({"structured_outputs": {"json_object": true}}),
        ] {
            assert_eq!(decoding(&body), Ok(Some(object.clone())), "{body}");
        }
        let body = json!({"guided_choice": ["a", "b"], "guided_decoding_backend": "x"});
        let expect = json!({"choice": ["a", "b"], "backend": "x"});
        assert_eq!(decoding(&body), Ok(Some(expect)));
        for body in [
            json!({}),
            json!({"response_format": {"type": "text"}, "guided_json": null}),
            json!({"structured_outputs": {}, "guided_whitespace_pattern": " "}),
        ] {
            assert_eq!(decoding(&body), Ok(None), "{body}");
        }
    }

    #[test]
    fn nonsense_and_contradictions_are_named() {
        for (body, param) in [
            (json!({"guided_json": "{"}), "guided_json"),
            (json!({"guided_choice": []}), "guided_choice"),
            (json!({"guided_choice": [1]}), "guided_choice[0]"),
            (
                json!({"guided_json": {}, "guided_regex": "a"}),
                "guided_regex",
            ),
            (
                json!({"response_format": {"type": "json_object"}, "guided_choice": ["a"]}),
                "guided_choice",
            ),
            (
                json!({"response_format": {"type": "xml"}}),
                "response_format.type",
            ),
            (
                json!({"response_format": {"type": "json_schema"}}),
                "response_format.json_schema",
            ),
            (
                json!({"structured_outputs": {"regex": 1}}),
                "structured_outputs.regex",
            ),
        ] {
            let error = decoding(&body).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{body}: {error:?}");
        }
    }
}
