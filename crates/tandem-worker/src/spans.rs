//! The span of a request to the worker.

use tandem_protocol::engine::EngineRequest;
use tandem_runtime::request_plane::Request;
use tandem_runtime::telemetry::{self, SPANS};
use tracing::{Span, info_span};

use crate::serve::WorkerRole;

/// The span of a request, a child of the frontend's.
pub(crate) fn request(request: &Request, engine: &EngineRequest, role: WorkerRole) -> Span {
    let span = info_span!(
        target: SPANS,
        parent: None,
        "worker.request",
        otel.kind = "server",
        request.id = request.id,
        model.name = engine.model,
        prompt.tokens = engine.token_ids.len(),
        worker.component = role.component(),
    );
    if let Some(caller) = &request.traceparent {
        telemetry::continue_trace(&span, caller);
    }
    span
}
