//! Counting an answer while it passes.

use std::time::{Duration, Instant};

use http::StatusCode;
use tracing::info;

use crate::metrics::InFlight;
use crate::usage::UsageReader;

/// An answer of the upstream, from the request on.
#[derive(Debug)]
pub(crate) struct Watch {
    in_flight: InFlight,
    model: String,
    request_id: String,
    started: Instant,
    first: bool,
    /// `None` for errors, and once the answer was counted.
    usage: Option<UsageReader>,
}

impl Watch {
    /// Begins when the request is sent on. `model` is a metric label.
    pub(crate) fn new(in_flight: InFlight, model: String, request_id: &str) -> Self {
        Self {
            in_flight,
            model,
            request_id: request_id.to_owned(),
            started: Instant::now(),
            first: false,
            usage: None,
        }
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The answer's headers are there.
    pub(crate) fn begin(&mut self, status: StatusCode, stream: bool) {
        let reason = match status.as_u16() {
            400..=499 => "upstream_4xx",
            500.. => "upstream_5xx",
            _ => {
                self.usage = status.is_success().then(|| UsageReader::new(stream));
                return;
            }
        };
        let metrics = self.in_flight.metrics();
        metrics.failed(self.model.clone(), reason);
    }

    /// A piece of the answer passes.
    pub(crate) fn piece(&mut self, piece: &[u8]) {
        if !self.first {
            self.first = true;
            let metrics = self.in_flight.metrics();
            metrics.first_byte(&self.model, self.started.elapsed());
        }
        if let Some(usage) = &mut self.usage {
            usage.read(piece);
        }
    }

    /// The answer broke off: nothing of it counts.
    pub(crate) fn broken(&mut self) {
        self.usage = None;
    }

    /// The answer is complete. Counts once, however often it is said.
    pub(crate) fn complete(&mut self) {
        let Some(usage) = self.usage.take().map(UsageReader::finish) else {
            return;
        };
        let after: Duration = self.started.elapsed();
        self.in_flight
            .metrics()
            .completed(&self.model, after, usage);
        if let Some(usage) = usage {
            info!(
                event = "llm_usage",
                request_id = self.request_id,
                model = self.model,
                prompt_tokens = usage.prompt_tokens,
                completion_tokens = usage.completion_tokens,
                total_tokens = usage.total_tokens,
                completion_latency_ms = after.as_secs_f64() * 1e3,
                "llm_usage"
            );
        }
    }
}
