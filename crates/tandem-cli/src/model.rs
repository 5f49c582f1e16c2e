//! From `--model` to a directory, downloading from a hub where needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tandem_tokenizer::HubOptions;
use tandem_tokenizer::hub::{self, DownloadEvent, OnProgress};
use tandem_tokenizer::model_card::{CardSettings, ModelType, RuntimeConfig};

use crate::args::CacheArgs;
use crate::shipped::NANO_CHAT;

/// Which model is served, and as what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ModelArgs {
    /// Model directory, or model on the Hugging Face hub, as `ORG/NAME` or `ORG/NAME@REVISION`
    /// (default: the small chat model inside this binary)
    #[arg(long, value_name = "PATH_OR_HUB_ID")]
    model: Option<String>,

    /// Name under which the model is served [default: the hub id or the directory's name]
    #[arg(long, value_name = "NAME")]
    served_model_name: Option<String>,

    #[command(flatten)]
    hub: HubArgs,
}

impl ModelArgs {
    /// The directory of the model's files.
    pub(crate) async fn directory(&self, cache: &CacheArgs) -> Result<PathBuf> {
        match &self.model {
            Some(model) => resolve(model, &self.hub).await,
            None => {
                let cache = cache.directory();
                tokio::task::spawn_blocking(move || NANO_CHAT.unpack(&cache)).await?
            }
        }
    }

    /// The name that clients use for the model in `directory`.
    pub(crate) fn served_name(&self, directory: &Path) -> String {
        if let Some(name) = &self.served_model_name {
            return name.clone();
        }
        match &self.model {
            None => NANO_CHAT.name.to_owned(),
            Some(model) if Path::new(model).exists() => directory
                .file_name()
                .map_or_else(|| model.clone(), |name| name.to_string_lossy().into_owned()),
            Some(model) => model.split('@').next().unwrap_or(model).to_owned(),
        }
    }
}

/// What a model's directory does not say; capacity and role are each worker's own.
pub(crate) fn card_settings(name: &str, block_size: u32) -> CardSettings {
    CardSettings {
        display_name: Some(name.to_owned()),
        max_context_length: None,
        kv_cache_block_size: block_size,
        model_type: ModelType::CHAT.union(ModelType::COMPLETIONS),
        runtime_config: RuntimeConfig::default(),
    }
}

/// How to reach a model hub.
#[derive(Debug, Clone, clap::Args)]
struct HubArgs {
    /// Access token for gated models on the hub
    #[arg(long, env = "HF_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    hf_token: Option<String>,

    /// Address of the hub
    #[arg(long, env = "HF_ENDPOINT", default_value = HubOptions::ENDPOINT, value_name = "URL")]
    hf_endpoint: String,

    /// Directory that downloaded models are kept in [default: ~/.cache/huggingface/hub]
    #[arg(long, env = "HF_HUB_CACHE", value_name = "DIR")]
    hf_cache: Option<PathBuf>,

    /// Use only what has been downloaded before
    #[arg(long, env = "HF_HUB_OFFLINE")]
    hf_offline: bool,
}

/// The directory of the model that the user named: a path, or a hub id.
async fn resolve(model: &str, args: &HubArgs) -> Result<PathBuf> {
    let cache = args
        .hf_cache
        .clone()
        .or_else(|| dirs::home_dir().map(|home| home.join(".cache/huggingface/hub")))
        .ok_or_else(|| anyhow!("no home directory to keep models in; use --hf-cache"))?;
    let options = HubOptions {
        cache,
        endpoint: args.hf_endpoint.clone(),
        token: args.hf_token.clone(),
        offline: args.hf_offline,
        weights: true,
    };
    Ok(hub::resolve(model, &options, progress_bars()).await?)
}

/// One bar a file, on a terminal only.
fn progress_bars() -> OnProgress {
    let bars = MultiProgress::new();
    let files: Mutex<Vec<(String, ProgressBar)>> = Mutex::default();
    Arc::new(move |event| {
        let mut files = files.lock();
        let find = |name: &str| files.iter().position(|(file, _)| file == name);
        match event {
            DownloadEvent::Started { file, bytes } => {
                let bar = bars.add(ProgressBar::new(bytes));
                let style = "{msg:32} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}";
                if let Ok(style) = ProgressStyle::with_template(style) {
                    bar.set_style(style);
                }
                bar.set_message(file.clone());
                files.push((file, bar));
            }
            DownloadEvent::Advanced { file, bytes } => {
                if let Some(at) = find(&file) {
                    files[at].1.inc(bytes);
                }
            }
            DownloadEvent::Finished { file } => {
                if let Some(at) = find(&file) {
                    files[at].1.finish();
                }
            }
        }
    })
}
