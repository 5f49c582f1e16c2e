//! What a user calls a model to a directory on this machine.
//!
//! A directory is taken as it is, and a GGUF file stands for the directory that it is in. Anything else of the form `org/name` or `org/name@revision` is
//! a model or an adapter of a Hugging Face hub: it is fetched into the hub cache that all tools share, and found
//! there again without a network.

mod backoff;
mod checksum;
mod download;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::{Error, HubError};

/// Names the files of weights that are split.
const WEIGHTS_INDEX: &str = "model.safetensors.index.json";
/// Weights in one file.
const WEIGHTS: &str = "model.safetensors";

/// How to reach a hub, read from flags and environment by the caller.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Directory of the hub cache: `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else
    /// `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// Where models come from: `$HF_ENDPOINT`, else [`HubOptions::ENDPOINT`].
    pub endpoint: String,
    /// Credentials: `$HF_TOKEN`.
    pub token: Option<String>,
    /// Whether to use the cache only: `$HF_HUB_OFFLINE`.
    pub offline: bool,
    /// Which files are needed.
    pub files: HubFiles,
    /// Pause before a failed request is made again. It doubles with each failure in a row.
    pub first_pause: Duration,
}

/// Which files of a repository are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubFiles {
    /// What a frontend reads of a model.
    Text,
    /// All of a model.
    Model,
    /// A LoRA adapter, as PEFT saves it.
    Adapter,
}

impl HubFiles {
    /// Those that must be there, beside the weights of a model.
    const fn needed(self) -> [&'static str; 2] {
        match self {
            Self::Text | Self::Model => ["config.json", "tokenizer.json"],
            Self::Adapter => ["adapter_config.json", "adapter_model.safetensors"],
        }
    }
}

impl HubOptions {
    /// The public hub.
    pub const ENDPOINT: &'static str = "https://huggingface.co";
    /// What `first_pause` usually is.
    pub const FIRST_PAUSE: Duration = Duration::from_millis(500);
}

/// Progress of one file's download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownloadEvent {
    /// A download begins, or goes on after a failure: its bytes are counted anew.
    Started {
        /// The file.
        file: String,
        /// Its size.
        bytes: u64,
    },
    /// More bytes have arrived.
    Advanced {
        /// The file.
        file: String,
        /// How many more.
        bytes: u64,
    },
    /// The file is complete.
    Finished {
        /// The file.
        file: String,
    },
}

/// Called as downloads proceed.
pub type OnProgress = Arc<dyn Fn(DownloadEvent) + Send + Sync>;

/// A model of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ModelId {
    /// As the user wrote it.
    text: String,
    name: String,
    revision: String,
}

/// Finds or fetches `model` and checks that the directory has what is needed.
///
/// # Errors
/// The model is not there, cannot be fetched, or lacks a file; the message says what to do.
pub async fn resolve(
    model: &str,
    options: &HubOptions,
    on_progress: OnProgress,
) -> Result<PathBuf, Error> {
    let path = Path::new(model);
    let directory = match path.parent() {
        Some(parent) if is_gguf(path) && path.is_file() => parent,
        _ => path,
    };
    if directory.is_dir() {
        check_directory(directory, options.files)?;
        return Ok(directory.to_owned());
    }
    let id = ModelId::parse(model).ok_or_else(|| HubError::NoSuchDirectory {
        model: model.to_owned(),
    })?;
    let cached = download::cached(&id, options);
    let complete = cached.filter(|directory| check_directory(directory, options.files).is_ok());
    if options.offline {
        let missing = || HubError::NotCached {
            model: id.text.clone(),
            cache: options.cache.clone(),
        };
        return complete.ok_or_else(|| missing().into());
    }
    match download::fetch(&id, options, complete.is_some(), on_progress).await {
        Err(HubError::Unreachable { .. }) if complete.is_some() => Ok(complete.unwrap_or_default()),
        fetched => Ok(fetched?),
    }
}

/// Checks that a directory has what is needed.
///
/// # Errors
/// Names the first file that is missing.
pub fn check_directory(directory: &Path, files: HubFiles) -> Result<(), Error> {
    let has_gguf = files != HubFiles::Adapter && has_gguf(directory);
    let missing = |file: &str| {
        let (directory, file) = (directory.to_owned(), file.to_owned());
        if has_gguf {
            Error::MissingBesideGguf { directory, file }
        } else {
            Error::MissingFile { directory, file }
        }
    };
    let absent = |file: &str| !directory.join(file).is_file();
    if let Some(file) = files.needed().into_iter().find(|file| absent(file)) {
        return Err(missing(file));
    }
    if files != HubFiles::Model || !absent(WEIGHTS) {
        return Ok(());
    }
    if absent(WEIGHTS_INDEX) {
        return if has_gguf {
            Ok(())
        } else {
            Err(missing(WEIGHTS))
        };
    }
    let shards = shards(&directory.join(WEIGHTS_INDEX))?;
    shards
        .iter()
        .find(|file| absent(file))
        .map_or(Ok(()), |file| Err(missing(file)))
}

fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "gguf")
}

fn has_gguf(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| is_gguf(&path))
}

/// The files that an index of split weights names.
fn shards(index: &Path) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let json = std::fs::read(index).map_err(|source| Error::Read {
        path: index.to_owned(),
        source,
    })?;
    let parsed: Index = serde_json::from_slice(&json).map_err(|error| Error::InvalidFile {
        path: index.to_owned(),
        message: error.to_string(),
    })?;
    let mut files: Vec<_> = parsed.weight_map.into_values().collect();
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

impl ModelId {
    /// `org/name` or `org/name@revision`; `None` for what can only be a path.
    fn parse(text: &str) -> Option<Self> {
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        let valid = |part: &str, others: &str| {
            let fits = |char: char| char.is_ascii_alphanumeric() || others.contains(char);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(fits)
        };
        let (org, model) = name.split_once('/')?;
        let fits = valid(org, "-_.") && valid(model, "-_.") && valid(revision, "-_./");
        fits.then(|| Self {
            text: text.to_owned(),
            name: name.to_owned(),
            revision: revision.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
