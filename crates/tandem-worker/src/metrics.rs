//! Metrics of a worker, read from its engine at every scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::engine::Engine;

/// Registers the figures of several workers' engines, each labelled with its worker's name.
pub fn register(engines: Vec<(String, Arc<dyn Engine>)>, registry: &mut Registry) {
    registry.register_collector(Box::new(EngineCollector { engines }));
}

/// Metrics are written family by family, so one collector knows all engines of the process.
struct EngineCollector {
    engines: Vec<(String, Arc<dyn Engine>)>,
}

impl fmt::Debug for EngineCollector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers: Vec<&str> = self
            .engines
            .iter()
            .map(|(worker, _)| worker.as_str())
            .collect();
        formatter
            .debug_struct("EngineCollector")
            .field("workers", &workers)
            .finish()
    }
}

/// One figure of an engine.
struct Figure {
    name: &'static str,
    help: &'static str,
    read: fn(&crate::engine::EngineLoad) -> u64,
}

const GAUGES: &[Figure] = &[
    Figure {
        name: "running_requests",
        help: "Sequences at work",
        read: |load| size(load.running),
    },
    Figure {
        name: "waiting_requests",
        help: "Requests that wait",
        read: |load| size(load.waiting),
    },
    Figure {
        name: "kv_active_blocks",
        help: "KV blocks in use",
        read: |load| size(load.active_blocks),
    },
    Figure {
        name: "kv_cached_blocks",
        help: "KV blocks that are not in use and can be reused",
        read: |load| size(load.cached_blocks),
    },
    Figure {
        name: "kv_total_blocks",
        help: "KV blocks",
        read: |load| size(load.total_blocks),
    },
];

const COUNTERS: &[Figure] = &[
    Figure {
        name: "requests",
        help: "Requests admitted",
        read: |load| load.counters.requests,
    },
    Figure {
        name: "prompt_tokens",
        help: "Prompt tokens of admitted requests",
        read: |load| load.counters.prompt_tokens,
    },
    Figure {
        name: "cached_prompt_tokens",
        help: "Prompt tokens whose KV was in the prefix cache",
        read: |load| load.counters.cached_prompt_tokens,
    },
    Figure {
        name: "prefill_tokens_computed",
        help: "Prompt tokens that went through the model",
        read: |load| load.counters.prefill_tokens_computed,
    },
    Figure {
        name: "generated_tokens",
        help: "Tokens generated",
        read: |load| load.counters.generated_tokens,
    },
    Figure {
        name: "steps",
        help: "Forward passes",
        read: |load| load.counters.steps,
    },
    Figure {
        name: "preemptions",
        help: "Sequences put back because the KV blocks ran out",
        read: |load| load.counters.preemptions,
    },
    Figure {
        name: "remote_prefills",
        help: "Prompts whose KV blocks came from another worker",
        read: |load| load.counters.remote_prefills,
    },
    Figure {
        name: "remote_prefill_fallbacks",
        help: "Prompts computed here because their blocks did not come",
        read: |load| load.counters.remote_prefill_fallbacks.values().sum(),
    },
];

impl Collector for EngineCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let loads: Vec<_> = self
            .engines
            .iter()
            .map(|(worker, engine)| (worker, engine.load()))
            .collect();
        for Figure { name, help, read } in GAUGES {
            let name = format!("tandem_worker_{name}");
            let gauge = ConstGauge::new(0_i64);
            let mut family = encoder.encode_descriptor(&name, help, None, gauge.metric_type())?;
            for (worker, load) in &loads {
                let labels = [("worker", worker.as_str())];
                let value = i64::try_from(read(load)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        for Figure { name, help, read } in COUNTERS {
            let name = format!("tandem_worker_{name}");
            let counter = ConstCounter::new(0_u64);
            let mut family = encoder.encode_descriptor(&name, help, None, counter.metric_type())?;
            for (worker, load) in &loads {
                let labels = [("worker", worker.as_str())];
                ConstCounter::new(read(load)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
