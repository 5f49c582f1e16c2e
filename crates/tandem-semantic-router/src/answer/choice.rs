//! The texts of a choice, whole or a piece of a stream.

use serde_json::value::RawValue;
use tandem_protocol::openai::body::JsonObject;

/// Members of a message that hold text.
const MEMBERS: [&str; 4] = ["content", "reasoning_content", "reasoning", "refusal"];

/// Members of a tool call that hold text a model wrote, and of which object.
const CALLS: [(&str, &str); 2] = [("function", "arguments"), ("custom", "input")];

/// Which of a choice's texts one is. In a stream, those of the same place are one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Of a text completion.
    Text,
    /// A member of the message.
    Member(&'static str),
    /// A part of the message's content.
    Part(usize),
    /// What a tool is called with.
    Call(u64),
    /// What a function is called with, in the older form.
    Function,
}

/// Shows every text of `choice` and puts what comes back in its place. Log probabilities spell the
/// text out, so they go when it changes.
pub(super) fn edit(
    choice: &mut JsonObject,
    mut replace: impl FnMut(Place, &str) -> Option<String>,
) -> bool {
    let mut changed = text(choice, "text", Place::Text, &mut replace);
    for holder in ["delta", "message"] {
        if let Ok(Some(mut message)) = choice.get::<JsonObject>(holder)
            && edit_message(&mut message, &mut replace)
        {
            choice.set(holder, &message);
            changed = true;
        }
    }
    if changed {
        clear_logprobs(choice);
    }
    changed
}

/// Takes the log probabilities out of a choice, if it has some.
pub(super) fn clear_logprobs(choice: &mut JsonObject) {
    if choice.raw("logprobs").is_some() {
        choice.set("logprobs", &());
    }
}

/// Whether this is the last piece of the choice.
pub(super) fn is_finished(choice: &JsonObject) -> bool {
    let reason = choice.raw("finish_reason").map(RawValue::get);
    reason.is_some_and(|reason| reason != "null")
}

/// Which of an answer's choices one is.
pub(super) fn index(choice: &JsonObject) -> u64 {
    choice.get("index").ok().flatten().unwrap_or(0)
}

fn edit_message(
    message: &mut JsonObject,
    replace: &mut impl FnMut(Place, &str) -> Option<String>,
) -> bool {
    let mut changed = false;
    for name in MEMBERS {
        changed |= text(message, name, Place::Member(name), replace);
    }
    changed |= list(message, "content", |at, part| {
        text(part, "text", Place::Part(at), replace)
    });
    changed |= list(message, "tool_calls", |at, call| {
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let place = Place::Call(call.get("index").ok().flatten().unwrap_or(at));
        let mut changed = false;
        for (holder, name) in CALLS {
            changed |= member(call, holder, |call| text(call, name, place, replace));
        }
        changed
    });
    changed
        | member(message, "function_call", |call| {
            text(call, "arguments", Place::Function, replace)
        })
}

fn text(
    object: &mut JsonObject,
    name: &'static str,
    place: Place,
    replace: &mut impl FnMut(Place, &str) -> Option<String>,
) -> bool {
    let Ok(Some(text)) = object.get::<String>(name) else {
        return false;
    };
    match replace(place, &text) {
        Some(new) => {
            object.set(name, &new);
            true
        }
        None => false,
    }
}

fn member(
    object: &mut JsonObject,
    name: &'static str,
    edit: impl FnOnce(&mut JsonObject) -> bool,
) -> bool {
    let Ok(Some(mut inner)) = object.get::<JsonObject>(name) else {
        return false;
    };
    let changed = edit(&mut inner);
    if changed {
        object.set(name, &inner);
    }
    changed
}

fn list(
    object: &mut JsonObject,
    name: &'static str,
    mut edit: impl FnMut(usize, &mut JsonObject) -> bool,
) -> bool {
    let Ok(Some(mut items)) = object.get::<Vec<JsonObject>>(name) else {
        return false;
    };
    let mut changed = false;
    for (at, item) in items.iter_mut().enumerate() {
        changed |= edit(at, item);
    }
    if changed {
        object.set(name, &items);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(choice: &str) -> Vec<(Place, String)> {
        let mut choice = JsonObject::parse(choice.as_bytes()).unwrap();
        let mut texts = Vec::new();
        let changed = edit(&mut choice, |place, text| {
            texts.push((place, text.to_owned()));
            None
        });
        assert!(!changed);
        texts
    }

    #[test]
    fn every_text_of_a_choice_is_shown() {
        let check = |choice: &str, want: &[(Place, &str)]| {
            let want: Vec<_> = want
                .iter()
                .map(|(place, text)| (*place, (*text).to_owned()))
                .collect();
            assert_eq!(texts(choice), want, "{choice}");
        };
        check(r#"{"index":0,"text":"t"}"#, &[(Place::Text, "t")]);
        check(
            r#"{"delta":{"content":"c","reasoning_content":"r","refusal":null}}"#,
            &[
                (Place::Member("content"), "c"),
                (Place::Member("reasoning_content"), "r"),
            ],
        );
        check(
            r#"{"message":{"content":[{"type":"text","text":"a"},{"text":"b"}],"tool_calls":[
                {"function":{"name":"f","arguments":"{}"}},{"index":7,"custom":{"input":"i"}}],
                "function_call":{"arguments":"old"}}}"#,
            &[
                (Place::Part(0), "a"),
                (Place::Part(1), "b"),
                (Place::Call(0), "{}"),
                (Place::Call(7), "i"),
                (Place::Function, "old"),
            ],
        );
        check(r#"{"delta":{},"finish_reason":"stop"}"#, &[]);
        check(r#"{"delta":[],"message":7,"text":null}"#, &[]);
    }

    #[test]
    fn only_what_is_replaced_changes() {
        let before = r#"{"index":0,"x":1.0,"delta":{"role":"assistant","content":"a","tool_calls":[{"index":0,"function":{"arguments":"b","y":2.0}}]},"logprobs":{"content":[{"token":"b"}]}}"#;
        let mut choice = JsonObject::parse(before.as_bytes()).unwrap();
        assert!(edit(&mut choice, |_, text| (text == "b")
            .then(|| "new".to_owned())));
        let after = r#"{"index":0,"x":1.0,"delta":{"role":"assistant","content":"a","tool_calls":[{"index":0,"function":{"arguments":"new","y":2.0}}]},"logprobs":null}"#;
        assert_eq!(String::from_utf8(choice.to_bytes()).unwrap(), after);
    }

    #[test]
    fn a_reason_finishes_a_choice() {
        let check = |choice: &str, want: bool| {
            let choice = JsonObject::parse(choice.as_bytes()).unwrap();
            assert_eq!(is_finished(&choice), want);
        };
        check(r#"{"finish_reason":"stop"}"#, true);
        check(r#"{"finish_reason":null}"#, false);
        check("{}", false);
    }
}
