//! What decides among models of close scores.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tandem_semantic_router::Explanation;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    model: String,
    by: &'static str,
}

/// Counts choices that the load might have changed.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadAwareChoices(Family<Labels, Counter>);

impl LoadAwareChoices {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "tandem_gateway_load_aware_choices",
            "Choices among models of close scores, by what decided",
            self.0.clone(),
        );
    }

    /// Counts the choice, if the load was looked at for it; `model` is the label of the model.
    pub(super) fn count(&self, explanation: &Explanation, model: &str) {
        let Some(best) = explanation.predictions.first() else {
            return;
        };
        let kept = Some(&best.model) == explanation.model.as_ref();
        let labels = Labels {
            model: model.to_owned(),
            by: if kept { "score" } else { "load" },
        };
        self.0.get_or_create(&labels).inc();
    }
}
