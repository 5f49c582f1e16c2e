//! What a worker publishes about its model, and a frontend needs to serve it.
//!
//! The JSON form is that of Dynamo 0.6.1's model deployment card.

mod files;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;

pub use files::{
    ChatTemplateFile, CheckedFile, GenerationConfigFile, ModelConfigFile, PromptFormatterFile,
    TokenizerFile,
};

/// A model deployment card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Name that clients use.
    pub display_name: String,
    /// The name in a form that fits into keys.
    pub slug: String,
    /// Architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_info: Option<ModelConfigFile>,
    /// Tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerFile>,
    /// Special tokens and, usually, the chat template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_formatter: Option<PromptFormatterFile>,
    /// Chat template, if in a file of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template_file: Option<ChatTemplateFile>,
    /// Generation defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gen_config: Option<GenerationConfigFile>,
    /// Most tokens of prompt and answer together.
    pub context_length: u32,
    /// Tokens per KV block.
    pub kv_cache_block_size: u32,
    /// How often a request may move to another worker.
    #[serde(default)]
    pub migration_limit: u32,
    /// What the model can be asked.
    #[serde(default)]
    pub model_type: ModelType,
    /// What the worker takes.
    #[serde(default)]
    pub model_input: ModelInput,
    /// Whatever the operator wants to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<Value>,
    /// What the worker's engine can do.
    #[serde(default)]
    pub runtime_config: RuntimeConfig,
    /// The adapter that makes the model this one; absent for a model by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraInfo>,
}

/// A LoRA adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoraInfo {
    /// Its name, which is part of the hashes of its blocks.
    pub name: String,
    /// Members that other versions add.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A set of uses, written as names joined with ` | `.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ModelType(u16);

impl ModelType {
    /// `/v1/chat/completions`.
    pub const CHAT: Self = Self(1);
    /// `/v1/completions`.
    pub const COMPLETIONS: Self = Self(2);
    /// `/v1/embeddings`.
    pub const EMBEDDING: Self = Self(4);
    /// Tensors in, tensors out.
    pub const TENSOR_BASED: Self = Self(8);
    /// Prefill for other workers.
    pub const PREFILL: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::CHAT, "Chat"),
        (Self::COMPLETIONS, "Completions"),
        (Self::EMBEDDING, "Embedding"),
        (Self::TENSOR_BASED, "TensorBased"),
        (Self::PREFILL, "Prefill"),
    ];

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl From<ModelType> for String {
    fn from(set: ModelType) -> Self {
        let names = ModelType::NAMES
            .iter()
            .filter(|(flag, _)| set.contains(*flag));
        names.map(|(_, name)| *name).collect::<Vec<_>>().join(" | ")
    }
}

impl From<String> for ModelType {
    /// Names of later versions are ignored: they are uses that this version does not offer.
    fn from(names: String) -> Self {
        let named = |name: &str| Self::NAMES.iter().find(|(_, known)| *known == name.trim());
        let flags = names.split('|').filter_map(named).map(|(flag, _)| *flag);
        flags.fold(Self::default(), Self::union)
    }
}

/// What a worker takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelInput {
    /// Token ids: the frontend templates and tokenizes.
    #[default]
    Tokens,
    /// Text.
    Text,
    /// Tensors.
    Tensor,
}

/// What a worker's engine can do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeConfig {
    /// Capacity of the KV cache.
    pub total_kv_blocks: Option<u64>,
    /// Most sequences in a batch.
    pub max_num_seqs: Option<u64>,
    /// Most tokens in a batch.
    pub max_num_batched_tokens: Option<u64>,
    /// How tool calls are written.
    pub tool_call_parser: Option<String>,
    /// How reasoning is written.
    pub reasoning_parser: Option<String>,
    /// Data-parallel ranks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_parallel_size: Option<u32>,
    /// Where decode workers meet a prefill worker's engine; absent unless both parts of a request
    /// are started at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disaggregated_endpoint: Option<DisaggregatedEndpoint>,
    /// Where other workers of the model may ask this one for KV blocks, `host:port`; absent unless
    /// it gives them away. Not known to Dynamo, which ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_peer_address: Option<String>,
    /// Members that other versions add.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Where decode workers meet a prefill worker's engine, in the form of Dynamo 1.6.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisaggregatedEndpoint {
    /// Host.
    pub bootstrap_host: String,
    /// Port.
    pub bootstrap_port: u16,
}

/// What a model directory does not say.
#[derive(Debug, Clone)]
pub struct CardSettings {
    /// Name that clients use; the directory's name if absent.
    pub display_name: Option<String>,
    /// Limit below the model's own context length.
    pub max_context_length: Option<u32>,
    /// Tokens per KV block.
    pub kv_cache_block_size: u32,
    /// What the model can be asked.
    pub model_type: ModelType,
    /// What the worker's engine can do.
    pub runtime_config: RuntimeConfig,
}

impl ModelCard {
    /// Describes a model directory.
    ///
    /// # Errors
    /// A file is missing or unreadable, or no file states the context length.
    pub fn from_dir(directory: &Path, settings: CardSettings) -> Result<Self, Error> {
        let checked = |name: &str| CheckedFile::in_dir(directory, name);
        let needed = |name: &str| {
            let missing = || Error::MissingFile {
                directory: directory.to_owned(),
                file: name.to_owned(),
            };
            checked(name)?.ok_or_else(missing)
        };
        let own_length = files::context_length(directory)?;
        let limit = settings.max_context_length.unwrap_or(u32::MAX);
        let directory_name = || {
            let name = directory.file_name().unwrap_or(directory.as_os_str());
            name.to_string_lossy().into_owned()
        };
        let display_name = settings.display_name.unwrap_or_else(directory_name);
        Ok(Self {
            slug: slug(&display_name),
            display_name,
            model_info: Some(ModelConfigFile::HfConfigJson(needed("config.json")?)),
            tokenizer: Some(TokenizerFile::HfTokenizerJson(needed("tokenizer.json")?)),
            prompt_formatter: checked("tokenizer_config.json")?
                .map(PromptFormatterFile::HfTokenizerConfigJson),
            chat_template_file: checked("chat_template.jinja")?
                .map(ChatTemplateFile::HfChatTemplate),
            gen_config: checked("generation_config.json")?
                .map(GenerationConfigFile::HfGenerationConfigJson),
            context_length: own_length.min(limit),
            kv_cache_block_size: settings.kv_cache_block_size,
            migration_limit: 0,
            model_type: settings.model_type,
            model_input: ModelInput::Tokens,
            user_data: None,
            runtime_config: settings.runtime_config,
            lora: None,
        })
    }

    /// The card of the same model with the adapter `name`, which becomes the model's name.
    #[must_use]
    pub fn with_adapter(&self, name: &str) -> Self {
        Self {
            display_name: name.to_owned(),
            slug: slug(name),
            lora: Some(LoraInfo {
                name: name.to_owned(),
                extra: Map::new(),
            }),
            ..self.clone()
        }
    }

    /// Identifies everything that affects how requests are prepared; sent with each request.
    pub fn mdcsum(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.display_name.as_bytes());
        for file in self.files() {
            hasher.update(file.checksum.as_bytes());
        }
        hasher.update(&self.context_length.to_be_bytes());
        hasher.update(&self.kv_cache_block_size.to_be_bytes());
        hasher.finalize().to_hex().to_string()
    }

    /// Directory of the model's files on the publisher's disk.
    pub fn directory(&self) -> Option<PathBuf> {
        let file = self.files().next()?;
        Path::new(&file.path).parent().map(Path::to_owned)
    }

    /// Tokens that end a sequence: those of the generation config, else those of the config.
    ///
    /// # Errors
    /// The files are not here, or not JSON.
    pub fn eos_token_ids(&self) -> Result<Vec<u32>, Error> {
        let Some(GenerationConfigFile::HfGenerationConfigJson(generation)) = &self.gen_config
        else {
            return self.eos_of_config();
        };
        let ids = files::eos_token_ids(Path::new(&generation.path))?;
        if ids.is_empty() {
            self.eos_of_config()
        } else {
            Ok(ids)
        }
    }

    fn eos_of_config(&self) -> Result<Vec<u32>, Error> {
        match &self.model_info {
            Some(ModelConfigFile::HfConfigJson(config)) => {
                files::eos_token_ids(Path::new(&config.path))
            }
            None => Ok(Vec::new()),
        }
    }

    /// The files in the order of the checksum.
    fn files(&self) -> impl Iterator<Item = &CheckedFile> {
        let ModelCard {
            model_info,
            tokenizer,
            prompt_formatter,
            chat_template_file,
            gen_config,
            ..
        } = self;
        [
            model_info
                .as_ref()
                .map(|ModelConfigFile::HfConfigJson(file)| file),
            tokenizer
                .as_ref()
                .map(|TokenizerFile::HfTokenizerJson(file)| file),
            prompt_formatter
                .as_ref()
                .map(|PromptFormatterFile::HfTokenizerConfigJson(file)| file),
            chat_template_file
                .as_ref()
                .map(|ChatTemplateFile::HfChatTemplate(file)| file),
            gen_config
                .as_ref()
                .map(|GenerationConfigFile::HfGenerationConfigJson(file)| file),
        ]
        .into_iter()
        .flatten()
    }
}

/// Lower case, and `_` for what keys and subjects cannot hold.
fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    let fits = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    let slug: String = lower
        .chars()
        .map(|char| if fits(char) { char } else { '_' })
        .collect();
    slug.trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests;
