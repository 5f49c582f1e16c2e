//! From `--model` to a directory, downloading from a hub where needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tandem_tokenizer::HubOptions;
use tandem_tokenizer::hub::{self, DownloadEvent, HubFiles, OnProgress};
use tandem_tokenizer::model_card::{CardSettings, ModelType, RuntimeConfig};
use tandem_worker::engine::LoraModule;
use tandem_worker::engine::embedded::Quantization;

use crate::args::CacheArgs;
use crate::shipped::NANO_CHAT;

/// Which model is served, and as what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ModelArgs {
    /// Model directory, a GGUF file in one, or model on the Hugging Face hub, as `ORG/NAME` or
    /// `ORG/NAME@REVISION`
    /// (default: the small chat model inside this binary)
    #[arg(long, value_name = "PATH_OR_HUB_ID")]
    model: Option<String>,

    /// Name under which the model is served [default: the hub id or the directory's name]
    #[arg(long, value_name = "NAME")]
    served_model_name: Option<String>,

    /// LoRA adapters of the model, as PEFT saves them: directories, or adapters on the hub. Requests
    /// whose model is NAME are answered with it
    #[arg(
        long,
        value_name = "NAME=PATH_OR_HUB_ID",
        num_args = 1..,
        value_parser = lora_module
    )]
    lora_modules: Vec<(String, String)>,

    #[command(flatten)]
    hub: HubArgs,
}

fn lora_module(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, source)) if !name.is_empty() && !source.is_empty() => {
            Ok((name.to_owned(), source.to_owned()))
        }
        _ => Err("must be NAME=PATH or NAME=ORG/ADAPTER".to_owned()),
    }
}

impl ModelArgs {
    /// Whether the model has adapters.
    pub(crate) fn wants_adapters(&self) -> bool {
        !self.lora_modules.is_empty()
    }

    /// The adapters' files, of a model that is served as `model`.
    pub(crate) async fn adapters(&self, model: &str) -> Result<Vec<LoraModule>> {
        let mut modules: Vec<LoraModule> = Vec::new();
        for (name, source) in &self.lora_modules {
            if name == model || modules.iter().any(|module| module.name == *name) {
                bail!("--lora-modules: there is more than one model {name:?}");
            }
            let directory = resolve(source, &self.hub, HubFiles::Adapter)
                .await
                .with_context(|| format!("--lora-modules {name}"))?;
            modules.push(LoraModule {
                name: name.clone(),
                directory,
            });
        }
        Ok(modules)
    }

    /// The directory of the model's files.
    pub(crate) async fn directory(&self, cache: &CacheArgs) -> Result<PathBuf> {
        match &self.model {
            Some(model) => resolve(model, &self.hub, HubFiles::Model).await,
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

/// How weights are rounded when they are loaded. GGUF files that are rounded already stay as they
/// are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum QuantizationArg {
    /// Not at all: answers are those of the checkpoint
    #[default]
    None,
    /// 8 bits: half the memory of bf16 and hardly another answer
    #[value(name = "q8_0")]
    Q8_0,
    /// 4 bits, the output layer 8: a quarter of the memory and somewhat other answers
    #[value(name = "q4k")]
    Q4K,
}

impl From<QuantizationArg> for Quantization {
    fn from(arg: QuantizationArg) -> Self {
        match arg {
            QuantizationArg::None => Self::None,
            QuantizationArg::Q8_0 => Self::Q8_0,
            QuantizationArg::Q4K => Self::Q4K,
        }
    }
}

/// How to reach a model hub.
#[derive(Debug, Clone, clap::Args)]
struct HubArgs {
    /// Access token for gated models on the hub
    #[arg(long, env = "HF_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    hf_token: Option<String>,

    /// File with the access token, such as a mounted secret [default: where `hf auth login` keeps
    /// it]
    #[arg(long, env = "HF_TOKEN_PATH", value_name = "FILE")]
    hf_token_file: Option<PathBuf>,

    /// Directory of the hub's tools [default: ~/.cache/huggingface]
    #[arg(long, env = "HF_HOME", value_name = "DIR")]
    hf_home: Option<PathBuf>,

    /// Address of the hub
    #[arg(long, env = "HF_ENDPOINT", default_value = HubOptions::ENDPOINT, value_name = "URL")]
    hf_endpoint: String,

    /// Directory that downloaded models are kept in [default: `hub` in that directory]
    #[arg(long, env = "HF_HUB_CACHE", value_name = "DIR")]
    hf_cache: Option<PathBuf>,

    /// Use only what has been downloaded before
    #[arg(long, env = "HF_HUB_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    hf_offline: bool,
}

/// The directory of the model or adapter that the user named: a path, or a hub id.
async fn resolve(model: &str, args: &HubArgs, files: HubFiles) -> Result<PathBuf> {
    let home = args
        .hf_home
        .clone()
        .or_else(|| dirs::home_dir().map(|home| home.join(".cache/huggingface")));
    let cache = args
        .hf_cache
        .clone()
        .or_else(|| home.as_ref().map(|home| home.join("hub")))
        .ok_or_else(|| anyhow!("no home directory to keep models in; use --hf-cache"))?;
    let options = HubOptions {
        cache,
        endpoint: args.hf_endpoint.clone(),
        token: args.token(home.as_deref())?,
        offline: args.hf_offline,
        files,
        first_pause: HubOptions::FIRST_PAUSE,
    };
    Ok(hub::resolve(model, &options, progress_bars()).await?)
}

impl HubArgs {
    /// The token itself, else that of the file that was named, else the one that the user has
    /// logged in with.
    fn token(&self, home: Option<&Path>) -> Result<Option<String>> {
        let given = self.hf_token.as_deref().map(str::trim);
        if let Some(token) = given.filter(|token| !token.is_empty()) {
            return Ok(Some(token.to_owned()));
        }
        let text = match (&self.hf_token_file, home) {
            (Some(file), _) => std::fs::read_to_string(file).with_context(|| {
                format!(
                    "failed to read the hub's access token from {}",
                    file.display()
                )
            })?,
            // Most people have none, and may not need it.
            (None, Some(home)) => std::fs::read_to_string(home.join("token")).unwrap_or_default(),
            (None, None) => String::new(),
        };
        let token = text.trim();
        Ok((!token.is_empty()).then(|| token.to_owned()))
    }
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
                if let Some(at) = find(&file) {
                    files[at].1.set_length(bytes);
                    files[at].1.set_position(0);
                    return;
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_comes_from_where_it_was_put() {
        let home = tempfile::tempdir().expect("a directory for temporary files");
        let secret = home.path().join("secret");
        let args = |token: Option<&str>, file: Option<&Path>| HubArgs {
            hf_token: token.map(str::to_owned),
            hf_token_file: file.map(Path::to_owned),
            hf_home: None,
            hf_endpoint: HubOptions::ENDPOINT.to_owned(),
            hf_cache: None,
            hf_offline: false,
        };
        let token = |args: &HubArgs| args.token(Some(home.path()));
        let is = |args: &HubArgs, expect: Option<&str>| {
            assert_eq!(token(args).expect("a token or none").as_deref(), expect);
        };
        is(&args(None, None), None);
        let missing = token(&args(None, Some(&secret))).expect_err("there is no such file");
        assert!(missing.to_string().contains("secret"), "{missing}");
        std::fs::write(home.path().join("token"), "logged-in\n").expect("a writable directory");
        is(&args(None, None), Some("logged-in"));
        std::fs::write(&secret, "mounted\n").expect("a writable directory");
        is(&args(None, Some(&secret)), Some("mounted"));
        // Helm charts set variables that have no value.
        is(&args(Some(""), Some(&secret)), Some("mounted"));
        is(&args(Some("given"), Some(&secret)), Some("given"));
    }
}
