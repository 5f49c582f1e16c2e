//! Engines outside this process, spoken to over HTTP: vLLM, SGLang, TensorRT-LLM, and any server of
//! the OpenAI API.
//!
//! [`ExternalEngine`] sends tokens (`generate`) in the words of the engine (`dialect`), knows what it
//! has cached (`kv_events`) and how busy it is (`counters`), and keeps it running (`supervisor`).

mod address;
mod counters;
mod dialect;
mod generate;
mod handoff;
mod http;
mod kv_events;
mod launch;
mod process;
mod prometheus;
mod sse;
mod supervisor;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tandem_kv_cache::KvEventSubscription;
use tandem_protocol::engine::EngineRequest;
use tandem_runtime::Lifecycle;
use tandem_tokenizer::Tokenizer;
use tokio::sync::watch;
use tracing::{info, warn};

use self::counters::Counters;
use self::dialect::{Bootstrap, Description, Leg, Trouble};
use self::handoff::{Handoff, Params};
use self::http::HttpClient;
use self::kv_events::BlockMirror;
use self::supervisor::Origin;
use super::{Engine, EngineError, EngineInfo, EngineLoad, Outputs};

pub use address::{EngineAddress, NotAnAddress};
pub use dialect::Dialect;
pub use launch::{KvConnector, LaunchOptions, NixlOptions};

/// What is assumed of an engine that does not say it: vLLM's defaults.
const MAX_SEQUENCES: usize = 256;
const MAX_BATCHED_TOKENS: usize = 8192;
/// Time by which our own lease ends before the engine's: clocks differ, and blocks take a while to
/// be read.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// How to run an engine outside this process.
#[derive(Debug, Clone)]
pub struct ExternalConfig {
    /// How it is spoken to.
    pub dialect: Dialect,
    /// The model's directory.
    pub model: PathBuf,
    /// Where it is; `None` starts it.
    pub address: Option<EngineAddress>,
    /// Key that it wants as a bearer token.
    pub key: Option<String>,
    /// What it should be like.
    pub options: LaunchOptions,
    /// Longest sequence that the model's files speak of, for engines that do not say theirs.
    pub context_length: usize,
    /// Requests that may be on their way to it before more are refused, beyond those that it runs
    /// at a time.
    pub queue: usize,
}

/// Why an engine outside this process does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// It could not be started.
    #[error("failed to start the engine: {0}")]
    Start(std::io::Error),
    /// It has no command of its own.
    #[error("nothing is known that starts an engine {0:?}: give --engine-url or --engine-command")]
    NoCommand(&'static str),
    /// It has ended.
    #[error("the engine ended before it served ({0}); its log says why")]
    Ended(String),
    /// It took too long.
    #[error("the engine did not serve within {} s; see --engine-start-timeout", .0.as_secs())]
    Late(Duration),
    /// Its tokens cannot be made.
    #[error("failed to read the tokenizer for the engine: {0}")]
    Tokenizer(#[from] tandem_tokenizer::Error),
}

/// An engine outside this process. Dropping it kills it; [`Engine::stop`] lets it end.
pub struct ExternalEngine {
    shared: Arc<Shared>,
    bootstrap: Option<(String, u16)>,
    stop_timeout: Duration,
}

/// A connection to an engine that serves.
#[derive(Clone)]
struct Live {
    client: HttpClient,
}

/// What requests and the supervisor share.
struct Shared {
    dialect: Dialect,
    info: EngineInfo,
    ranks: u32,
    models: Vec<String>,
    served_name: String,
    queue: usize,
    lease: Duration,
    live: Mutex<Option<Live>>,
    available: watch::Sender<bool>,
    given_up: watch::Sender<bool>,
    mirror: Arc<BlockMirror>,
    counters: Arc<Counters>,
    /// Whether the endpoint for tokens is there, as far as is known.
    tokens_endpoint: AtomicBool,
    /// Whether the engine has to be sent text.
    wants_text: AtomicBool,
    tokenizer: Option<Arc<Tokenizer>>,
    /// Where its sockets are.
    directory: tempfile::TempDir,
    tasks: Lifecycle,
}

impl ExternalEngine {
    /// Starts the engine, or finds it, and waits until it serves.
    ///
    /// # Errors
    /// It cannot be started, or does not serve in time.
    pub async fn start(config: ExternalConfig) -> Result<Self, ExternalError> {
        let ExternalConfig {
            dialect,
            model,
            address,
            key,
            options,
            context_length,
            queue,
        } = config;
        let tokenizer = match dialect {
            Dialect::OpenAi => Some(Arc::new(Tokenizer::from_dir(&model)?)),
            Dialect::Vllm | Dialect::Sglang | Dialect::TrtLlm => None,
        };
        // Only we may enter it.
        let directory = tempfile::Builder::new()
            .prefix("tandem-engine-")
            .tempdir()
            .map_err(ExternalError::Start)?;
        let tasks = Lifecycle::new();
        let origin = match address {
            Some(address) => Origin::Attach {
                address,
                key,
                start_timeout: options.start_timeout,
            },
            None => Origin::Launch(Box::new(options.clone()), model),
        };
        let running = origin.start(dialect, directory.path(), &tasks).await?;
        let description = &running.description;
        let info = info(dialect, description, &options, context_length);
        if dialect.publishes_events() && description.sources.is_empty() {
            warn!("the engine publishes no KV events: frontends do not know what it has cached");
        }
        let told = u32::try_from(options.data_parallel).unwrap_or(u32::MAX);
        let ranks = description.ranks.unwrap_or(told).max(1);
        let host = match &options.connector {
            KvConnector::Nixl(nixl) => nixl.host.to_string(),
            KvConnector::Null => running.live.client.address().host().to_owned(),
        };
        let bootstrap = description.bootstrap_port.map(|port| (host, port));
        let shared = Arc::new(Shared {
            dialect,
            ranks,
            models: description.models.clone(),
            served_name: options.served_name.clone(),
            queue,
            lease: lease(&options.connector),
            live: Mutex::new(None),
            available: watch::Sender::new(false),
            given_up: watch::Sender::new(false),
            mirror: Arc::new(BlockMirror::new(ranks as usize, info.block_size)),
            counters: Arc::new(Counters::new(ranks as usize)),
            tokens_endpoint: AtomicBool::new(true),
            wants_text: AtomicBool::new(false),
            tokenizer,
            directory,
            tasks,
            info,
        });
        let supervising = supervisor::supervise(Arc::clone(&shared), origin, running);
        shared.tasks.spawn_to_end(supervising);
        let engine = Self {
            shared,
            bootstrap,
            stop_timeout: options.stop_timeout,
        };
        let mut available = engine.available();
        tokio::select! {
            _ = available.wait_for(|available| *available) => Ok(engine),
            () = engine.gone() => Err(ExternalError::Ended("it ended at once".to_owned())),
        }
    }

    /// Data-parallel ranks.
    pub fn ranks(&self) -> u32 {
        self.shared.ranks
    }

    /// Where decode workers meet this one's prompts while they are computed, if they do.
    pub fn bootstrap(&self) -> Option<(&str, u16)> {
        self.bootstrap
            .as_ref()
            .map(|(host, port)| (host.as_str(), *port))
    }

    fn run(&self, request: EngineRequest, leg: Leg) -> Outputs {
        generate::run(Arc::clone(&self.shared), request, leg)
    }

    /// The part of a request whose parts are started at the same time.
    fn joined(&self, request: &EngineRequest, prefill: bool) -> Option<Leg> {
        let info = request.bootstrap_info.as_ref();
        let info = info.filter(|_| self.shared.dialect.joins_parts())?;
        Some(Leg::Joined(Bootstrap {
            host: info.bootstrap_host.clone(),
            port: info.bootstrap_port,
            room: info.bootstrap_room,
            prefill,
        }))
    }
}

impl Engine for ExternalEngine {
    fn check(&self, request: &EngineRequest) -> Result<(), EngineError> {
        self.shared.check(request)
    }

    fn submit(&self, mut request: EngineRequest) -> Outputs {
        let handed_over = request.disaggregated_params.take();
        if let Some(leg) = self.joined(&request, false) {
            return self.run(request, leg);
        }
        let leg = match handed_over.map(|params| Handoff::read(params, SystemTime::now())) {
            None => Leg::Whole,
            Some(Ok(handoff)) => Leg::Decode(handoff),
            Some(Err(reason)) => {
                warn!(
                    reason,
                    "the prompt's blocks are of no use, it is computed here"
                );
                self.shared.fall_back(&request, reason);
                Leg::Whole
            }
        };
        self.run(request, leg)
    }

    fn submit_prefill(&self, mut request: EngineRequest) -> Outputs {
        request.disaggregated_params = None;
        let leg = self.joined(&request, true).unwrap_or(Leg::Prefill);
        self.run(request, leg)
    }

    fn subscribe_kv_events(&self) -> KvEventSubscription {
        self.shared.mirror.subscribe()
    }

    fn load(&self) -> EngineLoad {
        counters::sum(self.loads())
    }

    fn loads(&self) -> Vec<EngineLoad> {
        let Shared {
            counters,
            info,
            mirror,
            ..
        } = &*self.shared;
        counters.loads(info.total_blocks, |rank| mirror.cached(rank))
    }

    fn available(&self) -> watch::Receiver<bool> {
        self.shared.available.subscribe()
    }

    fn gone(&self) -> BoxFuture<'static, ()> {
        let mut given_up = self.shared.given_up.subscribe();
        Box::pin(async move {
            // An engine that was dropped is gone as well.
            given_up.wait_for(|given_up| *given_up).await.ok();
        })
    }

    fn stop(&self) -> BoxFuture<'static, ()> {
        let tasks = self.shared.tasks.clone();
        let timeout = self.stop_timeout + Duration::from_secs(5);
        Box::pin(async move {
            if let Err(error) = tasks.stop(timeout).await {
                warn!(%error, "the engine's tasks did not end");
            }
        })
    }

    fn info(&self) -> &EngineInfo {
        &self.shared.info
    }
}

impl Drop for ExternalEngine {
    fn drop(&mut self) {
        self.shared.tasks.stopping().cancel();
    }
}

impl Live {
    async fn healthy(&self, dialect: Dialect) -> bool {
        let answer = self.client.get(dialect.health()).await;
        answer.is_ok_and(|answer| answer.status.is_success())
    }
}

impl Shared {
    fn live(&self) -> Option<Live> {
        self.live.lock().clone()
    }

    fn set_live(&self, live: Option<Live>) {
        let available = live.is_some();
        *self.live.lock() = live;
        self.available.send_replace(available);
    }

    /// Forgets what was known of an engine that is no more.
    fn forget(&self) {
        for rank in 0..self.ranks {
            self.mirror.forget(rank);
        }
        self.counters.forget_figures();
    }

    fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn check(&self, request: &EngineRequest) -> Result<(), EngineError> {
        let (tokens, limit) = (request.token_ids.len(), self.info.context_length);
        if tokens == 0 {
            return Err(EngineError::Invalid("prompt is empty".to_owned()));
        }
        if tokens >= limit {
            return Err(EngineError::PromptTooLong { tokens, limit });
        }
        self.dialect.check(request)?;
        if let Some(name) = &request.lora_name
            && !self.info.adapters.contains(name)
        {
            return Err(EngineError::Invalid(format!(
                "there is no adapter {name:?}"
            )));
        }
        let in_flight = self.counters.in_flight();
        let waiting = in_flight.saturating_sub(self.info.max_sequences);
        if waiting >= self.queue.max(1) {
            return Err(EngineError::QueueFull { waiting });
        }
        Ok(())
    }

    /// The rank that has to answer, if there are several.
    fn rank(&self, request: &EngineRequest) -> Option<u32> {
        let rank = request.dp_rank.unwrap_or(0).min(self.ranks - 1);
        (self.ranks > 1).then_some(rank)
    }

    /// The model's name as the engine knows it: that of an adapter, or of the model itself.
    fn model<'a>(&'a self, request: &'a EngineRequest) -> &'a str {
        match self.models.iter().find(|model| **model == request.model) {
            Some(model) => model,
            None => self.models.first().unwrap_or(&self.served_name),
        }
    }

    fn fall_back(self: &Arc<Self>, request: &EngineRequest, reason: &'static str) {
        let rank = self.rank(request).unwrap_or(0);
        self.counters.note_fallback(rank, reason);
    }

    fn hand_over(&self, params: Params, now: SystemTime) -> Handoff {
        match params {
            Params::KvTransferParams(_) => Handoff::leased(params, self.lease, now),
            Params::ContextParams(_) => Handoff::unlimited(params),
        }
    }

    /// Whether the engine may have to be sent text, and can be.
    fn may_want_text(&self) -> bool {
        self.tokenizer.is_some()
    }

    fn text_of(&self, tokens: &[u32]) -> Result<String, Trouble> {
        let tokenizer = self.tokenizer.as_ref().ok_or_else(no_tokenizer)?;
        tokenizer.decode(tokens, false).map_err(|error| {
            Trouble::Refused(EngineError::Invalid(format!("prompt is no text: {error}")))
        })
    }

    fn tokens_of(&self, text: &str) -> Result<Vec<u32>, Trouble> {
        let tokenizer = self.tokenizer.as_ref().ok_or_else(no_tokenizer)?;
        tokenizer
            .encode(text, false)
            .map_err(|error| Trouble::Refused(EngineError::Failed(error.to_string())))
    }
}

fn no_tokenizer() -> Trouble {
    let reason = "the engine answers with text instead of tokens";
    Trouble::Refused(EngineError::Failed(reason.to_owned()))
}

/// Our own lease.
fn lease(connector: &KvConnector) -> Duration {
    match connector {
        KvConnector::Null => Duration::ZERO,
        KvConnector::Nixl(nixl) => match nixl.lease.checked_sub(LEASE_MARGIN) {
            Some(lease) if lease >= nixl.lease / 3 => lease,
            _ => nixl.lease / 3,
        },
    }
}

/// What the engine says of itself, then what it was told, then what is usual.
fn info(
    dialect: Dialect,
    description: &Description,
    options: &LaunchOptions,
    model: usize,
) -> EngineInfo {
    let context_length = description.context_length.or(options.context_length);
    let block_size = description.block_size.or(options.block_size);
    let total_blocks = description.total_blocks.or(options.kv_blocks);
    let max_sequences = description.max_sequences.or(options.max_sequences);
    let info = EngineInfo {
        block_size: block_size.unwrap_or(dialect.block_size()).max(1),
        total_blocks: total_blocks.unwrap_or(0),
        max_sequences: max_sequences.unwrap_or(MAX_SEQUENCES),
        context_length: context_length.unwrap_or(model),
        max_batched_tokens: options.max_batched_tokens.unwrap_or(MAX_BATCHED_TOKENS),
        // It knows its own.
        eos_token_ids: Vec::new(),
        adapters: options
            .adapters
            .iter()
            .map(|one| one.name.clone())
            .collect(),
    };
    info!(
        context_length = info.context_length,
        block_size = info.block_size,
        total_blocks = info.total_blocks,
        models = ?description.models,
        "engine is known"
    );
    info
}
