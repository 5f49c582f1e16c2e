//! `tandem up`: the whole stack in one process.

mod banner;
mod stack;

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tandem_frontend::FrontendArgs;
use tandem_worker::engine::embedded::{Device, Speculation};
use tokio::net::TcpListener;
use tracing::info;

use super::{bind, block_on};
use crate::args::CacheArgs;
use crate::model::{ModelArgs, QuantizationArg};
use crate::signals::Signals;
use crate::tiers::TierArgs;
use crate::workers_spec::WorkersSpec;

/// Most time from the first signal to the end of the process.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `tandem up`.
#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    /// Address that both ports listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,

    /// Port of the gateway, which routes by meaning; 0 takes any free port
    #[arg(long, default_value_t = 8080)]
    pub port: u16,

    /// Port of the frontend, which serves the model directly; 0 takes any free port
    #[arg(long, default_value_t = 8000)]
    pub frontend_port: u16,

    /// Workers to run: prefill=N,decode=M, or both=N
    #[arg(long, default_value = "prefill=1,decode=1", value_name = "SPEC")]
    pub workers: WorkersSpec,

    #[command(flatten)]
    pub model: ModelArgs,

    /// Router configuration file [default: every domain to the served model]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What the engines compute on: cpu, cuda, or cuda:N for the Nth GPU
    #[arg(long, env = "TANDEM_DEVICE", default_value_t, value_name = "DEVICE")]
    pub device: Device,

    /// Threads of each engine [default: all processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// Rounds each engine's weights when they are loaded
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub quantization: QuantizationArg,

    /// KV cache of each worker, in blocks of 16 tokens
    #[arg(long, default_value_t = 2048, value_name = "BLOCKS")]
    pub kv_blocks: usize,

    /// Longest prompt and answer together, in tokens [default: the model's]
    #[arg(long, value_name = "TOKENS")]
    pub max_model_len: Option<usize>,

    /// Guesses tokens ahead by what came before, which changes no answer; in vLLM's words, such as
    /// '{"method":"ngram","num_speculative_tokens":5}'
    #[arg(long, env = "TANDEM_SPECULATIVE_CONFIG", value_name = "JSON")]
    pub speculative_config: Option<Speculation>,

    #[command(flatten)]
    pub tiers: TierArgs,

    #[command(flatten)]
    pub frontend: FrontendArgs,

    #[command(flatten)]
    pub cache: CacheArgs,
}

/// Runs until a signal asks to stop.
pub(crate) fn run(args: &UpArgs) -> Result<()> {
    block_on(serve(args))
}

async fn serve(args: &UpArgs) -> Result<()> {
    // The cheap things that can be wrong come first.
    let listeners = Listeners {
        gateway: bind(args.host, args.port, "--port").await?,
        frontend: bind(args.host, args.frontend_port, "--frontend-port").await?,
    };
    let mut signals = Signals::install()?;
    let stack = tokio::select! {
        stack = stack::start(args, listeners) => stack?,
        () = signals.next() => return Ok(()),
    };
    banner::print(&stack.summary);
    signals.next().await;
    info!("stopping: requests in flight may finish");
    let stopped = tokio::time::timeout(STOP_TIMEOUT, stack.stop());
    tokio::select! {
        stopped = stopped => {
            if stopped.is_err() {
                info!("stopped with requests in flight: they took too long");
            }
        }
        () = signals.next() => info!("stopped at once: second signal"),
    }
    Ok(())
}

/// The bound ports.
struct Listeners {
    gateway: TcpListener,
    frontend: TcpListener,
}
