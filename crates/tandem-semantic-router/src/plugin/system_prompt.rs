//! The decision's text for the model.

use serde_json::value::RawValue;
use serde_json::{json, value::to_raw_value};
use tandem_protocol::openai::body::JsonObject;

use crate::config::{PromptMode, SystemPrompt};

/// Puts the prompt into `messages`; whether it did. All other messages keep their text.
pub(crate) fn inject(body: &mut JsonObject, prompt: &SystemPrompt) -> bool {
    let Some(raw) = body.raw("messages") else {
        return false;
    };
    let Ok(mut messages) = serde_json::from_str::<Vec<Box<RawValue>>>(raw.get()) else {
        return false;
    };
    match messages.first().and_then(|first| edit(first, prompt)) {
        Some(edited) => messages[0] = edited,
        None => messages.insert(
            0,
            raw_value(&json!({"role": "system", "content": prompt.text})),
        ),
    }
    body.set("messages", &messages);
    true
}

/// The first message with the prompt in it, if it is a system message.
fn edit(first: &RawValue, prompt: &SystemPrompt) -> Option<Box<RawValue>> {
    let mut message: JsonObject = serde_json::from_str(first.get()).ok()?;
    let role: Option<String> = message.get("role").ok()?;
    if !matches!(role.as_deref(), Some("system" | "developer")) {
        return None;
    }
    let text = match prompt.mode {
        PromptMode::Replace => raw_value(&json!(prompt.text)),
        PromptMode::Insert => before(&message, &prompt.text)?,
    };
    message.set_raw("content", text);
    to_raw_value(&message).ok()
}

/// The message's content with `text` before it.
fn before(message: &JsonObject, text: &str) -> Option<Box<RawValue>> {
    if let Ok(content) = message.get::<String>("content") {
        let content = content.unwrap_or_default();
        return Some(raw_value(&json!(format!("{text}\n\n{content}"))));
    }
    let mut parts: Vec<Box<RawValue>> = message.get("content").ok()??;
    parts.insert(0, raw_value(&json!({"type": "text", "text": text})));
    to_raw_value(&parts).ok()
}

fn raw_value(value: &serde_json::Value) -> Box<RawValue> {
    to_raw_value(value).expect("a JSON value always serialises")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: PromptMode, before: &str, after: &str) {
        let mut body = JsonObject::parse(format!(r#"{{"messages":{before}}}"#).as_bytes()).unwrap();
        let prompt = SystemPrompt {
            text: "P".into(),
            mode,
        };
        assert!(inject(&mut body, &prompt));
        let got = String::from_utf8(body.to_bytes()).unwrap();
        assert_eq!(got, format!(r#"{{"messages":{after}}}"#));
    }

    #[test]
    fn replace_takes_the_place_of_a_leading_system_message() {
        let replace = PromptMode::Replace;
        check(
            replace,
            r#"[{"role":"user","content":"hi","n":1.0}]"#,
            r#"[{"role":"system","content":"P"},{"role":"user","content":"hi","n":1.0}]"#,
        );
        check(
            replace,
            r#"[{"role":"system","content":"old","name":"s"},{"role":"user","content":"hi"}]"#,
            r#"[{"role":"system","content":"P","name":"s"},{"role":"user","content":"hi"}]"#,
        );
        check(replace, "[]", r#"[{"role":"system","content":"P"}]"#);
    }

    #[test]
    fn insert_keeps_the_client_text() {
        let insert = PromptMode::Insert;
        check(
            insert,
            r#"[{"role":"system","content":"old"}]"#,
            r#"[{"role":"system","content":"P\n\nold"}]"#,
        );
        check(
            insert,
            r#"[{"content":[{"type":"text","text":"old"}],"role":"system"}]"#,
            r#"[{"content":[{"text":"P","type":"text"},{"type":"text","text":"old"}],"role":"system"}]"#
                .replace(r#"{"text":"P","type":"text"}"#, r#"{"type":"text","text":"P"}"#)
                .as_str(),
        );
    }
}
