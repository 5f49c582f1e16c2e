//! Keeps an engine running, or watches one that somebody else runs.
//!
//! An engine's life is an epoch after the other: it is started, it answers, its KV events are
//! followed, and only then does the worker take requests. When it ends, nothing that was known of
//! its cache holds any more.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_runtime::Lifecycle;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::address::EngineAddress;
use super::dialect::{Description, Dialect};
use super::http::HttpClient;
use super::kv_events::{self, BlockMirror, EventSource};
use super::launch::{LaunchOptions, Sockets};
use super::process::EngineProcess;
use super::{ExternalError, Live, Shared};

/// How often an engine that starts, or runs, is asked for its health.
const STARTING_INTERVAL: Duration = Duration::from_millis(250);
const RUNNING_INTERVAL: Duration = Duration::from_secs(1);
/// How often is said that an engine is still starting.
const PROGRESS: Duration = Duration::from_secs(10);
/// Answers in a row that an engine is not well before it is taken for gone.
const UNWELL: u32 = 3;
/// Most time to learn what an engine has cached.
const CATCH_UP: Duration = Duration::from_secs(30);
/// Pauses before an engine is started again: the first and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// An engine that served for so long had no trouble with its start.
const SETTLED: Duration = Duration::from_secs(60);
/// Starts that fail in a row before it is given up.
const ATTEMPTS: u32 = 10;

/// Where the engine comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// It is started here, with these options, to run the model in the directory.
    Launch(Box<LaunchOptions>, PathBuf),
    /// Somebody else runs it.
    Attach {
        address: EngineAddress,
        key: Option<String>,
        start_timeout: Duration,
    },
}

/// An engine that answers.
pub(super) struct Running {
    process: Option<EngineProcess>,
    pub(super) live: Live,
    pub(super) description: Description,
}

impl Origin {
    /// Starts the engine, or finds it, and waits until it answers.
    pub(super) async fn start(
        &self,
        dialect: Dialect,
        directory: &std::path::Path,
        tasks: &Lifecycle,
    ) -> Result<Running, ExternalError> {
        let (mut process, address, timeout, own_sources) = match self {
            Self::Attach {
                address,
                start_timeout,
                ..
            } => (None, address.clone(), *start_timeout, Vec::new()),
            Self::Launch(options, model) => {
                let (process, sockets) = launch(dialect, model, options, directory, tasks)?;
                let sources = match dialect.publishes_events() {
                    true => sockets.sources(options.data_parallel),
                    false => Vec::new(),
                };
                let timeout = options.start_timeout;
                (Some(process), sockets.address(), timeout, sources)
            }
        };
        let key = match self {
            Self::Attach { key, .. } => key.as_deref(),
            Self::Launch(..) => None,
        };
        let live = Live {
            client: HttpClient::new(address, key, tasks),
        };
        let healthy = wait_until_healthy(dialect, &live, process.as_mut());
        match tokio::time::timeout(timeout, healthy).await {
            Ok(healthy) => healthy?,
            Err(_) => {
                if let Some(process) = process {
                    process.stop(self.stop_timeout()).await;
                }
                return Err(ExternalError::Late(timeout));
            }
        }
        let mut description = describe(dialect, &live).await;
        if description.sources.is_empty() {
            // Not all engines say where it is that they publish what they were told to.
            description.sources = own_sources;
        }
        Ok(Running {
            process,
            live,
            description,
        })
    }

    fn stop_timeout(&self) -> Duration {
        match self {
            Self::Launch(options, _) => options.stop_timeout,
            Self::Attach { .. } => Duration::ZERO,
        }
    }
}

fn launch(
    dialect: Dialect,
    model: &std::path::Path,
    options: &LaunchOptions,
    directory: &std::path::Path,
    tasks: &Lifecycle,
) -> Result<(EngineProcess, Sockets), ExternalError> {
    // Sockets of an engine that was killed are still there, and would be in the way.
    let fresh = tempfile::tempdir_in(directory)
        .map_err(ExternalError::Start)?
        .keep();
    let sockets = Sockets::reserve(dialect, &fresh, options).map_err(ExternalError::Start)?;
    let mut flags = dialect.flags(model, options, &sockets);
    flags.yield_to(&options.extra_args);
    for (name, content) in &flags.files {
        std::fs::write(fresh.join(name), content).map_err(ExternalError::Start)?;
    }
    let command = options.command.as_deref().or(dialect.command());
    let command = command.ok_or(ExternalError::NoCommand(dialect.name()))?;
    let process = EngineProcess::start((command, &options.extra_args), &flags, directory, tasks)
        .map_err(ExternalError::Start)?;
    Ok((process, sockets))
}

async fn wait_until_healthy(
    dialect: Dialect,
    live: &Live,
    mut process: Option<&mut EngineProcess>,
) -> Result<(), ExternalError> {
    let started = Instant::now();
    let mut said = PROGRESS;
    loop {
        if live.healthy(dialect).await {
            info!(
                seconds = started.elapsed().as_secs(),
                address = %live.client.address(),
                "engine answers"
            );
            return Ok(());
        }
        let ended = async {
            match &mut process {
                Some(process) => process.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = ended => return Err(ExternalError::Ended(match ended {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            })),
            () = tokio::time::sleep(STARTING_INTERVAL) => {}
        }
        let waited = started.elapsed();
        if waited >= said {
            said += PROGRESS;
            info!(seconds = waited.as_secs(), "waiting for the engine");
        }
    }
}

async fn describe(dialect: Dialect, live: &Live) -> Description {
    let mut answers = Vec::new();
    for path in dialect.questions() {
        let answer = live.client.get(path).await.ok();
        answers.push(answer.filter(|answer| answer.status.is_success()));
    }
    dialect.describe(&answers, live.client.address().host())
}

/// Keeps the engine serving until `shared.tasks` stop, or it is given up. `running` is the engine
/// that the worker was started with.
pub(super) async fn supervise(shared: Arc<Shared>, origin: Origin, mut running: Running) {
    let stopping = shared.tasks.stopping().clone();
    let mut attempts = Attempts::default();
    loop {
        let since = Instant::now();
        let epoch = shared.tasks.child();
        let served = Box::pin(serve(&shared, &mut running, &epoch));
        let end = stopping.run_until_cancelled(served).await;
        shared.set_live(None);
        if epoch.stop(Duration::from_secs(1)).await.is_err() {
            warn!("tasks of the engine did not end");
        }
        shared.forget();
        let Some(reason) = end else {
            if let Some(process) = running.process.take() {
                process.stop(origin.stop_timeout()).await;
            }
            return;
        };
        warn!(reason, "the engine has failed");
        // What is left of it must not hold what the next one needs.
        drop(running.process.take());
        if since.elapsed() > SETTLED {
            attempts = Attempts::default();
        }
        let restarted = Box::pin(restart(&shared, &origin, &mut attempts));
        running = match stopping.run_until_cancelled(restarted).await {
            None => return,
            Some(Some(running)) => running,
            Some(None) => {
                shared.give_up();
                return;
            }
        };
    }
}

/// How often an engine was started of late.
struct Attempts {
    failures: u32,
    pause: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            failures: 0,
            pause: BACKOFF.0,
        }
    }
}

/// Starts the engine until it serves; `None` if it is given up. One that somebody else runs never is.
async fn restart(shared: &Shared, origin: &Origin, attempts: &mut Attempts) -> Option<Running> {
    loop {
        let pause = attempts.pause;
        info!(
            seconds = pause.as_secs(),
            "the engine is started again after a pause"
        );
        tokio::time::sleep(pause).await;
        attempts.pause = (pause * 2).min(BACKOFF.1);
        let started = origin.start(shared.dialect, shared.directory(), &shared.tasks);
        match started.await {
            Ok(running) => return Some(running),
            Err(error) => warn!(%error, "failed to start the engine"),
        }
        attempts.failures += 1;
        if attempts.failures >= ATTEMPTS && matches!(origin, Origin::Launch(..)) {
            warn!(failures = attempts.failures, "the engine is given up");
            return None;
        }
    }
}

/// Serves with a running engine until it ends or is not well; says how.
async fn serve(shared: &Arc<Shared>, running: &mut Running, epoch: &Lifecycle) -> String {
    follow_events(&running.description.sources, &shared.mirror, epoch).await;
    let figures = Arc::clone(&shared.counters).poll(shared.dialect, running.live.client.clone());
    epoch.spawn(figures);
    shared.set_live(Some(running.live.clone()));
    let mut unwell = 0;
    loop {
        let ended = async {
            match &mut running.process {
                Some(process) => process.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = ended => return match ended {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            },
            () = tokio::time::sleep(RUNNING_INTERVAL) => {}
        }
        // An engine that is asked to end may still say that it is well, but not the other way round.
        if running.live.healthy(shared.dialect).await {
            unwell = 0;
        } else {
            unwell += 1;
            if unwell >= UNWELL {
                return format!("it was not well {UNWELL} times");
            }
        }
    }
}

/// Follows the events of all ranks, and waits until everything that was told before is known.
async fn follow_events(sources: &[EventSource], mirror: &Arc<BlockMirror>, epoch: &Lifecycle) {
    let mut waiting = Vec::new();
    for source in sources {
        let (caught_up, done) = oneshot::channel();
        let following = kv_events::follow(source.clone(), Arc::clone(mirror), caught_up);
        epoch.spawn(following);
        waiting.push(done);
    }
    let all = futures::future::join_all(waiting);
    if tokio::time::timeout(CATCH_UP, all).await.is_err() {
        warn!("the engine's KV events do not come: its cache is not known");
    }
}
