//! An answer that comes as one JSON object.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;
use tandem_protocol::openai::body::JsonObject;

use super::choice::{Place, edit};
use super::inspect::Inspector;
use super::refusal;
use crate::routing::Block;

/// What goes on in place of `body`.
pub(super) async fn scan(inspector: &mut Inspector, body: Bytes) -> Bytes {
    let answer = JsonObject::parse(&body).ok();
    let choices = answer
        .as_ref()
        .map(|answer| answer.get::<Vec<JsonObject>>("choices"));
    let (Some(mut answer), Some(Ok(choices))) = (answer, choices) else {
        return unreadable(inspector, body);
    };
    let mut choices = choices.unwrap_or_default();
    let mut texts: Vec<Arc<str>> = Vec::new();
    for choice in &mut choices {
        edit(choice, |_, text| {
            texts.push(text.into());
            None
        });
    }
    let Ok(signals) = inspector.look(texts).await else {
        return refusal::whole(answer, choices);
    };
    let mut changed = false;
    let mut broken = false;
    for choice in &mut choices {
        changed |= edit(choice, |place, text| {
            let redacted = inspector.redacted(&signals, text)?;
            let arguments = matches!(place, Place::Call(_) | Place::Function);
            broken |= arguments && is_json(text) && !is_json(&redacted);
            Some(redacted)
        });
    }
    if broken {
        let types = inspector.findings.redacted.clone();
        inspector.block(Block::Pii { types });
        return refusal::whole(answer, choices);
    }
    if !changed {
        return body;
    }
    answer.set("choices", &choices);
    answer.to_bytes().into()
}

/// What goes on in place of an answer that cannot be looked at.
pub(super) fn unreadable(inspector: &mut Inspector, body: Bytes) -> Bytes {
    match inspector.unreadable() {
        Ok(()) => body,
        Err(_) => refusal::unreadable(),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
