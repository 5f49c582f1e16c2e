//! Metrics of a worker, read from its engine at every scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tandem_kv_cache::tier::TierFigures;
use tandem_protocol::kv::StorageTier;

use crate::engine::{Engine, EngineLoad};

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
    read: fn(&EngineLoad) -> u64,
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
        name: "draft_tokens",
        help: "Tokens guessed by speculative decoding",
        read: |load| load.counters.draft_tokens,
    },
    Figure {
        name: "accepted_draft_tokens",
        help: "Guessed tokens that were right",
        read: |load| load.counters.accepted_draft_tokens,
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
        name: "peer_blocks_served",
        help: "KV blocks given to other workers that would have had to compute them",
        read: |load| load.counters.peer_blocks_served,
    },
    Figure {
        name: "remote_prefill_fallbacks",
        help: "Prompts computed here because their blocks did not come",
        read: |load| load.counters.remote_prefill_fallbacks.values().sum(),
    },
];

/// One figure of a tier below the KV blocks.
struct TierFigure {
    name: &'static str,
    help: &'static str,
    read: fn(&TierFigures) -> u64,
}

const TIER_GAUGES: &[TierFigure] = &[
    TierFigure {
        name: "blocks",
        help: "KV blocks in a slower tier",
        read: |tier| size(tier.blocks),
    },
    TierFigure {
        name: "capacity_blocks",
        help: "KV blocks that fit into a slower tier",
        read: |tier| size(tier.capacity),
    },
];

const TIER_COUNTERS: &[TierFigure] = &[
    TierFigure {
        name: "stored_blocks",
        help: "KV blocks that came into a slower tier",
        read: |tier| tier.stored,
    },
    TierFigure {
        name: "evicted_blocks",
        help: "KV blocks that gave way to others in a slower tier",
        read: |tier| tier.evicted,
    },
    TierFigure {
        name: "onboarded_blocks",
        help: "KV blocks that came back from a slower tier instead of being computed",
        read: |tier| tier.onboarded,
    },
];

/// What tiers did, by worker.
struct Tiers<'a> {
    loads: &'a [(&'a String, EngineLoad)],
}

impl Tiers<'_> {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for TierFigure { name, help, read } in TIER_GAUGES {
            let name = format!("tandem_kv_tier_{name}");
            let gauge = ConstGauge::new(0_i64);
            let mut family = encoder.encode_descriptor(&name, help, None, gauge.metric_type())?;
            for (labels, tier) in self.each() {
                let value = i64::try_from(read(tier)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        for TierFigure { name, help, read } in TIER_COUNTERS {
            let name = format!("tandem_kv_tier_{name}");
            let counter = ConstCounter::new(0_u64);
            let mut family = encoder.encode_descriptor(&name, help, None, counter.metric_type())?;
            for (labels, tier) in self.each() {
                ConstCounter::new(read(tier)).encode(family.encode_family(&labels)?)?;
            }
        }
        let name = "tandem_kv_tier_failures";
        let help = "KV blocks that a slower tier lost or did not take, which costs a computation";
        let counter = ConstCounter::new(0_u64);
        let mut family = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
        for ([worker, place], tier) in self.each() {
            for (reason, count) in &tier.failures {
                let labels = [worker, place, ("reason", *reason)];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    /// Each tier with its labels.
    fn each(&self) -> impl Iterator<Item = ([(&str, &str); 2], &TierFigures)> {
        self.loads.iter().flat_map(|(worker, load)| {
            let tiers = load.tiers.iter();
            tiers.map(move |tier| {
                (
                    [("worker", worker.as_str()), ("tier", label(tier.tier))],
                    tier,
                )
            })
        })
    }
}

const fn label(tier: StorageTier) -> &'static str {
    match tier {
        StorageTier::Device => "device",
        StorageTier::HostPinned => "host",
        StorageTier::Disk => "disk",
        StorageTier::External => "external",
    }
}

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
        Tiers { loads: &loads }.encode(&mut encoder)
    }
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
