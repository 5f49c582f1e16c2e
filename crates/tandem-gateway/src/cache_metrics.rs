//! What the cache of answers has done, counted where it happens and read when the page is.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tandem_semantic_router::{RemoteStatistics, ResponseCache};

/// Puts the metrics of `cache` into `registry`.
pub fn register_cache(registry: &mut Registry, cache: Arc<ResponseCache>) {
    registry.register_collector(Box::new(CacheMetrics(cache)));
}

#[derive(Debug)]
struct CacheMetrics(Arc<ResponseCache>);

impl Collector for CacheMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = self.0.statistics();
        let hits = now.exact_hits + now.semantic_hits;
        let counters = [
            ("llm_cache_hits", "Requests answered from the cache", hits),
            (
                "llm_cache_misses",
                "Requests that the cache had no answer to",
                now.misses,
            ),
            (
                "tandem_cache_exact_hits",
                "Requests answered from the cache because the same was asked before",
                now.exact_hits,
            ),
            (
                "tandem_cache_semantic_hits",
                "Requests answered from the cache because a question asks for the same",
                now.semantic_hits,
            ),
            ("tandem_cache_stored", "Answers stored", now.stored),
            (
                "tandem_cache_skipped",
                "Answers not stored: broken off, too long, or refused by the model",
                now.skipped,
            ),
            (
                "tandem_cache_followed",
                "Requests that waited for the answer to the same request",
                now.followed,
            ),
            (
                "tandem_cache_evicted",
                "Answers dropped to make room",
                now.evicted,
            ),
            (
                "tandem_cache_expired",
                "Answers dropped because their time was over",
                now.expired,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let gauges = [
            (
                "llm_cache_entries_total",
                "Answers that the cache holds",
                now.entries,
            ),
            ("tandem_cache_bytes", "Bytes of them", now.bytes),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        match self.0.remote_statistics() {
            Some(remote) => encode_remote(&mut encoder, &remote),
            None => Ok(()),
        }
    }
}

/// What the store that processes share was asked.
fn encode_remote(encoder: &mut DescriptorEncoder<'_>, remote: &RemoteStatistics) -> fmt::Result {
    let backend = ("backend", remote.backend);
    let open = ConstGauge::new(i64::from(!remote.available));
    let help = "Whether the store of the cache is not asked, because it does not answer";
    let name = "tandem_cache_circuit_open";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    open.encode(family.encode_family(&[backend])?)?;

    let help = "What the store of the cache was asked, and what came of it";
    let name = "llm_cache_operations";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for one in &remote.operations {
        for (status, count) in &one.by_status {
            let labels = [backend, ("operation", one.operation), ("status", status)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }

    let help = "Time that the store of the cache took";
    let name = "llm_cache_operation_duration_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for one in &remote.operations {
        let labels = [backend, ("operation", one.operation)];
        let count = one.by_duration.iter().map(|(_, count)| count).sum();
        let sum = one.total.as_secs_f64();
        family
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(sum, count, &one.by_duration, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tandem_semantic_router::testing::FixedClassifier;
    use tandem_semantic_router::{Router, RouterConfig};

    use super::*;

    fn check(cache: Arc<ResponseCache>, lines: &[&str]) {
        let mut registry = Registry::default();
        register_cache(&mut registry, cache);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for line in lines {
            assert!(
                page.lines().any(|found| found == *line),
                "{line} in\n{page}"
            );
        }
    }

    #[test]
    fn the_page_shows_what_the_cache_counts() {
        let lines = [
            "# TYPE llm_cache_hits counter",
            "llm_cache_hits_total 0",
            "llm_cache_misses_total 0",
            "# TYPE llm_cache_entries_total gauge",
            "llm_cache_entries_total 0",
            "tandem_cache_bytes 0",
        ];
        check(Arc::default(), &lines);
    }

    #[test]
    fn the_page_shows_what_the_store_was_asked() {
        let config = "semantic_cache: {enabled: true, backend_type: redis}\n\
                      default_model: m\nmodel_config: {m: {}}\n";
        let config = RouterConfig::parse(config, &|_| None).unwrap().config;
        let router = Router::new(config, Arc::new(FixedClassifier::default()));
        let count = "llm_cache_operation_duration_seconds_count";
        let lines = [
            "tandem_cache_circuit_open{backend=\"redis\"} 1",
            "# TYPE llm_cache_operations counter",
            "llm_cache_operations_total{backend=\"redis\",operation=\"get_by_id\",status=\"hit\"} 0",
            "# TYPE llm_cache_operation_duration_seconds histogram",
            &format!("{count}{{backend=\"redis\",operation=\"find_similar\"}} 0"),
        ];
        check(Arc::clone(router.cache()), &lines);
    }
}
