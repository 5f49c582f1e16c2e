//! Files that a card refers to, and what it reads from them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// A file with its checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedFile {
    /// Local path, or URL.
    pub path: String,
    /// `blake3:` and the hash in hex.
    pub checksum: String,
}

/// The model's architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelConfigFile {
    /// `config.json`.
    HfConfigJson(CheckedFile),
}

/// The model's tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerFile {
    /// `tokenizer.json`.
    HfTokenizerJson(CheckedFile),
}

/// The model's special tokens and, usually, its chat template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptFormatterFile {
    /// `tokenizer_config.json`.
    HfTokenizerConfigJson(CheckedFile),
}

/// A chat template in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatTemplateFile {
    /// `chat_template.jinja`.
    HfChatTemplate(CheckedFile),
}

/// The model's generation defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationConfigFile {
    /// `generation_config.json`.
    HfGenerationConfigJson(CheckedFile),
}

impl CheckedFile {
    /// Checksums a file; `None` if there is none.
    pub(super) fn in_dir(directory: &Path, name: &str) -> Result<Option<Self>, Error> {
        let path = directory.join(name);
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            path: path.to_string_lossy().into_owned(),
            checksum: format!("blake3:{}", blake3::hash(&bytes).to_hex()),
        }))
    }
}

/// Most tokens that a model takes: its positions, or what its tokenizer says.
pub(super) fn context_length(directory: &Path) -> Result<u32, Error> {
    const POSITIONS: [&str; 4] = [
        "/max_position_embeddings",
        "/text_config/max_position_embeddings",
        "/n_positions",
        "/max_sequence_length",
    ];
    let config_file = directory.join("config.json");
    let config = read_json(&config_file)?.ok_or_else(|| Error::MissingFile {
        directory: directory.to_owned(),
        file: "config.json".to_owned(),
    })?;
    let positions = POSITIONS
        .iter()
        .find_map(|name| config.pointer(name)?.as_u64());
    let tokenizer = read_json(&directory.join("tokenizer_config.json"))?.unwrap_or_default();
    // Tokenizers without a limit say 10^30, which is not an integer in JSON.
    let length = positions.or_else(|| tokenizer["model_max_length"].as_u64());
    let length = length.and_then(|length| u32::try_from(length).ok());
    length.ok_or_else(|| Error::InvalidFile {
        path: config_file,
        message: "max_position_embeddings is missing".to_owned(),
    })
}

/// `eos_token_id` of a config, one or several.
pub(super) fn eos_token_ids(file: &Path) -> Result<Vec<u32>, Error> {
    let config = read_json(file)?.unwrap_or_default();
    let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
    Ok(match &config["eos_token_id"] {
        Value::Array(ids) => ids.iter().filter_map(id).collect(),
        one => id(one).into_iter().collect(),
    })
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn read_json(path: &Path) -> Result<Option<Value>, Error> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&bytes).map_err(|error| Error::InvalidFile {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    Ok(Some(value))
}
