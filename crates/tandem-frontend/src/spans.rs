//! The span of a request.

use http::HeaderMap;
use tandem_runtime::telemetry::{self, SPANS};
use tracing::{Span, info_span};

/// What the span of a request says.
pub(crate) struct Received<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) model: &'a str,
    pub(crate) prompt_tokens: u32,
    pub(crate) stream: bool,
}

/// The span of a request, a child of the caller's.
pub(crate) fn request(headers: &HeaderMap, received: &Received<'_>) -> Span {
    let span = info_span!(
        target: SPANS,
        parent: None,
        "frontend.request",
        otel.kind = "server",
        request.id = received.request_id,
        model.name = received.model,
        prompt.tokens = i64::from(received.prompt_tokens),
        stream = received.stream,
    );
    let caller = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    if let Some(caller) = caller {
        telemetry::continue_trace(&span, caller);
    }
    span
}
