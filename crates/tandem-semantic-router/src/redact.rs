//! Taking personal data out of a request.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tandem_classifier::PiiSpan;
use tandem_protocol::openai::body::JsonObject;
use tandem_protocol::openai::json::Json;

use crate::config::PiiPolicy;
use crate::request::Endpoint;

/// What was found in each text of a request, and what of it must go.
pub(crate) struct Redaction<'a> {
    pub(crate) spans: &'a HashMap<Arc<str>, Vec<PiiSpan>>,
    pub(crate) policy: &'a PiiPolicy,
}

/// Replaces every denied span by its type in brackets; `None` if a text cannot be changed without
/// breaking it, in which case the request must be refused.
pub(crate) fn redact(
    body: &mut JsonObject,
    endpoint: Endpoint,
    redaction: &Redaction<'_>,
) -> Option<()> {
    match endpoint {
        Endpoint::Chat => {
            let mut messages: Vec<JsonObject> = body.get("messages").ok()??;
            for message in &mut messages {
                redaction.message(message)?;
            }
            body.set("messages", &messages);
        }
        Endpoint::Completion => {
            let Json(mut prompt) = body.get("prompt").ok()??;
            match &mut prompt {
                Value::String(text) => *text = redaction.text(text),
                Value::Array(texts) => {
                    for text in texts {
                        if let Value::String(text) = text {
                            *text = redaction.text(text);
                        }
                    }
                }
                _ => {}
            }
            body.set("prompt", &prompt);
        }
    }
    Some(())
}

impl Redaction<'_> {
    fn message(&self, message: &mut JsonObject) -> Option<()> {
        if let Ok(Some(text)) = message.get::<String>("content") {
            message.set("content", &self.text(&text));
        } else if let Ok(Some(mut parts)) = message.get::<Vec<JsonObject>>("content") {
            self.parts(&mut parts);
            message.set("content", &parts);
        }
        let calls: Option<Vec<JsonObject>> = message.get("tool_calls").ok().flatten();
        if let Some(mut calls) = calls {
            for call in &mut calls {
                self.call(call)?;
            }
            message.set("tool_calls", &calls);
        }
        Some(())
    }

    /// The parts were looked at as one text, joined by spaces.
    fn parts(&self, parts: &mut [JsonObject]) {
        let is_text = |part: &JsonObject| {
            let kind: Option<String> = part.get("type").ok().flatten();
            matches!(kind.as_deref(), Some("text" | "input_text"))
        };
        let mut texts: Vec<(usize, String)> = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            if is_text(part)
                && let Ok(Some(text)) = part.get::<String>("text")
            {
                texts.push((at, text));
            }
        }
        let whole: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
        let Some(spans) = self.spans.get(whole.join(" ").as_str()) else {
            return;
        };
        let mut start = 0;
        for (at, text) in &texts {
            let local = spans.iter().filter_map(|span| {
                let from = span.start.saturating_sub(start);
                let to = span.end.checked_sub(start)?.min(text.len());
                (from < to).then(|| PiiSpan {
                    start: from,
                    end: to,
                    ..span.clone()
                })
            });
            let local: Vec<PiiSpan> = local.collect();
            parts[*at].set("text", &self.replace(text, &local));
            start += text.len() + 1;
        }
    }

    fn call(&self, call: &mut JsonObject) -> Option<()> {
        let Ok(Some(mut function)) = call.get::<JsonObject>("function") else {
            return Some(());
        };
        let Ok(Some(arguments)) = function.get::<String>("arguments") else {
            return Some(());
        };
        let redacted = self.text(&arguments);
        if redacted == arguments {
            return Some(());
        }
        let is_json = |text: &str| serde_json::from_str::<Box<RawValue>>(text).is_ok();
        if is_json(&arguments) && !is_json(&redacted) {
            return None;
        }
        function.set_raw("arguments", to_raw_value(&json!(redacted)).ok()?);
        call.set("function", &function);
        Some(())
    }

    pub(crate) fn text(&self, text: &str) -> String {
        match self.spans.get(text) {
            Some(spans) => self.replace(text, spans),
            None => text.to_owned(),
        }
    }

    fn replace(&self, text: &str, spans: &[PiiSpan]) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for span in spans {
            if self.policy.denies(&span.kind, span.score) && span.start >= done {
                out.push_str(&text[done..span.start]);
                out.push('[');
                out.push_str(&span.kind);
                out.push(']');
                done = span.end;
            }
        }
        out.push_str(&text[done..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use tandem_classifier::PiiSource;

    use super::*;

    /// Everything like `ddd-dd-dddd` is a social security number, `Ada` is a person.
    fn spans(texts: &[&str]) -> HashMap<Arc<str>, Vec<PiiSpan>> {
        let number = regex::Regex::new(r"\d{3}-\d\d-\d{4}|Ada").unwrap();
        let find = |text: &str| {
            let found = number.find_iter(text).map(|found| PiiSpan {
                kind: if found.as_str() == "Ada" {
                    "PERSON"
                } else {
                    "US_SSN"
                }
                .into(),
                start: found.start(),
                end: found.end(),
                score: 1.0,
                source: PiiSource::Recognizer,
            });
            found.collect()
        };
        texts
            .iter()
            .map(|text| (Arc::from(*text), find(text)))
            .collect()
    }

    #[track_caller]
    fn check(endpoint: Endpoint, texts: &[&str], before: &str, after: Option<&str>) {
        let mut body = JsonObject::parse(before.as_bytes()).unwrap();
        let (spans, policy) = (spans(texts), PiiPolicy::default());
        let redaction = Redaction {
            spans: &spans,
            policy: &policy,
        };
        let done = redact(&mut body, endpoint, &redaction);
        let got = done.map(|()| String::from_utf8(body.to_bytes()).unwrap());
        assert_eq!(got.as_deref(), after);
    }

    #[test]
    fn every_text_loses_what_is_denied_and_keeps_the_rest() {
        check(
            Endpoint::Chat,
            &[
                "Ada is 123-45-6789.",
                "no, 123-45-6780",
                r#"{"ssn":"123-45-6781","n":1.0}"#,
            ],
            r#"{"t":0.70,"messages":[{"role":"user","content":"Ada is 123-45-6789.","x":1.0},{"role":"tool","content":"no, 123-45-6780"},{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"ssn\":\"123-45-6781\",\"n\":1.0}"}}]}]}"#,
            Some(
                r#"{"t":0.70,"messages":[{"role":"user","content":"Ada is [US_SSN].","x":1.0},{"role":"tool","content":"no, [US_SSN]"},{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"ssn\":\"[US_SSN]\",\"n\":1.0}"}}]}]}"#,
            ),
        );
    }

    #[test]
    fn parts_are_one_text() {
        check(
            Endpoint::Chat,
            &["number 123-45-6789 and 123-45-6780"],
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"number 123-45-6789"},{"type":"image_url"},{"type":"text","text":"and 123-45-6780"}]}]}"#,
            Some(
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"number [US_SSN]"},{"type":"image_url"},{"type":"text","text":"and [US_SSN]"}]}]}"#,
            ),
        );
    }

    #[test]
    fn arguments_that_would_break_are_refused() {
        check(
            Endpoint::Chat,
            &["{\"ssn\":123-45-6789}"],
            r#"{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"ssn\":123-45-6789}"}}]}]}"#,
            Some(
                r#"{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"ssn\":[US_SSN]}"}}]}]}"#,
            ),
        );
        let number = r#"{"a":1,"ssn":"Ada"}"#;
        let mut body = JsonObject::parse(
            br#"{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"a\":1,\"ssn\":\"Ada\"}"}}]}]}"#,
        )
        .unwrap();
        // A span that takes a quotation mark with it.
        let span = PiiSpan {
            kind: "US_SSN".into(),
            start: number.len() - 2,
            end: number.len() - 1,
            score: 1.0,
            source: PiiSource::Model,
        };
        let spans = HashMap::from([(Arc::from(number), vec![span])]);
        let policy = PiiPolicy::default();
        let redaction = Redaction {
            spans: &spans,
            policy: &policy,
        };
        assert!(redact(&mut body, Endpoint::Chat, &redaction).is_none());
    }

    #[test]
    fn completions_are_redacted_too() {
        check(
            Endpoint::Completion,
            &["123-45-6789"],
            r#"{"prompt":["123-45-6789","x"]}"#,
            Some(r#"{"prompt":["[US_SSN]","x"]}"#),
        );
        check(
            Endpoint::Completion,
            &["123-45-6789"],
            r#"{"prompt":"123-45-6789"}"#,
            Some(r#"{"prompt":"[US_SSN]"}"#),
        );
        let odd = r#"{"prompt":[{"$serde_json::private::RawValue":"1"}]}"#;
        check(Endpoint::Completion, &[], odd, Some(odd));
    }
}
