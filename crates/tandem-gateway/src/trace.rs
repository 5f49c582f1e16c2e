//! W3C trace context: the router is one span between its caller's and its upstream's.
//!
//! <https://www.w3.org/TR/trace-context-2/>

use std::fmt::Write;

use http::{HeaderMap, Method, StatusCode};
use tandem_runtime::telemetry::{self, SPANS};
use tracing::{Instrument, Span, field, info_span};
use uuid::Uuid;

/// Name of the header that carries trace id, parent span and flags.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The trace that a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// 32 hexadecimal digits.
    trace_id: String,
    /// 16 hexadecimal digits: this span, the parent of the upstream's.
    span_id: String,
    /// Bit 0 says that the trace is recorded.
    flags: u8,
}

impl TraceContext {
    /// The trace of `received`, a child of the caller's span, if it is exported. Else the caller's
    /// trace with a span that only the upstream and log lines name; `None` without a valid
    /// `traceparent`, since no trace begins here that nobody sees.
    pub(crate) fn of(received: &Span, headers: &HeaderMap) -> Option<Self> {
        let caller = caller(headers);
        if let Some(caller) = caller {
            telemetry::continue_trace(received, caller);
        }
        match telemetry::traceparent(received) {
            Some(own) => {
                let (trace_id, span_id, flags) = parse(&own)?;
                Some(Self {
                    trace_id: trace_id.to_owned(),
                    span_id: span_id.to_owned(),
                    flags,
                })
            }
            None => caller.and_then(Self::child_of),
        }
    }

    fn child_of(traceparent: &str) -> Option<Self> {
        let (trace_id, _, flags) = parse(traceparent)?;
        Some(Self {
            trace_id: trace_id.to_owned(),
            span_id: new_span_id(),
            flags,
        })
    }

    /// Value of the header for the upstream.
    pub(crate) fn header(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// The spans of a request.
#[derive(Debug, Clone)]
pub(crate) struct Spans {
    /// From the request to the end of its answer; exported.
    received: Span,
    /// Names the trace in log lines; none without a trace.
    lines: Span,
}

impl Spans {
    pub(crate) fn new(received: Span, trace: Option<&TraceContext>) -> Self {
        let lines = trace
            .map(|trace| info_span!("router", trace_id = trace.trace_id, span_id = trace.span_id));
        Self {
            received,
            lines: lines.unwrap_or_else(Span::none),
        }
    }

    /// Does what belongs to the request.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let work = work.instrument(self.lines.clone());
        work.instrument(self.received.clone()).await
    }

    /// Logs something about the request.
    pub(crate) fn log(&self, lines: impl FnOnce()) {
        self.lines.in_scope(lines);
    }

    /// The upstream is asked. The span ends when it is dropped.
    pub(crate) fn upstream(&self, model: &str) -> Span {
        info_span!(
            target: SPANS,
            parent: &self.received,
            "semantic_router.upstream.request",
            otel.kind = "client",
            model.name = model,
            http.status_code = field::Empty,
        )
    }
}

/// A request has come. The path is without its query.
pub(crate) fn received(method: &Method, path: &str, request_id: &str) -> Span {
    info_span!(
        target: SPANS,
        parent: None,
        "semantic_router.request.received",
        otel.kind = "server",
        request.id = request_id,
        http.method = method.as_str(),
        http.path = path.split('?').next().unwrap_or(path),
    )
}

/// The upstream answers the request of this span.
pub(crate) fn answered(upstream: &Span, status: StatusCode) {
    upstream.record("http.status_code", i64::from(status.as_u16()));
}

/// The only `traceparent` of a request.
fn caller(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?.trim();
    parse(value).filter(|_| values.next().is_none())?;
    Some(value)
}

/// Trace, parent and flags. A version that is not known yet is read as far as it is like version 00.
fn parse(value: &str) -> Option<(&str, &str, u8)> {
    let mut parts = value.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let more = parts.next().is_some();
    let hex = |text: &str, digits: usize| {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == digits && text.bytes().all(digit)
    };
    let named = |text: &str| text.bytes().any(|byte| byte != b'0');
    let valid = hex(version, 2)
        && version != "ff"
        && !(version == "00" && more)
        && hex(trace, 32)
        && named(trace)
        && hex(parent, 16)
        && named(parent)
        && hex(flags, 2);
    if !valid {
        return None;
    }
    // Only the flags that are defined are passed on: recorded, and random trace id.
    let flags = u8::from_str_radix(flags, 16).ok()? & 0b11;
    Some((trace, parent, flags))
}

/// The random bits of a version 4 UUID that are not part of its form.
fn new_span_id() -> String {
    let bytes = Uuid::new_v4().into_bytes();
    let mut id = String::with_capacity(16);
    for byte in bytes[..6].iter().chain(&bytes[14..]) {
        write!(id, "{byte:02x}").expect("writing to a String cannot fail");
    }
    id
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::HeaderName};

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn context(values: &[&str]) -> Option<TraceContext> {
        let mut headers = HeaderMap::new();
        for value in values {
            let name = HeaderName::from_static(TRACEPARENT);
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        TraceContext::of(&Span::none(), &headers)
    }

    #[test]
    fn a_child_keeps_the_trace_and_has_a_span_of_its_own() {
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        let (one, two) = (context(&[&parent]).unwrap(), context(&[&parent]).unwrap());
        assert_ne!(one.header(), two.header());
        for child in [one, two] {
            let header = child.header();
            assert_eq!(parse(&header), Some((TRACE, &*child.span_id, 1)));
            assert!(!header.contains("b7ad6b7169203331"), "{header}");
        }
    }

    #[test]
    fn only_valid_parents_have_children() {
        let check = |value: &str, flags: Option<u8>| {
            let found = context(&[value]).map(|context| context.flags);
            assert_eq!(found, flags, "{value}");
        };
        let parent = "b7ad6b7169203331";
        let zeros = "0".repeat(32);
        check(&format!("00-{TRACE}-{parent}-00"), Some(0));
        check(&format!("00-{TRACE}-{parent}-ff"), Some(3));
        check(&format!("cc-{TRACE}-{parent}-01-what"), Some(1));
        check(&format!("00-{TRACE}-{parent}-01-what"), None);
        check(&format!("ff-{TRACE}-{parent}-01"), None);
        check(&format!("00-{zeros}-{parent}-01"), None);
        check(&format!("00-{TRACE}-0000000000000000-01"), None);
        check(&format!("00-{}-{parent}-01", TRACE.to_uppercase()), None);
        check(&format!("00-{TRACE}-{parent}"), None);
        check("", None);
        let valid = format!("00-{TRACE}-{parent}-01");
        assert_eq!(context(&[&valid, &valid]), None, "two parents are none");
        assert_eq!(context(&[]), None);
    }
}
