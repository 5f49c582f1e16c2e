//! What the cache of answers has done, counted where it happens and read when the page is.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tandem_semantic_router::ResponseCache;

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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_the_cache_counts() {
        let mut registry = Registry::default();
        register_cache(&mut registry, Arc::default());
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for line in [
            "# TYPE llm_cache_hits counter",
            "llm_cache_hits_total 0",
            "llm_cache_misses_total 0",
            "# TYPE llm_cache_entries_total gauge",
            "llm_cache_entries_total 0",
            "tandem_cache_bytes 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
    }
}
