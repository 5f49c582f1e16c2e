//! What takes the place of an answer that is withheld.

use bytes::Bytes;
use serde_json::json;
use tandem_protocol::openai::body::JsonObject;

use super::choice::clear_logprobs;
use super::events::event;

const REASON: &str = "content_filter";
const TEXT: &str = "The answer was withheld by the content policy.";

/// Members that all chunks of an answer have in common.
const COMMON: [&str; 5] = ["id", "object", "created", "model", "system_fingerprint"];

/// A whole answer without what its choices say. Token counts and the rest stay.
pub(super) fn whole(mut answer: JsonObject, mut choices: Vec<JsonObject>) -> Bytes {
    for choice in &mut choices {
        if choice.raw("text").is_some() {
            choice.set("text", &TEXT);
        } else {
            let message = json!({"role": "assistant", "content": TEXT});
            choice.set("message", &message);
        }
        choice.set("finish_reason", &REASON);
        clear_logprobs(choice);
    }
    answer.set("choices", &choices);
    answer.to_bytes().into()
}

/// In place of an answer that cannot be read.
pub(super) fn unreadable() -> Bytes {
    let message = json!({"role": "assistant", "content": TEXT});
    let choice = json!({"index": 0, "message": message, "finish_reason": REASON});
    let answer = json!({"object": "chat.completion", "choices": [choice]});
    answer.to_string().into()
}

/// The end of a stream whose chunks are like `chunk` and of whose choices `open` have not ended.
pub(super) fn stream(chunk: Option<&JsonObject>, open: impl Iterator<Item = u64>) -> Bytes {
    let mut end = JsonObject::default();
    for name in COMMON {
        if let Some(value) = chunk.and_then(|chunk| chunk.raw(name)) {
            end.set_raw(name, value.to_owned());
        }
    }
    if chunk.is_none() {
        end.set("object", &"chat.completion.chunk");
    }
    let object: Option<String> = end.get("object").ok().flatten();
    let choice = |index: u64| match object.as_deref() {
        Some("text_completion") => json!({"index": index, "text": "", "finish_reason": REASON}),
        _ => json!({"index": index, "delta": {}, "finish_reason": REASON}),
    };
    let mut bytes = Vec::new();
    for index in open {
        end.set("choices", &[choice(index)]);
        bytes.extend_from_slice(&event(&end.to_bytes()));
    }
    bytes.extend_from_slice(&event(b"[DONE]"));
    bytes.into()
}
