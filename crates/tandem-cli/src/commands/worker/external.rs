//! Flags of engines outside this process.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use tandem_tokenizer::ModelCard;
use tandem_worker::engine::external::{
    Dialect, EngineAddress, ExternalConfig, KvConnector, LaunchOptions, NixlOptions,
};
use tandem_worker::engine::{LoraModule, offloading_connector_config};

use super::{Connector, EngineArgs, WorkerCommandArgs};

/// Requests that may wait for an engine, as for the embedded one.
const QUEUE: usize = 1024;

/// How an engine outside this process is run.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Engine outside: vllm, sglang, trtllm, openai")]
pub(super) struct ExternalArgs {
    /// Address of an engine that runs already, `http://HOST:PORT`, `https://HOST` or `unix:PATH`,
    /// instead of one that the worker starts
    #[arg(long, value_name = "URL")]
    engine_url: Option<EngineAddress>,

    /// Key that the engine at --engine-url wants as a bearer token
    #[arg(
        long,
        value_name = "KEY",
        env = "TANDEM_ENGINE_API_KEY",
        hide_env_values = true
    )]
    engine_api_key: Option<String>,

    /// Command that starts the engine, in the words of a shell; the model and the flags follow
    /// [default: `vllm serve`, `python3 -m sglang.launch_server`, `trtllm-serve`]
    #[arg(long, value_name = "COMMAND", conflicts_with = "engine_url")]
    engine_command: Option<String>,

    /// More arguments for the engine, in the words of a shell; they replace the worker's own
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true,
        conflicts_with = "engine_url"
    )]
    engine_args: String,

    /// Seconds until the engine must serve: it may have to read a large model
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    engine_start_timeout: u64,

    /// Seconds that the engine gets to end before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    engine_stop_timeout: u64,

    /// Copies of the model inside the engine, each with a cache of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    data_parallel_size: usize,

    /// Port on which engines meet to move KV blocks [default: any free one]
    #[arg(long, value_name = "PORT", env = "VLLM_NIXL_SIDE_CHANNEL_PORT")]
    nixl_port: Option<u16>,

    /// Memory that NIXL moves KV blocks through, such as `cpu` [default: the engine's own]
    #[arg(long, value_name = "DEVICE")]
    kv_buffer_device: Option<String>,

    /// Seconds that a prefill engine holds the KV blocks of a prompt; they are not read in the last
    /// ten of them
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(3..))]
    kv_lease: u64,
}

impl ExternalArgs {
    /// Says what was asked for but cannot be; `tiers` is whether there are some below the cache.
    pub(super) fn check(&self, engine: &EngineArgs, tiers: bool) -> Result<()> {
        match engine.engine.dialect() {
            Some(dialect)
                if tiers
                    && (dialect != Dialect::Vllm
                        || self.engine_url.is_some()
                        || engine.connector() != Connector::Null) =>
            {
                bail!(
                    "tiers below the cache of an engine outside are for a vLLM that the worker \
                     starts, without --connector nixl"
                )
            }
            None if self.engine_url.is_some() || self.engine_command.is_some() => bail!(
                "--engine-url and --engine-command are for engines outside this process: give \
                 --engine vllm, sglang, trtllm or openai as well"
            ),
            Some(dialect)
                if dialect.command().is_none()
                    && self.engine_url.is_none()
                    && self.engine_command.is_none() =>
            {
                bail!("--engine {} needs --engine-url", dialect.name())
            }
            _ => Ok(()),
        }
    }
}

impl WorkerCommandArgs {
    /// The engine outside this process that runs the model in `directory`; `None` if it is one
    /// inside.
    pub(super) fn external(
        &self,
        directory: &Path,
        card: &ModelCard,
        adapters: &[LoraModule],
    ) -> Option<ExternalConfig> {
        let Self {
            engine, external, ..
        } = self;
        let dialect = engine.engine.dialect()?;
        let connector = match engine.connector() {
            Connector::Nixl => KvConnector::Nixl(NixlOptions {
                host: self.planes.host(),
                port: external.nixl_port,
                buffer_device: external.kv_buffer_device.clone(),
                lease: Duration::from_secs(external.kv_lease),
            }),
            Connector::Tcp | Connector::Null => KvConnector::Null,
        };
        Some(ExternalConfig {
            dialect,
            model: directory.to_owned(),
            address: external.engine_url.clone(),
            key: external.engine_api_key.clone(),
            options: LaunchOptions {
                command: external.engine_command.clone(),
                extra_args: external.engine_args.clone(),
                served_name: card.display_name.clone(),
                role: self.role(),
                block_size: engine.block_size.map(|size| size as usize),
                kv_blocks: engine.kv_blocks,
                context_length: engine.max_model_len,
                max_sequences: engine.max_num_seqs,
                max_batched_tokens: engine.max_num_batched_tokens,
                memory_fraction: engine.gpu_memory_utilization,
                tensor_parallel: engine.tensor_parallel_size,
                data_parallel: external.data_parallel_size,
                enforce_eager: engine.enforce_eager,
                adapters: adapters.to_vec(),
                speculation: engine.speculative_config.clone(),
                connector,
                offloading: offloading_connector_config(&self.tiers.config(&self.cache)),
                start_timeout: Duration::from_secs(external.engine_start_timeout),
                stop_timeout: Duration::from_secs(external.engine_stop_timeout),
            },
            context_length: card.context_length as usize,
            queue: QUEUE,
        })
    }
}
