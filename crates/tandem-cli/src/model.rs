//! From `--model` to a directory, downloading from a hub where needed.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tandem_tokenizer::HubOptions;
use tandem_tokenizer::hub::{self, DownloadEvent, OnProgress};

/// How to reach a model hub.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HubArgs {
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
pub(crate) async fn resolve(model: &str, args: &HubArgs) -> Result<PathBuf> {
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
