//! Answers that no model gave, in the shape that clients of a model expect.

use bytes::Bytes;
use serde_json::{Value, json};
use tandem_protocol::header;

use crate::header::FAST_RESPONSE;
use crate::request::Endpoint;
use crate::routing::{Block, ImmediateResponse};

/// Name in place of a model's when no decision matched.
const NO_DECISION: &str = "security-filter";

/// How the client wants its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) endpoint: Endpoint,
    pub(crate) stream: bool,
    /// Unix seconds.
    pub(crate) created: u64,
}

/// What matched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matched<'a> {
    pub(crate) decision: Option<&'a str>,
    pub(crate) category: Option<&'a str>,
}

struct Answer<'a> {
    id: &'a str,
    model: &'a str,
    text: String,
    finish_reason: &'a str,
}

/// The answer that refuses a request; `message` is the text of a fixed answer.
pub(crate) fn respond(
    block: Block,
    message: Option<&str>,
    matched: Matched<'_>,
    form: Form,
) -> ImmediateResponse {
    let mut headers = vec![("content-type", content_type(form).to_owned())];
    let answer = match &block {
        Block::Pii { types } => {
            headers.push((header::PII_VIOLATION, "true".to_owned()));
            headers.push((header::PII_TYPES, types.join(",")));
            push_matched(&mut headers, matched);
            pii_answer(types, matched.decision.unwrap_or(NO_DECISION))
        }
        Block::Jailbreak { label, confidence } => {
            headers.push((header::JAILBREAK_BLOCKED, "true".to_owned()));
            headers.push((header::JAILBREAK_TYPE, (*label).to_owned()));
            headers.push((header::JAILBREAK_CONFIDENCE, format!("{confidence:.3}")));
            jailbreak_answer(label, *confidence)
        }
        Block::FastResponse => {
            headers.push((FAST_RESPONSE, "true".to_owned()));
            push_matched(&mut headers, matched);
            Answer {
                id: "fast",
                model: "router",
                text: message.unwrap_or_default().to_owned(),
                finish_reason: "stop",
            }
        }
    };
    ImmediateResponse {
        headers,
        body: render(&answer, form),
        block,
    }
}

fn content_type(form: Form) -> &'static str {
    if form.stream {
        "text/event-stream"
    } else {
        "application/json"
    }
}

fn push_matched(headers: &mut Vec<(&'static str, String)>, matched: Matched<'_>) {
    let all = [
        (header::SELECTED_DECISION, matched.decision),
        (header::SELECTED_CATEGORY, matched.category),
    ];
    for (name, value) in all {
        headers.extend(value.map(|value| (name, value.to_owned())));
    }
}

fn pii_answer<'a>(types: &[String], decision: &'a str) -> Answer<'a> {
    let list = types.join(" ");
    Answer {
        id: "pii-violation",
        model: decision,
        text: format!(
            "I cannot process this request as it contains personally identifiable information \
             ([{list}]) that is not allowed for '{decision}'. Please take the sensitive data out \
             and try again."
        ),
        finish_reason: "content_filter",
    }
}

fn jailbreak_answer<'a>(label: &str, confidence: f32) -> Answer<'a> {
    Answer {
        id: "jailbreak-blocked",
        model: NO_DECISION,
        text: format!(
            "I cannot process this request as it appears to be a potential jailbreak attempt \
             (type: {label}, confidence: {confidence:.3}). Please rephrase it within the usage \
             policy."
        ),
        finish_reason: "content_filter",
    }
}

fn render(answer: &Answer<'_>, form: Form) -> Bytes {
    let (prefix, object) = match (form.endpoint, form.stream) {
        (Endpoint::Chat, false) => ("chatcmpl", "chat.completion"),
        (Endpoint::Chat, true) => ("chatcmpl", "chat.completion.chunk"),
        (Endpoint::Completion, _) => ("cmpl", "text_completion"),
    };
    let mut body = json!({
        "id": format!("{prefix}-{}-{}", answer.id, form.created),
        "object": object,
        "created": form.created,
        "model": answer.model,
        "choices": [choice(answer, form)],
    });
    if form.stream {
        return format!("data: {body}\n\ndata: [DONE]\n\n").into();
    }
    body["usage"] = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    body.to_string().into()
}

fn choice(answer: &Answer<'_>, form: Form) -> Value {
    let content = match (form.endpoint, form.stream) {
        (Endpoint::Chat, false) => "message",
        (Endpoint::Chat, true) => "delta",
        (Endpoint::Completion, _) => "text",
    };
    let mut choice = json!({ "index": 0 });
    choice[content] = match form.endpoint {
        Endpoint::Chat => json!({"role": "assistant", "content": answer.text}),
        Endpoint::Completion => json!(answer.text),
    };
    choice["finish_reason"] = json!(answer.finish_reason);
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(block: Block, endpoint: Endpoint, stream: bool) -> String {
        let form = Form {
            endpoint,
            stream,
            created: 1_700_000_000,
        };
        let matched = Matched {
            decision: Some("math_decision"),
            category: Some("math"),
        };
        let response = respond(block, None, matched, form);
        String::from_utf8(response.body.to_vec()).unwrap()
    }

    fn pii() -> Block {
        Block::Pii {
            types: vec!["B-US_SSN".into(), "B-CREDIT_CARD".into()],
        }
    }

    fn jailbreak() -> Block {
        Block::Jailbreak {
            label: "jailbreak",
            confidence: 0.98765,
        }
    }

    #[test]
    fn block_bodies_are_openai_shaped() {
        insta::assert_snapshot!("pii_json", body(pii(), Endpoint::Chat, false));
        insta::assert_snapshot!("pii_sse", body(pii(), Endpoint::Chat, true));
        insta::assert_snapshot!("jailbreak_json", body(jailbreak(), Endpoint::Chat, false));
        insta::assert_snapshot!("jailbreak_sse", body(jailbreak(), Endpoint::Chat, true));
        insta::assert_snapshot!("pii_completion", body(pii(), Endpoint::Completion, false));
    }
}
