//! Which trace a span belongs to, as processes tell each other.
//!
//! <https://www.w3.org/TR/trace-context-2/>

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes `span` a child of the caller's, which `traceparent` names. A span that is not exported, or
/// a text that names none, changes nothing.
pub fn continue_trace(span: &Span, traceparent: &str) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = parse(traceparent) {
        let parent = Context::new().with_remote_span_context(parent);
        // It fails for spans that nobody exports.
        let _exported = span.set_parent(parent);
    }
}

/// What a process that `span` calls should be told; `None` if the span is not exported.
pub fn traceparent(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| {
        let (trace, id) = (context.trace_id(), context.span_id());
        format!("00-{trace}-{id}-{:02x}", context.trace_flags())
    })
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.trim().split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_its_trace_its_span_and_whether_it_is_recorded() {
        let check = |text: &str, want: Option<(&str, &str, bool)>| {
            let got = parse(text).map(|parent| {
                let ids = (parent.trace_id().to_string(), parent.span_id().to_string());
                (ids.0, ids.1, parent.is_sampled())
            });
            let want = want.map(|(trace, span, on)| (trace.to_owned(), span.to_owned(), on));
            assert_eq!(got, want, "{text}");
        };
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        check(&format!("00-{trace}-{span}-01"), Some((trace, span, true)));
        check(&format!("00-{trace}-{span}-02"), Some((trace, span, false)));
        check(&format!("00-{trace}-0000000000000000-01"), None);
        check("", None);
    }
}
