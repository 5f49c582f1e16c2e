//! Settings of the frontend.

use std::time::Duration;

use tandem_kv_router::{ApproximateConfig, IndexConfig, RouterConfig, TierWeights};

use crate::prefill_policy::PrefillPolicy;

/// Settings of the frontend. Each has one home: the command line flag of the same name.
#[derive(Debug, Clone, clap::Args)]
pub struct FrontendArgs {
    /// How workers are chosen.
    #[command(flatten)]
    pub routing: RoutingArgs,

    /// Times a request may move to another worker after its worker was lost
    #[arg(long, default_value_t = 3, value_name = "TIMES")]
    pub migration_limit: u32,

    /// Refuse a request, with status 503, when no prefill worker computes its prompt, instead of
    /// letting the decode worker do it
    #[arg(long)]
    pub enforce_disagg: bool,

    /// Requests at a prefill worker from which on prompts stay with the decode worker; without it,
    /// only the time that they wait counts
    #[arg(long, value_name = "REQUESTS")]
    pub max_prefill_queue_size: Option<usize>,

    /// Times longer that a prompt may take by way of a prefill worker, because others are ahead of
    /// it there, before the decode worker computes it
    #[arg(long, default_value_t = 2.0, value_name = "TIMES", value_parser = non_negative)]
    pub max_prefill_slowdown: f64,

    /// Seconds of silence after which a worker that is not registered any more is given up
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS", value_parser = non_negative)]
    pub stall_timeout: f64,

    /// Largest request body in MiB
    #[arg(
        long,
        default_value_t = 45,
        value_name = "MIB",
        env = "DYN_HTTP_BODY_LIMIT_MB"
    )]
    pub body_limit: usize,
}

/// How workers are chosen.
#[derive(Debug, Clone, clap::Args)]
pub struct RoutingArgs {
    /// How a worker is chosen
    #[arg(long, value_enum, default_value_t = RouterMode::Kv, env = "DYN_ROUTER_MODE")]
    pub router_mode: RouterMode,

    /// Weight of uncached prompt blocks against running decode blocks
    #[arg(long, default_value_t = 1.0, value_parser = non_negative)]
    pub kv_overlap_score_weight: f64,

    /// What a prompt block cached in a worker's host memory saves, where one on its device saves 1
    #[arg(
        long,
        default_value_t = TierWeights::DYNAMO.host,
        env = "DYN_ROUTER_HOST_CACHE_HIT_WEIGHT",
        value_parser = share
    )]
    pub router_host_cache_hit_weight: f64,

    /// What a prompt block cached on a worker's disk saves, where one on its device saves 1
    #[arg(
        long,
        default_value_t = TierWeights::DYNAMO.disk,
        env = "DYN_ROUTER_DISK_CACHE_HIT_WEIGHT",
        value_parser = share
    )]
    pub router_disk_cache_hit_weight: f64,

    /// Softmax temperature of the choice between workers; 0 takes the best
    #[arg(long, default_value_t = 0.0, value_parser = non_negative)]
    pub router_temperature: f64,

    /// Guess what workers have cached from where requests went, instead of from their events
    #[arg(long)]
    pub no_kv_events: bool,

    /// Share of a worker's KV blocks in use, 0 to 1, above which it gets no new requests; when all
    /// workers are above it, clients get status 503, or 429 from an endpoint picker
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub busy_threshold: Option<f64>,

    /// Tell other routers of the same workers where requests were sent, and heed what they tell
    #[arg(long)]
    pub router_replica_sync: bool,

    /// Do not count the KV blocks of running requests when choosing a worker
    #[arg(long)]
    pub no_track_active_blocks: bool,

    /// Prompts with at most this many uncached tokens are not sent to a prefill worker
    #[arg(
        long,
        default_value_t = 32,
        value_name = "TOKENS",
        visible_alias = "max-local-prefill-length"
    )]
    pub max_local_prefill: usize,
}

/// How a worker is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RouterMode {
    /// By cached prefix and load
    Kv,
    /// In turn
    RoundRobin,
    /// At random
    Random,
    /// The less busy of two random ones
    PowerOfTwo,
    /// The least busy
    LeastLoaded,
}

impl From<RouterMode> for tandem_kv_router::RouterMode {
    fn from(mode: RouterMode) -> Self {
        match mode {
            RouterMode::Kv => Self::Kv,
            RouterMode::RoundRobin => Self::RoundRobin,
            RouterMode::Random => Self::Random,
            RouterMode::PowerOfTwo => Self::PowerOfTwo,
            RouterMode::LeastLoaded => Self::LeastLoaded,
        }
    }
}

impl RoutingArgs {
    /// What a KV router makes of it; the block size is each model card's own.
    pub(crate) fn router_config(&self) -> RouterConfig {
        let defaults = RouterConfig::new(16);
        RouterConfig {
            mode: self.router_mode.into(),
            overlap_score_weight: self.kv_overlap_score_weight,
            tier_weights: TierWeights {
                host: self.router_host_cache_hit_weight,
                disk: self.router_disk_cache_hit_weight,
            },
            temperature: self.router_temperature,
            track_active_blocks: !self.no_track_active_blocks,
            index: if self.no_kv_events {
                IndexConfig::Approximate(ApproximateConfig::default())
            } else {
                defaults.index
            },
            ..defaults
        }
    }
}

impl FrontendArgs {
    /// When prefill workers are passed over.
    pub(crate) const fn prefill_policy(&self) -> PrefillPolicy {
        PrefillPolicy {
            max_local_prefill: self.routing.max_local_prefill,
            max_queue: self.max_prefill_queue_size,
            max_slowdown: self.max_prefill_slowdown,
            enforced: self.enforce_disagg,
        }
    }

    /// Largest request body in bytes.
    pub fn body_limit_bytes(&self) -> usize {
        self.body_limit.saturating_mul(1024 * 1024)
    }
}

/// Most time that a client may take to send its body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

fn share(text: &str) -> Result<f64, String> {
    match non_negative(text) {
        Ok(value) if value > 1.0 => Err("must be between 0 and 1".to_owned()),
        result => result,
    }
}

fn non_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        Ok(_) => Err("must be 0 or more".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
