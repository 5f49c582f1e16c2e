//! Whether an answer is whole, and what it is.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// What an answer that may be kept is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Text.
    Text,
    /// It asks for tools, so that only the same request may have it.
    Call,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    message: Option<Content>,
    #[serde(default)]
    delta: Option<Content>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    tool_calls: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    function_call: Option<IgnoredAny>,
}

impl Content {
    fn is_call(&self) -> bool {
        let calls = self.tool_calls.as_ref();
        calls.is_some_and(|calls| !calls.is_empty()) || self.function_call.is_some()
    }
}

/// Reads a whole body; `None` if it is broken off, an error, or withheld by a filter.
pub(super) fn read(body: &[u8], stream: bool) -> Option<Answer> {
    let mut progress = Progress::default();
    if !stream {
        progress.add(serde_json::from_slice(body).ok()?)?;
        return progress.finish();
    }
    let mut done = false;
    for line in body.split(|byte| *byte == b'\n') {
        let Some(data) = line.strip_prefix(b"data:") else {
            continue;
        };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            done = true;
        } else if !data.is_empty() {
            progress.add(serde_json::from_slice(data).ok()?)?;
        }
    }
    progress.finish().filter(|_| done)
}

#[derive(Default)]
struct Progress {
    /// Choices that have begun, each with whether it has ended.
    choices: Vec<(u64, bool)>,
    call: bool,
}

impl Progress {
    fn add(&mut self, body: Body) -> Option<()> {
        if body.error.is_some() {
            return None;
        }
        for choice in body.choices {
            let content = [&choice.message, &choice.delta];
            self.call |= content.into_iter().flatten().any(Content::is_call);
            let at = self
                .choices
                .iter()
                .position(|(index, _)| *index == choice.index);
            let at = at.unwrap_or_else(|| {
                self.choices.push((choice.index, false));
                self.choices.len() - 1
            });
            match choice.finish_reason.as_deref() {
                None => {}
                Some("content_filter" | "error" | "abort") => return None,
                Some(reason) => {
                    self.choices[at].1 = true;
                    self.call |= matches!(reason, "tool_calls" | "function_call");
                }
            }
        }
        Some(())
    }

    fn finish(self) -> Option<Answer> {
        let whole = !self.choices.is_empty() && self.choices.iter().all(|(_, ended)| *ended);
        let answer = if self.call {
            Answer::Call
        } else {
            Answer::Text
        };
        whole.then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_answers_are_read() {
        let check = |body: &str, want: Option<Answer>| {
            assert_eq!(read(body.as_bytes(), false), want, "{body}");
        };
        check(
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#,
            Some(Answer::Text),
        );
        check(
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"length"}],"usage":{}}"#,
            Some(Answer::Text),
        );
        check(
            r#"{"choices":[{"text":"a","finish_reason":"stop"}]}"#,
            Some(Answer::Text),
        );
        check(
            r#"{"choices":[{"message":{"tool_calls":[{"id":"1"}]},"finish_reason":"tool_calls"}]}"#,
            Some(Answer::Call),
        );
        check(
            r#"{"choices":[{"message":{"tool_calls":[{"id":"1"}]},"finish_reason":"stop"}]}"#,
            Some(Answer::Call),
        );
        check(
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":"content_filter"}]}"#,
            None,
        );
        check(
            r#"{"choices":[{"message":{"content":"a"},"finish_reason":null}]}"#,
            None,
        );
        check(
            r#"{"choices":[{"index":0,"finish_reason":"stop"},{"index":1}]}"#,
            None,
        );
        check(r#"{"choices":[]}"#, None);
        check(r#"{"error":{"message":"busy"}}"#, None);
        check(r#"{"choices":[{"finish_re"#, None);
        check("", None);
    }

    #[test]
    fn a_stream_is_whole_with_its_last_event() {
        let check = |body: &str, want: Option<Answer>| {
            assert_eq!(read(body.as_bytes(), true), want, "{body}");
        };
        let text = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
        let stop =
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        let usage = "data: {\"choices\":[],\"usage\":{\"total_tokens\":5}}\n\n";
        let call = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}\r\n\r\n";
        let error = "data: {\"error\":{\"message\":\"lost\"}}\n\n";
        let done = "data: [DONE]\n\n";
        check(&[text, stop, done].concat(), Some(Answer::Text));
        check(
            &[text, ": ping\n\n", stop, usage, done].concat(),
            Some(Answer::Text),
        );
        check(&[call, stop, done].concat(), Some(Answer::Call));
        check(&[text, stop].concat(), None);
        check(&[text, done].concat(), None);
        check(&[text, error, stop, done].concat(), None);
        check(done, None);
        check(&[text, "data: {broken\n\n", stop, done].concat(), None);
    }
}
