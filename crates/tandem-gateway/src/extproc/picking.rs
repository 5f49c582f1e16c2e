//! A picker at work: what it is asked, and how long it took.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tandem_semantic_router::RouteRequest;

use super::picker::{EndpointPicker, Pick, PickError};
use super::subset::EndpointSubset;

/// Asks a picker, and counts what it says.
pub(super) struct Picking {
    picker: Arc<dyn EndpointPicker>,
    seconds: Family<ResultLabel, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// 10 µs to 5 s: from a short prompt to a very long one.
fn pick_time() -> Histogram {
    Histogram::new(exponential_buckets(0.000_01, 2.0, 20))
}

impl Picking {
    pub(super) fn new(picker: Arc<dyn EndpointPicker>, registry: &mut Registry) -> Self {
        let seconds = Family::<_, Histogram>::new_with_constructor(pick_time);
        registry.register(
            "tandem_router_endpoint_pick_seconds",
            "Time to pick an endpoint, by result",
            seconds.clone(),
        );
        Self { picker, seconds }
    }

    pub(super) fn picker(&self) -> &Arc<dyn EndpointPicker> {
        &self.picker
    }

    /// An endpoint for a prompt.
    pub(super) async fn pick(
        &self,
        request: RouteRequest<'_>,
        subset: Option<&EndpointSubset>,
    ) -> Result<Pick, PickError> {
        let started = Instant::now();
        let picked = self.picker.pick(request, subset).await;
        self.observe(started, &picked);
        picked
    }

    /// An endpoint for a request without a prompt.
    pub(super) fn pick_any(&self, subset: Option<&EndpointSubset>) -> Result<Pick, PickError> {
        let started = Instant::now();
        let picked = self.picker.pick_any(subset);
        self.observe(started, &picked);
        picked
    }

    fn observe(&self, started: Instant, picked: &Result<Pick, PickError>) {
        let result = match picked {
            Ok(_) => "picked",
            Err(PickError::NoEndpoint(_)) => "no_endpoint",
            Err(PickError::Overloaded(_)) => "overloaded",
            Err(PickError::UnknownModel(_)) => "unknown_model",
            Err(PickError::Invalid(_)) => "invalid",
            Err(PickError::Internal(_)) => "internal",
        };
        let histogram = self.seconds.get_or_create(&ResultLabel { result });
        histogram.observe(started.elapsed().as_secs_f64());
    }
}
