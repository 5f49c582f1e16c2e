//! The embedded engine: runs Llama, Mistral, Qwen, Gemma and Phi checkpoints on the CPU or a GPU.
//!
//! Requests become sequences (`intake`, `sequence`) that a scheduler (`scheduler`) on the engine's own
//! thread (`thread`) batches step by step (`step`) through the model ([`model`]), whose
//! arithmetic is in `kernel`, or in `cuda` for GPUs. Keys and values live in the blocks of `tandem-kv-cache`.

mod adapters;
mod blocks;
mod cuda;
mod device;
mod disagg;
mod guided;
mod intake;
mod kernel;
mod limits;
pub mod model;
mod pace;
mod peers;
mod sampling;
mod scheduler;
mod sequence;
mod speculation;
mod step;
mod thread;
mod tiers;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::BoxFuture;
use tandem_kv_cache::tier::{KvTiers, TierConfig};
use tandem_kv_cache::transfer::{FetchTimeouts, LeaseTable, Offer};
use tandem_kv_cache::{BlockCache, KvEventSubscription, KvShape};
use tandem_protocol::engine::EngineRequest;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_128;

use self::adapters::Adapters;
use self::cuda::{CudaDecoder, Gpu};
use self::disagg::KvIdentity;
use self::guided::Grammars;
use self::intake::Intake;
use self::limits::{Dimensions, Limits};
use self::model::{Decoder, ModelConfig, ModelError, SamplingDefaults, Weights};
use self::peers::SharedBlocks;
use self::scheduler::Scheduler;
use self::step::Model;
use self::thread::{EngineThread, Status};
use super::mock::{MockConfig, MockModel};
use super::{Engine, EngineError, EngineInfo, EngineLoad, LoraModule, Outputs};

pub use device::{Device, UnknownDevice};
pub use kernel::{Compute, Quantization};
pub use speculation::{Speculation, SpeculationError};

/// How to run an embedded engine.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// What computes the model.
    pub device: Device,
    /// Compute threads; `None` for one per core.
    pub threads: Option<usize>,
    /// How weights are rounded when they are loaded.
    pub quantization: Quantization,
    /// LoRA adapters to load beside the model.
    pub adapters: Vec<LoraModule>,
    /// Tokens per KV block; a multiple of 16.
    pub block_size: usize,
    /// Most memory for KV blocks. Less is taken if all sequences at full length need less.
    pub kv_cache_bytes: usize,
    /// Number of KV blocks, instead of what `kv_cache_bytes` affords.
    pub kv_blocks: Option<usize>,
    /// Sequences that run at a time.
    pub max_sequences: usize,
    /// Tokens per step: longer prompts are computed in chunks.
    pub max_batched_tokens: usize,
    /// Longest sequence, if shorter than the model's.
    pub context_length: Option<usize>,
    /// Requests that may wait before more are refused.
    pub queue: usize,
    /// Whether blocks are reused across requests.
    pub prefix_reuse: bool,
    /// How to guess tokens ahead; `None` not at all.
    pub speculation: Option<Speculation>,
    /// How this worker hands prompts to others; `None` if it does not.
    pub transfer: Option<TransferConfig>,
    /// How long to wait for blocks of other workers.
    pub fetch: FetchTimeouts,
    /// Where blocks go that the KV cache has no room for.
    pub tiers: TierConfig,
}

/// How a worker hands prompts to others.
#[derive(Debug, Clone)]
pub struct TransferConfig {
    /// Where other workers reach this one's transfer service, `host:port`.
    pub address: String,
    /// How long blocks are held.
    pub lease: Duration,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            threads: None,
            quantization: Quantization::None,
            adapters: Vec::new(),
            block_size: 16,
            kv_cache_bytes: 1 << 30,
            kv_blocks: None,
            max_sequences: 64,
            max_batched_tokens: 512,
            context_length: None,
            queue: 1024,
            prefix_reuse: true,
            speculation: None,
            transfer: None,
            fetch: FetchTimeouts::default(),
            tiers: TierConfig::default(),
        }
    }
}

/// Where a model comes from.
struct Origin<'a> {
    fingerprint: String,
    /// Its files, if it has any.
    directory: Option<&'a Path>,
    sampling: SamplingDefaults,
    adapters: Adapters,
}

/// Runs a decoder. Dropping it stops it within one step.
#[derive(Debug)]
pub struct EmbeddedEngine {
    intake: Arc<Intake>,
    thread: Option<JoinHandle<()>>,
    /// Closed when the thread has ended.
    alive: watch::Receiver<()>,
    cache: Arc<BlockCache>,
    offer: Offer,
    tiers: Arc<KvTiers>,
    info: EngineInfo,
}

impl EmbeddedEngine {
    /// Loads the model in `directory` and starts. Takes as long as reading the weights does.
    pub fn load(directory: &Path, config: EmbeddedConfig) -> Result<Self, ModelError> {
        let compute = Self::compute(&config)?;
        let Device::Cuda(ordinal) = config.device else {
            let (decoder, adapters) = compute.run(|| {
                let model = ModelConfig::read(directory, config.context_length)?;
                let weights = Weights::open(directory)?;
                let mut decoder = Decoder::load(model, &weights, config.quantization)?;
                let adapters = Adapters::load(&mut decoder, &config.adapters)?;
                Ok::<_, ModelError>((decoder, adapters))
            })?;
            return Self::run_decoder((decoder, adapters), compute, Some(directory), config);
        };
        if config.quantization != Quantization::None {
            let value = format!("{:?}", config.quantization);
            return Err(only_none("quantization on a GPU", value));
        }
        if let Some(module) = config.adapters.first() {
            return Err(only_none("adapter on a GPU", module.name.clone()));
        }
        let gpu = Gpu::open(ordinal)?;
        let decoder = compute.run(|| {
            let model = ModelConfig::read(directory, config.context_length)?;
            CudaDecoder::load(gpu, model, &Weights::open(directory)?)
        })?;
        Self::run_cuda(decoder, compute, directory, config)
    }

    /// The compute threads that `config` asks for.
    pub fn compute(config: &EmbeddedConfig) -> Result<Compute, ModelError> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Compute::new(config.threads.unwrap_or_else(cores))
            .map_err(|error| ModelError::Threads(error.to_string()))
    }

    /// Starts with a model that is loaded already.
    pub fn start(
        decoder: Decoder,
        compute: Compute,
        config: EmbeddedConfig,
    ) -> Result<Self, ModelError> {
        Self::run_decoder((decoder, Adapters::default()), compute, None, config)
    }

    fn run_decoder(
        (decoder, adapters): (Decoder, Adapters),
        compute: Compute,
        directory: Option<&Path>,
        config: EmbeddedConfig,
    ) -> Result<Self, ModelError> {
        let dimensions = Dimensions::new(decoder.config(), config.block_size);
        let sampling = decoder.config().sampling;
        let origin = Origin {
            fingerprint: decoder.fingerprint().to_owned(),
            directory,
            sampling,
            adapters,
        };
        let model = Model::Decoder(Box::new(decoder), compute);
        Self::run_model(model, &dimensions, origin, config)
    }

    fn run_cuda(
        decoder: CudaDecoder,
        compute: Compute,
        directory: &Path,
        config: EmbeddedConfig,
    ) -> Result<Self, ModelError> {
        let dimensions = Dimensions::new(decoder.config(), config.block_size);
        let sampling = decoder.config().sampling;
        let origin = Origin {
            fingerprint: decoder.fingerprint().to_owned(),
            directory: Some(directory),
            sampling,
            adapters: Adapters::default(),
        };
        let model = Model::Cuda(Box::new(decoder), compute);
        Self::run_model(model, &dimensions, origin, config)
    }

    /// Starts with a mock of the model in `directory`: see [`mock`](super::mock).
    pub fn mock(
        directory: &Path,
        mock: MockConfig,
        config: EmbeddedConfig,
    ) -> Result<Self, ModelError> {
        if let Some(module) = config.adapters.first() {
            return Err(only_none("adapter of a mock", module.name.clone()));
        }
        let model = MockModel::read(directory, mock)?;
        let dimensions = Dimensions {
            vocab_size: model.vocab_size,
            max_positions: model.max_positions,
            eos_token_ids: model.eos_token_ids.clone(),
            // The smallest that there is: nothing is ever read from the blocks.
            shape: KvShape {
                layers: 1,
                kv_heads: 1,
                head_dim: 1,
                block_size: config.block_size,
            },
        };
        let origin = Origin {
            fingerprint: "mock".to_owned(),
            directory: None,
            sampling: SamplingDefaults::default(),
            adapters: Adapters::default(),
        };
        Self::run_model(Model::Mock(model), &dimensions, origin, config)
    }

    fn run_model(
        model: Model,
        dimensions: &Dimensions,
        origin: Origin<'_>,
        config: EmbeddedConfig,
    ) -> Result<Self, ModelError> {
        let limits = Limits {
            adapters: origin.adapters,
            ..Limits::new(&config, dimensions)?
        };
        let shape = dimensions.shape;
        let identity = format!("{} {shape:?}", origin.fingerprint);
        let kv = KvIdentity {
            fingerprint: format!("{:032x}", xxh3_128(identity.as_bytes())),
            arithmetic: model.arithmetic(),
            shape,
        };
        let cache = Arc::new(BlockCache::new(limits.total_blocks));
        let leases = config.transfer.map(|transfer| {
            let TransferConfig { address, lease } = transfer;
            let fingerprint = kv.fingerprint.clone();
            Arc::new(LeaseTable::new(
                Arc::clone(&cache),
                fingerprint,
                address,
                lease,
            ))
        });
        let status = Arc::new(Status::default());
        let (commands, received) = std::sync::mpsc::channel();
        let whose = (&kv, &model, &limits.adapters);
        let fingerprint = tiers::fingerprint(&config.tiers, whose, origin.directory)?;
        let tiers = tiers::open(&config.tiers, (&fingerprint, shape), &cache, &commands)?;
        let tiers = Arc::new(tiers);
        let shared = || SharedBlocks::new(commands.clone(), &kv, &limits.adapters);
        let offer = Offer {
            leases: leases.clone(),
            blocks: config.tiers.peers.then(|| Arc::new(shared()) as _),
        };
        let thread = EngineThread {
            commands: received,
            status: Arc::clone(&status),
            scheduler: Scheduler {
                limits: limits.clone(),
                cache: Arc::clone(&cache),
                blocks: model.blocks(shape, limits.total_blocks, config.tiers.host_bytes)?,
                tiers: Arc::clone(&tiers),
                waiting: Default::default(),
                running: Vec::new(),
                fetching: Vec::new(),
                pace: Default::default(),
            },
            received: 0,
            model,
            leases,
        };
        let (running, alive) = watch::channel(());
        let run = move || {
            // Dropped however the thread ends, a panic included.
            let _running = running;
            thread.run();
        };
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(run)
            .map_err(|error| ModelError::Threads(error.to_string()))?;
        Ok(Self {
            info: limits.info(),
            intake: Arc::new(Intake {
                commands,
                status,
                limits,
                kv,
                sampling: origin.sampling,
                fetch: config.fetch,
                grammars: origin.directory.map(Grammars::new).map(Arc::new),
                next_id: AtomicU64::new(0),
            }),
            thread: Some(thread),
            alive,
            cache,
            offer,
            tiers,
        })
    }

    /// What other workers may have, to be served with [`tandem_kv_cache::transfer::serve`]: blocks
    /// held for them if there is a [`TransferConfig`], and any others with
    /// [`peers`](TierConfig::peers).
    pub fn offer(&self) -> Offer {
        self.offer.clone()
    }
}

fn only_none(feature: &'static str, value: String) -> ModelError {
    ModelError::Unsupported {
        feature,
        value,
        supported: "none",
    }
}

impl Engine for EmbeddedEngine {
    fn check(&self, request: &EngineRequest) -> Result<(), EngineError> {
        self.intake.check(request)
    }

    fn submit(&self, request: EngineRequest) -> Outputs {
        self.intake.submit(request)
    }

    fn submit_prefill(&self, request: EngineRequest) -> Outputs {
        self.intake.submit_prefill(request)
    }

    fn subscribe_kv_events(&self) -> KvEventSubscription {
        self.cache.subscribe()
    }

    fn load(&self) -> EngineLoad {
        let usage = self.cache.usage();
        let status = &self.intake.status;
        EngineLoad {
            running: status.running.load(Ordering::Acquire),
            waiting: status.queued.load(Ordering::Relaxed),
            active_blocks: usage.referenced,
            cached_blocks: usage.idle,
            total_blocks: self.info.total_blocks,
            counters: status.counters.lock().clone(),
            tiers: self.tiers.figures(),
        }
    }

    fn gone(&self) -> BoxFuture<'static, ()> {
        let mut alive = self.alive.clone();
        Box::pin(async move { while alive.changed().await.is_ok() {} })
    }

    fn info(&self) -> &EngineInfo {
        &self.info
    }
}

impl Drop for EmbeddedEngine {
    fn drop(&mut self) {
        self.intake.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("engine thread panicked");
        }
    }
}
