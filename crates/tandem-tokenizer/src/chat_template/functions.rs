//! What `transformers` adds to Jinja2, and where minijinja is stricter than Jinja2.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};
use minijinja_contrib::pycompat::unknown_method_callback;
use tandem_protocol::openai::json::Json;

use crate::python_json::{Style, to_string};

/// Marks an error as the template's own words.
#[derive(Debug, thiserror::Error)]
#[error("raised by the chat template")]
pub(super) struct Raised;

/// An environment with the settings and functions that chat templates expect.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    // Only custom delimiters can conflict.
    environment.set_syntax(syntax.unwrap_or_default());
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_filter("tojson", tojson);
    environment.add_filter("fromjson", fromjson);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_function("raise_exception", raise_exception);
    environment
}

/// `strftime_now(format)`: the time of the request.
pub(super) fn strftime_now(now: jiff::Zoned) -> Value {
    Value::from_function(move |format: &str| {
        let text = jiff::fmt::strtime::format(format, &now);
        text.map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    })
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message).with_source(Raised))
}

/// `json.dumps` with its arguments; `sort_keys` is accepted for maps of any depth.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine passes arguments by value"
)]
fn tojson(value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let indent = match positional.first() {
        Some(indent) => Some(indent.clone()),
        None => named.get("indent")?,
    };
    let separators: Option<(String, String)> = match named.get::<Option<Value>>("separators")? {
        None => None,
        Some(pair) if pair.is_none() => None,
        Some(pair) => {
            let part = |index| pair.get_item_by_index(index).map(|part| part.to_string());
            Some((part(0)?, part(1)?))
        }
    };
    let style = Style {
        indent: indent.as_ref().and_then(Value::as_usize),
        separators,
        ensure_ascii: named.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    let sort_keys = named.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    named.assert_all_used()?;
    let text = if sort_keys {
        let sorted = serde_json::to_value(value).map(sort);
        sorted.ok().and_then(|value| to_string(&value, &style))
    } else {
        to_string(value, &style)
    };
    let text =
        text.ok_or_else(|| Error::new(ErrorKind::BadSerialization, "value has no JSON form"))?;
    Ok(Value::from_safe_string(text))
}

fn sort(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries
                .into_iter()
                .map(|(key, value)| (key, sort(value)))
                .collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(sort).collect(),
        other => other,
    }
}

fn fromjson(text: &str) -> Result<Value, Error> {
    let Json(value) = serde_json::from_str(text).map_err(|error| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("invalid JSON: {error}"),
        )
    })?;
    Ok(Value::from(Serde(value)))
}

/// Undefined and none have length 0: templates ask it of absent tools and content.
fn length(value: &Value) -> Result<usize, Error> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(0),
        kind => value.len().ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("{kind} has no length"))
        }),
    }
}
