//! What a worker publishes about its model, in the JSON form of Dynamo 0.6.1's deployment card.

use std::fmt;
use std::fs;
use std::ops::BitOr;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::error::ModelFilesError;

/// A model card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Name under which the model is served.
    pub display_name: String,
    /// The name in a form that fits into keys.
    pub slug: String,
    /// Where `config.json` is.
    pub model_info: ConfigFile,
    /// Where `tokenizer.json` is.
    pub tokenizer: TokenizerFile,
    /// Where `tokenizer_config.json` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_formatter: Option<TokenizerConfigFile>,
    /// Where a chat template of its own is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template_file: Option<ChatTemplateFile>,
    /// Where `generation_config.json` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gen_config: Option<GenerationConfigFile>,
    /// Longest prompt plus answer, in tokens.
    pub context_length: u32,
    /// Tokens per KV block.
    pub kv_cache_block_size: u32,
    /// Times that a request may move to another worker.
    #[serde(default)]
    pub migration_limit: u32,
    /// What the worker can do.
    pub model_type: ModelType,
    /// Form of the worker's input; `Tokens` for all of ours.
    pub model_input: String,
    /// Capacity of the worker.
    #[serde(default)]
    pub runtime_config: RuntimeConfig,
}

/// Capacity of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeConfig {
    /// KV blocks.
    pub total_kv_blocks: Option<u64>,
    /// Sequences that run at a time.
    pub max_num_seqs: Option<u64>,
    /// Tokens per step.
    pub max_num_batched_tokens: Option<u64>,
    /// Parser of tool calls in answers.
    pub tool_call_parser: Option<String>,
    /// Parser of reasoning in answers.
    pub reasoning_parser: Option<String>,
    /// Data-parallel ranks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_parallel_size: Option<u32>,
}

/// A file with its checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardFile {
    /// Local path.
    pub path: String,
    /// `blake3:` and the hash in hexadecimal.
    pub checksum: String,
}

/// Reference to `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// The file.
    pub hf_config_json: CardFile,
}

/// Reference to `tokenizer.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerFile {
    /// The file.
    pub hf_tokenizer_json: CardFile,
}

/// Reference to `tokenizer_config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerConfigFile {
    /// The file.
    pub hf_tokenizer_config_json: CardFile,
}

/// Reference to `chat_template.jinja`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatTemplateFile {
    /// The file.
    pub hf_chat_template: CardFile,
}

/// Reference to `generation_config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationConfigFile {
    /// The file.
    pub hf_generation_config_json: CardFile,
}

/// What a worker can do: a set, written as names joined with ` | `.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelType(u16);

/// Names of the members, lowest bit first.
const MODEL_TYPES: [&str; 5] = ["Chat", "Completions", "Embedding", "TensorBased", "Prefill"];

impl ModelType {
    /// Answers chats.
    pub const CHAT: Self = Self(1);
    /// Completes texts.
    pub const COMPLETIONS: Self = Self(2);
    /// Only computes prompts.
    pub const PREFILL: Self = Self(16);

    /// Whether every member of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for ModelType {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for ModelType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = MODEL_TYPES
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 & (1 << bit) != 0);
        formatter.write_str(&names.map(|(_, name)| *name).collect::<Vec<_>>().join(" | "))
    }
}

impl Serialize for ModelType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bits = 0;
        for name in text.split('|').map(str::trim) {
            // Later versions know more members; a set of only those is of no use to us.
            bits |= MODEL_TYPES
                .iter()
                .position(|known| *known == name)
                .map_or(0, |bit| 1 << bit);
        }
        if bits == 0 {
            return Err(D::Error::custom(format!("unknown model type `{text}`")));
        }
        Ok(Self(bits))
    }
}

impl ModelCard {
    /// The card of the model in `directory`, to be served as `name`.
    ///
    /// # Errors
    /// A file is missing or not what its name says.
    pub fn from_dir(directory: &Path, name: &str) -> Result<Self, ModelFilesError> {
        let required = |file: &str| {
            card_file(directory, file)?.ok_or_else(|| ModelFilesError::Missing {
                path: directory.join(file),
            })
        };
        let config_file = required("config.json")?;
        let config = read_json(&directory.join("config.json"))?;
        let context = config["max_position_embeddings"].as_u64().unwrap_or(2048);
        Ok(Self {
            display_name: name.to_owned(),
            slug: slug(name),
            model_info: ConfigFile {
                hf_config_json: config_file,
            },
            tokenizer: TokenizerFile {
                hf_tokenizer_json: required("tokenizer.json")?,
            },
            prompt_formatter: card_file(directory, "tokenizer_config.json")?.map(|file| {
                TokenizerConfigFile {
                    hf_tokenizer_config_json: file,
                }
            }),
            chat_template_file: card_file(directory, "chat_template.jinja")?.map(|file| {
                ChatTemplateFile {
                    hf_chat_template: file,
                }
            }),
            gen_config: card_file(directory, "generation_config.json")?.map(|file| {
                GenerationConfigFile {
                    hf_generation_config_json: file,
                }
            }),
            context_length: u32::try_from(context).unwrap_or(u32::MAX),
            kv_cache_block_size: 16,
            migration_limit: 0,
            model_type: ModelType::CHAT | ModelType::COMPLETIONS,
            model_input: "Tokens".to_owned(),
            runtime_config: RuntimeConfig::default(),
        })
    }

    /// The directory that holds the model's files.
    pub fn directory(&self) -> PathBuf {
        let path = Path::new(&self.tokenizer.hf_tokenizer_json.path);
        path.parent().unwrap_or(Path::new(".")).to_owned()
    }

    /// Tokens that end an answer, from `generation_config.json`, else `config.json`.
    ///
    /// # Errors
    /// A file is not JSON.
    pub fn eos_token_ids(&self) -> Result<Vec<u32>, ModelFilesError> {
        let generation = self
            .gen_config
            .as_ref()
            .map(|file| &file.hf_generation_config_json.path);
        for path in generation
            .into_iter()
            .chain([&self.model_info.hf_config_json.path])
        {
            let ids = token_ids(&read_json(Path::new(path))?["eos_token_id"]);
            if !ids.is_empty() {
                return Ok(ids);
            }
        }
        Ok(Vec::new())
    }

    /// BLAKE3 over what two workers must agree on to serve the same model.
    pub fn mdcsum(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.display_name.as_bytes());
        hasher.update(self.model_info.hf_config_json.checksum.as_bytes());
        hasher.update(self.tokenizer.hf_tokenizer_json.checksum.as_bytes());
        if let Some(file) = &self.prompt_formatter {
            hasher.update(file.hf_tokenizer_config_json.checksum.as_bytes());
        }
        if let Some(file) = &self.chat_template_file {
            hasher.update(file.hf_chat_template.checksum.as_bytes());
        }
        if let Some(file) = &self.gen_config {
            hasher.update(file.hf_generation_config_json.checksum.as_bytes());
        }
        hasher.update(&self.context_length.to_be_bytes());
        hasher.update(&self.kv_cache_block_size.to_be_bytes());
        hasher.finalize().to_hex().to_string()
    }
}

/// One id or a list of them.
fn token_ids(value: &Value) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().filter_map(id).collect(),
        one => id(one).into_iter().collect(),
    }
}

/// Lower case, with everything that does not fit into keys as `_`.
fn slug(name: &str) -> String {
    let fits = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '-' | '_');
    let lower = name.to_lowercase();
    let slug: String = lower
        .chars()
        .map(|one| if fits(one) { one } else { '_' })
        .collect();
    slug.trim_start_matches('_').to_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, ModelFilesError> {
    fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ModelFilesError::Missing {
            path: path.to_owned(),
        },
        _ => ModelFilesError::Unreadable {
            path: path.to_owned(),
            source,
        },
    })
}

fn read_json(path: &Path) -> Result<Value, ModelFilesError> {
    serde_json::from_slice(&read(path)?).map_err(|error| ModelFilesError::Invalid {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn card_file(directory: &Path, name: &str) -> Result<Option<CardFile>, ModelFilesError> {
    let path = directory.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let checksum = format!("blake3:{}", blake3::hash(&read(&path)?).to_hex());
    Ok(Some(CardFile {
        path: path.display().to_string(),
        checksum,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURED: &str = r#"{"display_name":"tiny","slug":"tiny","model_info":{"hf_config_json":{"path":"/models/tiny/config.json","checksum":"blake3:8e1e"}},"tokenizer":{"hf_tokenizer_json":{"path":"/models/tiny/tokenizer.json","checksum":"blake3:3a19"}},"prompt_formatter":{"hf_tokenizer_config_json":{"path":"/models/tiny/tokenizer_config.json","checksum":"blake3:1cce"}},"gen_config":{"hf_generation_config_json":{"path":"/models/tiny/generation_config.json","checksum":"blake3:e4c8"}},"context_length":4096,"kv_cache_block_size":16,"migration_limit":0,"model_type":"Chat | Completions","model_input":"Tokens","runtime_config":{"total_kv_blocks":512,"max_num_seqs":256,"max_num_batched_tokens":8192,"tool_call_parser":null,"reasoning_parser":null,"data_parallel_size":1}}"#;

    #[test]
    fn a_captured_card_survives_a_round_trip() {
        let card: ModelCard = serde_json::from_str(CAPTURED).unwrap();
        assert_eq!(card.model_type, ModelType::CHAT | ModelType::COMPLETIONS);
        assert_eq!(card.directory(), Path::new("/models/tiny"));
        assert_eq!(serde_json::to_string(&card).unwrap(), CAPTURED);
    }

    #[test]
    fn model_types_are_sets_of_names() {
        let parse = |text: &str| serde_json::from_str::<ModelType>(&format!("{text:?}"));
        assert_eq!(parse("Prefill").unwrap(), ModelType::PREFILL);
        assert_eq!(parse("Chat | Videos").unwrap(), ModelType::CHAT);
        assert!(parse("Videos").is_err());
        assert!(!ModelType::CHAT.contains(ModelType::PREFILL));
    }

    #[test]
    fn slugs_fit_into_keys() {
        assert_eq!(slug("TinyLlama/TinyLlama-1.1B"), "tinyllama_tinyllama-1_1b");
        assert_eq!(slug("/x"), "x");
    }

    #[test]
    fn a_directory_gives_a_card_and_its_end_tokens() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let missing = ModelCard::from_dir(directory.path(), "m")
            .unwrap_err()
            .to_string();
        assert!(missing.contains("config.json is missing"), "{missing}");
        write(
            "config.json",
            r#"{"max_position_embeddings":77,"eos_token_id":5}"#,
        );
        write("tokenizer.json", "{}");
        let card = ModelCard::from_dir(directory.path(), "m").unwrap();
        assert_eq!(card.context_length, 77);
        assert_eq!(card.eos_token_ids().unwrap(), [5]);
        let sum = card.mdcsum();
        write("generation_config.json", r#"{"eos_token_id":[6,7]}"#);
        let card = ModelCard::from_dir(directory.path(), "m").unwrap();
        assert_eq!(card.eos_token_ids().unwrap(), [6, 7]);
        assert_ne!(card.mdcsum(), sum);
    }
}
