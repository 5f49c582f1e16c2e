//! The tools of a request.

use serde::Deserialize;
use serde_json::value::RawValue;
use tandem_protocol::openai::body::JsonObject;

use crate::config::{ToolFilter, ToolMode};

/// A change of the tools of a request.
#[derive(Debug, Default)]
pub(crate) enum ToolEdit {
    /// They stay.
    #[default]
    Keep,
    /// These take their place; without any, the choice of a tool goes, too.
    Replace(Vec<Box<RawValue>>),
}

#[derive(Deserialize)]
struct Tool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    description: Option<String>,
}

/// The tools that a request defines; none if it defines none that can be read.
pub(crate) fn of(body: &JsonObject) -> Vec<Box<RawValue>> {
    body.get("tools").ok().flatten().unwrap_or_default()
}

/// Name and description of a tool.
pub(crate) fn text(tool: &RawValue) -> Option<String> {
    let Tool { function } = serde_json::from_str(tool.get()).ok()?;
    Some(match function.description {
        Some(description) => format!("{}: {description}", function.name),
        None => function.name,
    })
}

/// Whether the router may choose: the request asks for it, or says nothing.
pub(crate) fn choice_is_auto(body: &JsonObject) -> Option<bool> {
    match body.get::<String>("tool_choice") {
        Ok(Some(choice)) => Some(choice == "auto"),
        Ok(None) => None,
        Err(_) => Some(false),
    }
}

/// Changes the tools.
pub(crate) fn edit(body: &mut JsonObject, edit: &ToolEdit) {
    match edit {
        ToolEdit::Keep => {}
        ToolEdit::Replace(tools) if tools.is_empty() => remove(body),
        ToolEdit::Replace(tools) => body.set("tools", tools),
    }
}

/// A choice without tools is an error to most servers.
fn remove(body: &mut JsonObject) {
    for name in ["tools", "tool_choice", "parallel_tool_calls"] {
        body.remove(name);
    }
}

/// Takes out the tools that a decision does not allow.
pub(crate) fn filter(body: &mut JsonObject, filter: &ToolFilter) {
    match &filter.mode {
        ToolMode::All => {}
        ToolMode::None => remove(body),
        ToolMode::Filtered { allow, block } => {
            let all = of(body);
            let count = all.len();
            let kept: Vec<Box<RawValue>> = all
                .into_iter()
                .filter(|tool| {
                    let tool: Result<Tool, _> = serde_json::from_str(tool.get());
                    tool.is_ok_and(|Tool { function }| {
                        let allowed = allow.is_empty() || allow.contains(&function.name);
                        allowed && !block.contains(&function.name)
                    })
                })
                .collect();
            if kept.len() < count {
                edit(body, &ToolEdit::Replace(kept));
            }
        }
    }
    if filter.strip_history {
        strip_history(body);
    }
}

/// Takes out earlier calls and results. An assistant's message that holds calls only goes with
/// them.
fn strip_history(body: &mut JsonObject) {
    let Ok(Some(messages)) = body.get::<Vec<JsonObject>>("messages") else {
        return;
    };
    let kept: Vec<JsonObject> = messages
        .into_iter()
        .filter_map(|mut message| {
            let role: Option<String> = message.get("role").ok().flatten();
            if matches!(role.as_deref(), Some("tool" | "function")) {
                return None;
            }
            let called = message.remove("tool_calls") | message.remove("function_call");
            let silent = message
                .raw("content")
                .is_none_or(|content| matches!(content.get(), "null" | "\"\""));
            (!called || !silent).then_some(message)
        })
        .collect();
    body.set("messages", &kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: &str = r#"{"tools":[{"type":"function","function":{"name":"search","x":1.0}},{"type":"function","function":{"name":"delete"}}],"tool_choice":"auto"}"#;

    #[track_caller]
    fn check(mode: ToolMode, before: &str, after: &str) {
        let filter = ToolFilter {
            mode,
            strip_history: before.contains("messages"),
        };
        let mut body = JsonObject::parse(before.as_bytes()).unwrap();
        super::filter(&mut body, &filter);
        assert_eq!(String::from_utf8(body.to_bytes()).unwrap(), after);
    }

    fn filtered(allow: &[&str], block: &[&str]) -> ToolMode {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ToolMode::Filtered {
            allow: owned(allow),
            block: owned(block),
        }
    }

    #[test]
    fn tools_are_allowed_or_blocked_by_name() {
        let search = r#"{"tools":[{"type":"function","function":{"name":"search","x":1.0}}],"tool_choice":"auto"}"#;
        check(ToolMode::All, TOOLS, TOOLS);
        check(ToolMode::None, TOOLS, "{}");
        check(filtered(&["search"], &[]), TOOLS, search);
        check(filtered(&[], &["delete"]), TOOLS, search);
        check(filtered(&["search"], &["search"]), TOOLS, "{}");
        check(filtered(&[], &[]), TOOLS, TOOLS);
    }

    #[test]
    fn history_goes_with_its_calls() {
        check(
            ToolMode::All,
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","content":"r"},{"role":"assistant","content":"a","tool_calls":[]}]}"#,
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
        );
    }

    #[test]
    fn a_tool_is_its_name_and_description() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let check = |json: &str, want: Option<&str>| {
            assert_eq!(text(&raw(json)).as_deref(), want);
        };
        check(
            r#"{"function":{"name":"f","description":"does"}}"#,
            Some("f: does"),
        );
        check(r#"{"function":{"name":"f"}}"#, Some("f"));
        check(r#"{"type":"x"}"#, None);
    }
}
