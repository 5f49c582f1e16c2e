//! `tandem worker`: one engine of a cluster.

mod external;
mod openai;

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use prometheus_client::registry::Registry;
use tandem_runtime::system::{Health, run as run_system_server};
use tandem_runtime::{Discovery, Lifecycle};
use tandem_tokenizer::ModelCard;
use tandem_worker::engine::embedded::{Device, EmbeddedConfig, Speculation};
use tandem_worker::engine::external::Dialect;
use tandem_worker::engine::mock::{MockConfig, StepTime};
use tandem_worker::{ComponentMetrics, Planes, Worker, WorkerOptions, WorkerRole};
use tracing::{info, warn};

use super::{bind, block_on};
use crate::args::CacheArgs;
use crate::model::{ModelArgs, QuantizationArg};
use crate::planes::{ConnectedPlanes, PlaneArgs};
use crate::signals::Signals;
use crate::tiers::TierArgs;
use external::ExternalArgs;
use openai::{OpenAi, OpenAiArgs};

/// KV blocks of the mock engine, unless told otherwise: about what an 80 GB card holds of an 8B
/// model.
const MOCK_BLOCKS: usize = 16384;
/// KV blocks of the embedded engine, unless told otherwise.
const EMBEDDED_BLOCKS: usize = 2048;
/// Tokens per block of the engines in this binary, unless told otherwise.
const BLOCK_SIZE: u32 = 16;

/// Arguments of `tandem worker`.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerCommandArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Namespace to join
    #[arg(
        long,
        value_name = "NAME",
        default_value = "dynamo",
        env = "DYN_NAMESPACE"
    )]
    namespace: String,

    /// Which part of a request the worker takes; `both` is the same as `decode`: a decode worker
    /// computes prompts that no prefill worker has computed
    #[arg(long, value_enum, default_value_t = WorkerType::Both)]
    worker_type: WorkerType,

    /// The same as --worker-type prefill
    #[arg(long, conflicts_with_all = ["worker_type", "is_decode_worker"])]
    is_prefill_worker: bool,

    /// The same as --worker-type decode
    #[arg(long, conflicts_with = "worker_type")]
    is_decode_worker: bool,

    #[command(flatten)]
    engine: EngineArgs,

    #[command(flatten)]
    tiers: TierArgs,

    #[command(flatten)]
    external: ExternalArgs,

    #[command(flatten)]
    openai: OpenAiArgs,

    #[command(flatten)]
    system: SystemArgs,

    #[command(flatten)]
    planes: PlaneArgs,

    #[command(flatten)]
    cache: CacheArgs,
}

/// Which part of a request a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WorkerType {
    /// Prompts only
    Prefill,
    /// Answers
    Decode,
    /// Prompts and answers
    Both,
}

/// How the model is run.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Engine")]
struct EngineArgs {
    /// What runs the model
    #[arg(long, value_enum, default_value_t = EngineKind::Embedded)]
    engine: EngineKind,

    /// How much faster than a real accelerator the mock engine is
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    speedup: f64,

    /// What the embedded engine computes on: cpu, cuda, or cuda:N for the Nth GPU
    #[arg(long, env = "TANDEM_DEVICE", default_value_t, value_name = "DEVICE")]
    device: Device,

    /// Threads of the embedded engine [default: all processors]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Rounds the embedded engine's weights when they are loaded
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    quantization: QuantizationArg,

    /// KV cache in blocks [default: 2048, with the mock engine 16384, else the engine's own]
    #[arg(long, value_name = "BLOCKS")]
    kv_blocks: Option<usize>,

    /// Tokens per KV block; a multiple of 16 [default: 16, with an engine outside the engine's own]
    #[arg(long, value_name = "TOKENS")]
    block_size: Option<u32>,

    /// Longest prompt and answer together, in tokens [default: the model's]
    #[arg(long, value_name = "TOKENS")]
    max_model_len: Option<usize>,

    /// Sequences that run at a time
    #[arg(long, value_name = "N")]
    max_num_seqs: Option<usize>,

    /// Tokens per step
    #[arg(long, value_name = "TOKENS")]
    max_num_batched_tokens: Option<usize>,

    /// Guesses tokens ahead by what came before, which changes no answer; in vLLM's words, such as
    /// '{"method":"ngram","num_speculative_tokens":5}'
    #[arg(long, env = "TANDEM_SPECULATIVE_CONFIG", value_name = "JSON")]
    speculative_config: Option<String>,

    /// How KV blocks get from prefill to decode workers: `null` leaves them where they are
    /// [default: tcp, with an engine outside null]
    #[arg(long, value_enum)]
    connector: Option<Connector>,

    /// Accelerators that share the model; the engines in this binary run on one device
    #[arg(long, value_name = "N", default_value_t = 1)]
    tensor_parallel_size: usize,

    /// Capture no graphs; the engines in this binary never do
    #[arg(long)]
    enforce_eager: bool,

    /// Share of the accelerator's memory that the engine takes; for those in this binary see
    /// --kv-blocks
    #[arg(long, value_name = "FRACTION")]
    gpu_memory_utilization: Option<f64>,
}

/// What runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineKind {
    /// The engine inside this binary, on the processor
    Embedded,
    /// No model at all, but the time that one would take
    Mock,
    /// vLLM, in processes of its own
    Vllm,
    /// SGLang, in processes of its own
    Sglang,
    /// TensorRT-LLM, in processes of its own
    Trtllm,
    /// Any server of the OpenAI API, at --engine-url; nothing is known of its cache
    Openai,
}

impl EngineKind {
    /// How an engine outside this process is spoken to.
    const fn dialect(self) -> Option<Dialect> {
        match self {
            Self::Embedded | Self::Mock => None,
            Self::Vllm => Some(Dialect::Vllm),
            Self::Sglang => Some(Dialect::Sglang),
            Self::Trtllm => Some(Dialect::TrtLlm),
            Self::Openai => Some(Dialect::OpenAi),
        }
    }
}

/// How KV blocks get from prefill to decode workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Connector {
    /// Over TCP, between engines of this binary
    Tcp,
    /// By NIXL, between engines outside
    Nixl,
    /// Not at all: decode workers compute every prompt
    Null,
}

/// The system server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "System server: /health, /live, /metrics")]
struct SystemArgs {
    /// Address that it listens on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), env = "DYN_SYSTEM_HOST")]
    system_host: IpAddr,

    /// Port that it listens on; 0 takes any free port
    #[arg(long, default_value_t = 9090, env = "DYN_SYSTEM_PORT")]
    system_port: u16,

    /// Seconds that requests in flight get when the process is asked to stop
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        env = "DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT"
    )]
    drain_timeout: u64,
}

/// Runs until a signal asks to stop.
pub(crate) fn run(args: &WorkerCommandArgs) -> Result<()> {
    args.engine.check()?;
    let has_adapters = matches!(args.engine.engine, EngineKind::Embedded | EngineKind::Vllm);
    if args.model.wants_adapters() && !has_adapters {
        bail!("--lora-modules is for the embedded engine and vLLM");
    }
    let tiers = args.tiers.config(&args.cache);
    let is_outside = args.engine.engine.dialect().is_some();
    if tiers.peers && is_outside {
        bail!("--kv-peers is for the engines in this binary");
    }
    args.external
        .check(&args.engine, tiers.host_bytes > 0 || tiers.disk.is_some())?;
    block_on(serve(args))
}

#[expect(clippy::print_stdout, reason = "people wait for these lines")]
async fn serve(args: &WorkerCommandArgs) -> Result<()> {
    let started = Instant::now();
    let SystemArgs {
        system_host,
        system_port,
        drain_timeout,
    } = args.system;
    let listener = bind(system_host, system_port, "--system-port").await?;
    let system_address = listener.local_addr()?;
    let role = args.role();
    let openai = args.openai.bind(role).await?;
    let mut signals = Signals::install()?;
    let system = Lifecycle::new();
    let plane = Lifecycle::new();
    let mut registry = Registry::default();
    let Launched {
        worker,
        model,
        planes,
    } = tokio::select! {
        launched = launch(args, &plane, &mut registry) => launched?,
        () = signals.next() => return Ok(()),
    };
    let health = Health::new(&["generate"]);
    let engine = (role.component().to_owned(), Arc::clone(worker.engine()));
    tandem_worker::metrics::register(vec![engine], &mut registry);
    let start = |listener| {
        let listening = (listener, args.planes.host());
        let cluster = (&planes, args.namespace.as_str());
        OpenAi::start(&args.openai, listening, cluster, &mut registry, &plane)
    };
    let openai = openai.map(start).transpose()?;
    let registry = Arc::new(registry);
    system.spawn_to_end(run_system_server(
        listener,
        health.clone(),
        Arc::clone(&registry),
        system.clone(),
    ));
    let http = Lifecycle::new();
    let drain_timeout = Duration::from_secs(drain_timeout);
    if let Some(openai) = openai {
        let serving = openai.serve(&model, registry, drain_timeout, &http);
        let address = serving.await?;
        worker.advertise(address).await?;
        println!("openai http://{address}");
    }
    health.set(true);
    let info = worker.engine().info();
    println!(
        "worker {} {:x} serves {model}: {} KV blocks of {}, context {}",
        role.component(),
        planes.discovery.lease(),
        info.total_blocks,
        info.block_size,
        info.context_length
    );
    println!("system http://{system_address}");
    println!("ready in {:.1} s", started.elapsed().as_secs_f64());

    let end = reason_to_leave(&worker, &mut signals).await;
    info!("stopping: requests in flight may finish");
    health.set(false);
    tokio::select! {
        () = drain(worker, &http, &*planes.discovery, drain_timeout) => {}
        () = signals.next() => info!("stopped at once: second signal"),
    }
    for lifecycle in [system, plane] {
        if let Err(error) = lifecycle.stop(Duration::from_secs(1)).await {
            warn!(%error, "left tasks behind");
        }
    }
    end
}

/// Waits until the process should leave. An engine that has failed is an error: requests must go
/// elsewhere, and whoever looks after the process may start it again.
async fn reason_to_leave(worker: &Worker, signals: &mut Signals) -> Result<()> {
    tokio::select! {
        () = signals.next() => Ok(()),
        () = worker.engine().gone() => bail!("the engine has failed"),
    }
}

/// Takes no new requests, and lets those in flight finish: first those over HTTP, which make the
/// others.
async fn drain(worker: Worker, http: &Lifecycle, discovery: &dyn Discovery, timeout: Duration) {
    let drained = async {
        worker.leave().await;
        if let Err(error) = http.stop(timeout).await {
            warn!(%error, "cut off HTTP requests");
        }
        worker.stop().await;
    };
    if tokio::time::timeout(timeout, drained).await.is_err() {
        warn!("cut off requests that took too long");
        drop(discovery.revoke().await);
    }
}

/// A worker that has joined.
struct Launched {
    worker: Worker,
    /// Name of its model.
    model: String,
    planes: ConnectedPlanes,
}

/// Loads the model and joins.
async fn launch(
    args: &WorkerCommandArgs,
    plane: &Lifecycle,
    registry: &mut Registry,
) -> Result<Launched> {
    let planes = args.planes.connect(plane);
    let directory = args.model.directory(&args.cache);
    let (planes, directory) = tokio::try_join!(planes, directory)?;
    let name = args.model.served_name(&directory);
    let block_size = args.engine.block_size.unwrap_or(BLOCK_SIZE);
    let settings = crate::model::card_settings(&name, block_size);
    let card = ModelCard::from_dir(&directory, settings)?;
    let role = args.role();
    let adapters = args.model.adapters(&name).await?;
    let external = args.external(&directory, &card, &adapters);
    let transfer = args.engine.connector() != Connector::Null;
    if role == WorkerRole::Prefill && !transfer {
        warn!("this prefill worker hands no KV blocks over: decode workers compute every prompt");
    }
    let options = WorkerOptions {
        directory,
        card,
        role,
        namespace: args.namespace.clone(),
        transfer_host: args.planes.host(),
        transfer,
        engine: EmbeddedConfig {
            tiers: args.tiers.config(&args.cache),
            adapters,
            ..args.engine.config()?
        },
        mock: args.engine.mock(),
        external,
    };
    let worker_planes = Planes {
        discovery: planes.discovery.clone(),
        messaging: planes.messaging.clone(),
        requests: planes.requests.clone(),
        metrics: ComponentMetrics::register(registry),
    };
    Ok(Launched {
        worker: Box::pin(Worker::launch(options, worker_planes)).await?,
        model: name,
        planes,
    })
}

impl WorkerCommandArgs {
    const fn role(&self) -> WorkerRole {
        match self.worker_type {
            _ if self.is_prefill_worker => WorkerRole::Prefill,
            WorkerType::Prefill => WorkerRole::Prefill,
            WorkerType::Decode | WorkerType::Both => WorkerRole::Decode,
        }
    }
}

impl EngineArgs {
    /// How KV blocks get from prefill to decode workers.
    fn connector(&self) -> Connector {
        let default = match self.engine.dialect() {
            None => Connector::Tcp,
            Some(_) => Connector::Null,
        };
        self.connector.unwrap_or(default)
    }

    /// Says what was asked for but means nothing here.
    fn check(&self) -> Result<()> {
        match (self.engine.dialect(), self.connector()) {
            (None, Connector::Nixl) => {
                bail!("the engines in this binary know nothing of NIXL: use --connector tcp")
            }
            (Some(_), Connector::Tcp) => {
                bail!("--connector tcp is for the engines in this binary: use nixl or null")
            }
            _ => {}
        }
        if self.device != Device::Cpu && self.engine != EngineKind::Embedded {
            bail!("--device is for the embedded engine: others choose their GPUs themselves");
        }
        if self.tensor_parallel_size != 1 && self.engine == EngineKind::Embedded {
            bail!(
                "the embedded engine runs on one device: --tensor-parallel-size must be 1, not {}",
                self.tensor_parallel_size
            );
        }
        let dialect = self.engine.dialect();
        if self.speculative_config.is_some() && !matches!(dialect, None | Some(Dialect::Vllm)) {
            bail!("--speculative-config is for vLLM and the engines in this binary");
        }
        self.speculation().map(drop)
    }

    /// How an engine in this binary guesses tokens ahead; vLLM knows other ways.
    fn speculation(&self) -> Result<Option<Speculation>> {
        let text = self.speculative_config.as_deref();
        let text = text.filter(|_| self.engine.dialect().is_none());
        let parsed = text.map(str::parse).transpose();
        parsed.context("--speculative-config")
    }

    fn config(&self) -> Result<EmbeddedConfig> {
        let defaults = EmbeddedConfig::default();
        let (blocks, sequences, tokens) = match self.engine {
            // vLLM's own defaults.
            EngineKind::Mock => (MOCK_BLOCKS, 256, 8192),
            _ => (
                EMBEDDED_BLOCKS,
                defaults.max_sequences,
                defaults.max_batched_tokens,
            ),
        };
        Ok(EmbeddedConfig {
            device: self.device,
            threads: self.threads.map(usize::from),
            quantization: self.quantization.into(),
            block_size: self.block_size.unwrap_or(BLOCK_SIZE) as usize,
            kv_blocks: Some(self.kv_blocks.unwrap_or(blocks)),
            context_length: self.max_model_len,
            max_sequences: self.max_num_seqs.unwrap_or(sequences),
            max_batched_tokens: self.max_num_batched_tokens.unwrap_or(tokens),
            speculation: self.speculation()?,
            ..defaults
        })
    }

    fn mock(&self) -> Option<MockConfig> {
        (self.engine == EngineKind::Mock).then(|| MockConfig {
            speedup: self.speedup,
            step_time: StepTime::default(),
        })
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        Ok(_) => Err("must be more than 0".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
