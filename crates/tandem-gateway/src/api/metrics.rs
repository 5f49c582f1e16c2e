//! What the API counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets, linear_buckets};
use prometheus_client::registry::Registry;
use tandem_classifier::LabelScore;

/// Texts of a batch are classified several at a time.
const PROCESSING: &str = "concurrent";
/// Domains come from the model's label file, so there are few.
const METHOD: &str = "encoder";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BatchLabels {
    processing_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BatchErrorLabels {
    processing_type: &'static str,
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BatchSizeLabels {
    processing_type: &'static str,
    batch_size_range: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConfidenceLabels {
    category: String,
    classification_method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EntropyLabels {
    category: String,
    classification_type: &'static str,
}

/// Counters and histograms of the classification API.
#[derive(Debug)]
pub(super) struct ApiMetrics {
    requests: Family<BatchLabels, Counter>,
    texts: Family<BatchLabels, Counter>,
    errors: Family<BatchErrorLabels, Counter>,
    durations: Family<BatchSizeLabels, Histogram>,
    sizes: Family<BatchLabels, Histogram>,
    confidence: Family<ConfidenceLabels, Histogram>,
    entropy: Family<EntropyLabels, Histogram>,
}

impl ApiMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            texts: Family::default(),
            errors: Family::default(),
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 15))
            }),
            sizes: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(1.0, 2.0, 9))
            }),
            confidence: Family::new_with_constructor(|| {
                Histogram::new(linear_buckets(0.0, 0.1, 11))
            }),
            entropy: Family::new_with_constructor(|| Histogram::new(linear_buckets(0.0, 0.5, 9))),
        };
        registry.register(
            "batch_classification_requests",
            "Batches classified",
            metrics.requests.clone(),
        );
        registry.register(
            "batch_classification_texts",
            "Texts of batches",
            metrics.texts.clone(),
        );
        registry.register(
            "batch_classification_errors",
            "Batches that failed",
            metrics.errors.clone(),
        );
        registry.register(
            "batch_classification_duration_seconds",
            "Time for a batch",
            metrics.durations.clone(),
        );
        registry.register(
            "batch_classification_size_distribution",
            "Texts of a batch",
            metrics.sizes.clone(),
        );
        registry.register(
            "llm_classification_confidence",
            "Probability of the most likely category",
            metrics.confidence.clone(),
        );
        registry.register(
            "llm_entropy_values",
            "Entropy of the categories in bits",
            metrics.entropy.clone(),
        );
        metrics
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "there are at most some hundred texts"
    )]
    pub(super) fn batch(&self, texts: usize, took: Duration) {
        let labels = BatchLabels {
            processing_type: PROCESSING,
        };
        let sized = BatchSizeLabels {
            processing_type: PROCESSING,
            batch_size_range: range(texts),
        };
        self.requests.get_or_create(&labels).inc();
        let count = u64::try_from(texts).unwrap_or(u64::MAX);
        self.texts.get_or_create(&labels).inc_by(count);
        self.sizes.get_or_create(&labels).observe(texts as f64);
        let histogram = self.durations.get_or_create(&sized);
        histogram.observe(took.as_secs_f64());
    }

    pub(super) fn batch_failed(&self, error_type: &'static str) {
        let labels = BatchErrorLabels {
            processing_type: PROCESSING,
            error_type,
        };
        self.errors.get_or_create(&labels).inc();
    }

    pub(super) fn classified(&self, category: &str, score: f32, domains: &[LabelScore]) {
        let labels = ConfidenceLabels {
            category: category.to_owned(),
            classification_method: METHOD,
        };
        let histogram = self.confidence.get_or_create(&labels);
        histogram.observe(score.into());
        let labels = EntropyLabels {
            category: category.to_owned(),
            classification_type: "intent",
        };
        let histogram = self.entropy.get_or_create(&labels);
        histogram.observe(entropy(domains));
    }
}

/// Shannon entropy in bits.
fn entropy(domains: &[LabelScore]) -> f64 {
    let terms = domains.iter().filter(|one| one.score > 0.0).map(|one| {
        let p = f64::from(one.score);
        -p * p.log2()
    });
    terms.sum()
}

fn range(texts: usize) -> &'static str {
    match texts {
        0 | 1 => "1",
        2..=5 => "2-5",
        6..=10 => "6-10",
        11..=20 => "11-20",
        21..=50 => "21-50",
        _ => "50+",
    }
}
