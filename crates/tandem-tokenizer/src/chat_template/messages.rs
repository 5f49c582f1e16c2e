//! Messages and tools in the shape that templates expect.

use serde_json::{Value, json};
use tandem_protocol::openai::json::Json;

/// Adapts messages: content made of text parts only becomes a string, and the arguments of tool
/// calls, JSON text in OpenAI's API, become the object that templates print.
pub(super) fn shape(messages: &[Value]) -> Vec<Value> {
    let mut messages = messages.to_vec();
    for message in &mut messages {
        if let Some(content) = message.get_mut("content")
            && let Some(text) = joined_text(content)
        {
            *content = Value::String(text);
        }
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            let arguments = call.pointer_mut("/function/arguments");
            if let Some(arguments) = arguments
                && let Value::String(text) = arguments
                && let Ok(Json(object @ Value::Object(_))) = serde_json::from_str(text)
            {
                *arguments = object;
            }
        }
    }
    messages
}

/// Adapts tools: a function without parameters gets an empty object schema.
pub(super) fn shape_tools(tools: &[Value]) -> Vec<Value> {
    let mut tools = tools.to_vec();
    for tool in &mut tools {
        let Some(function) = tool.get_mut("function").and_then(Value::as_object_mut) else {
            continue;
        };
        let parameters = function.entry("parameters").or_insert(Value::Null);
        if parameters.is_null()
            || parameters
                .as_object()
                .is_some_and(serde_json::Map::is_empty)
        {
            *parameters = json!({"type": "object", "properties": {}});
        }
    }
    tools
}

fn joined_text(content: &Value) -> Option<String> {
    let parts = content.as_array()?;
    let text = |part: &Value| match part["type"].as_str() {
        Some("text") => part["text"].as_str().map(str::to_owned),
        _ => None,
    };
    let texts: Option<Vec<_>> = parts.iter().map(text).collect();
    texts
        .filter(|texts| !texts.is_empty())
        .map(|texts| texts.join("\n"))
}
