//! From a model directory to a worker that serves.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tandem_kv_cache::transfer;
use tandem_runtime::Lifecycle;
use tandem_tokenizer::ModelCard;
use tandem_tokenizer::model_card::{DisaggregatedEndpoint, RuntimeConfig};
use tokio::net::TcpListener;

use crate::engine::Engine;
use crate::engine::embedded::model::ModelError;
use crate::engine::embedded::{EmbeddedConfig, EmbeddedEngine, TransferConfig};
use crate::engine::external::{ExternalConfig, ExternalEngine, ExternalError};
use crate::engine::mock::MockConfig;
use crate::serve::{Planes, RunningWorker, ServeError, WorkerRole};

/// How long a prefill worker holds blocks for a decode worker that does not come.
const TRANSFER_LEASE: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The model's files.
    pub directory: PathBuf,
    /// The model's card; capacity and role are filled in here.
    pub card: ModelCard,
    /// Which part of a request the worker takes.
    pub role: WorkerRole,
    /// Deployment that the worker joins.
    pub namespace: String,
    /// Address on which the worker gives KV blocks to others.
    pub transfer_host: IpAddr,
    /// Whether a prefill worker hands its KV blocks over.
    pub transfer: bool,
    /// Settings of the engine.
    pub engine: EmbeddedConfig,
    /// Runs a mock of the model instead of the model.
    pub mock: Option<MockConfig>,
    /// Has an engine outside this process run the model.
    pub external: Option<ExternalConfig>,
}

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The model cannot be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The engine outside this process does not serve.
    #[error(transparent)]
    External(#[from] ExternalError),
    /// The address for KV transfers is not usable.
    #[error("failed to listen for KV transfers on {host}: {source}")]
    Transfer {
        /// The address.
        host: IpAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The worker could not join.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A defect: the loading thread died.
    #[error("loading the model crashed")]
    Crashed,
}

/// A worker with its engine.
pub struct Worker {
    engine: Arc<dyn Engine>,
    running: RunningWorker,
    transfers: Lifecycle,
}

impl Worker {
    /// Loads the model, starts the engine and joins.
    ///
    /// # Errors
    /// The model cannot be run, or the worker cannot be reached or registered.
    pub async fn launch(options: WorkerOptions, planes: Planes) -> Result<Self, LaunchError> {
        let role = options.role;
        let namespace = options.namespace.clone();
        let transfers = Lifecycle::new();
        let (engine, card) = match options.external.clone() {
            Some(external) => outside(options.card, external).await?,
            None => inside(options, &transfers).await?,
        };
        let card = with_capacity(card, &*engine);
        let running =
            RunningWorker::start(Arc::clone(&engine), card, role, &namespace, planes).await?;
        Ok(Self {
            engine,
            running,
            transfers,
        })
    }

    /// The engine, for metrics.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Tells that the process serves the OpenAI API itself, at `address`.
    ///
    /// # Errors
    /// The worker could not register once more.
    pub async fn advertise(&self, address: SocketAddr) -> Result<(), ServeError> {
        self.running.advertise(address).await
    }

    /// Asks for no more requests; those that come nevertheless are still served.
    pub async fn leave(&self) {
        self.running.leave().await;
    }

    /// Lets the requests in flight finish, then stops, and the engine after that.
    pub async fn stop(self) {
        self.running.stop().await;
        self.transfers.stopping().cancel();
        self.engine.stop().await;
    }
}

/// An engine in this process; `transfers` hands its blocks over.
async fn inside(
    options: WorkerOptions,
    transfers: &Lifecycle,
) -> Result<(Arc<dyn Engine>, ModelCard), LaunchError> {
    let WorkerOptions {
        directory,
        mut card,
        role,
        transfer_host,
        transfer,
        mut engine,
        mock,
        ..
    } = options;
    let hands_over = role == WorkerRole::Prefill && transfer;
    let mut listening = None;
    if hands_over || engine.tiers.peers {
        let (listener, address) = listen(transfer_host).await?;
        if hands_over {
            engine.transfer = Some(TransferConfig {
                address: address.clone(),
                lease: TRANSFER_LEASE,
            });
        }
        if engine.tiers.peers {
            card.runtime_config.kv_peer_address = Some(address);
        }
        listening = Some(listener);
    }
    let load = move || match mock {
        None => EmbeddedEngine::load(&directory, engine),
        Some(mock) => EmbeddedEngine::mock(&directory, mock, engine),
    };
    let engine = tokio::task::spawn_blocking(load)
        .await
        .map_err(|_| LaunchError::Crashed)??;
    if let Some(listener) = listening {
        let stop = transfers.stopping().clone();
        transfers.spawn_to_end(transfer::serve(listener, engine.offer(), stop));
    }
    Ok((Arc::new(engine), card))
}

/// An engine outside this process, and what its card has to say of it.
async fn outside(
    mut card: ModelCard,
    config: ExternalConfig,
) -> Result<(Arc<dyn Engine>, ModelCard), LaunchError> {
    let engine = ExternalEngine::start(config).await?;
    let runtime = &mut card.runtime_config;
    runtime.data_parallel_size = (engine.ranks() > 1).then(|| engine.ranks());
    runtime.disaggregated_endpoint = engine
        .bootstrap()
        .map(|(host, port)| DisaggregatedEndpoint {
            bootstrap_host: host.to_owned(),
            bootstrap_port: port,
        });
    Ok((Arc::new(engine), card))
}

/// Takes any free port of `host` for handing blocks over, and says where that is.
async fn listen(host: IpAddr) -> Result<(TcpListener, String), LaunchError> {
    let failed = |source| LaunchError::Transfer { host, source };
    let listener = TcpListener::bind(SocketAddr::new(host, 0))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?.to_string();
    Ok((listener, address))
}

/// What a frontend must know of this engine: a prompt that passes its check there fits here.
fn with_capacity(card: ModelCard, engine: &dyn Engine) -> ModelCard {
    let info = engine.info();
    let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let count = |value: usize| u64::try_from(value).ok();
    ModelCard {
        context_length: narrow(info.context_length),
        kv_cache_block_size: narrow(info.block_size),
        runtime_config: RuntimeConfig {
            total_kv_blocks: count(info.total_blocks),
            max_num_seqs: count(info.max_sequences),
            max_num_batched_tokens: count(info.max_batched_tokens),
            ..card.runtime_config
        },
        ..card
    }
}
