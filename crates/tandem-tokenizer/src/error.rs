//! What can go wrong, by what the caller can do about it.

use std::io;
use std::path::PathBuf;

use tandem_protocol::ErrorKind;
use thiserror::Error;

/// Why text could not become tokens, or a model could not be loaded.
#[derive(Debug, Error)]
pub enum Error {
    /// A model directory lacks a file.
    #[error("failed to load model from {}: {file} is missing", directory.display())]
    MissingFile {
        /// The model directory.
        directory: PathBuf,
        /// The file.
        file: String,
    },
    /// A directory with a GGUF file lacks another one. What the GGUF file says about them is not
    /// used, because frontends need the files.
    #[error(
        "failed to load model from {}: {file} is missing; put config.json and tokenizer.json of the model that the GGUF file was made of beside it",
        directory.display()
    )]
    MissingBesideGguf {
        /// The model directory.
        directory: PathBuf,
        /// The file.
        file: String,
    },
    /// A file exists but cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not have the expected form.
    #[error("failed to parse {}: {message}", path.display())]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A chat template is not valid Jinja. Only this model is affected.
    #[error("failed to compile chat template {}, line {line}: {message}", path.display())]
    TemplateSyntax {
        /// The file that holds the template.
        path: PathBuf,
        /// Line inside the template.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The model has no chat template.
    #[error(
        "model in {} has no chat template: add chat_template.jinja to it, or send the prompt to /v1/completions",
        directory.display()
    )]
    NoChatTemplate {
        /// The model directory.
        directory: PathBuf,
    },
    /// The chat template rejects the conversation.
    #[error("failed to apply chat template: {message}")]
    Render {
        /// In the template's words.
        message: String,
    },
    /// The text or the tokens do not fit the tokenizer.
    #[error("failed to {action}: {message}")]
    Tokenizer {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        message: String,
    },
    /// The model could not be fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
}

/// Why a model could not be fetched from the hub.
#[derive(Debug, Error)]
pub enum HubError {
    /// Neither a directory nor a possible hub id.
    #[error("failed to find model {model}: no such directory, and not a hub id like org/name")]
    NoSuchDirectory {
        /// As the user wrote it.
        model: String,
    },
    /// The hub does not know the model or the revision.
    #[error(
        "failed to find model {model}: neither a directory nor a model or revision on {endpoint}"
    )]
    NotFound {
        /// As the user wrote it.
        model: String,
        /// Which hub.
        endpoint: String,
    },
    /// The hub wants credentials, or the model's terms were not accepted. Without a token, it says
    /// so of models that do not exist, too.
    #[error(
        "failed to fetch {model}: {endpoint} denies access; check the name, accept the model's terms there and set HF_TOKEN"
    )]
    Unauthorized {
        /// As the user wrote it.
        model: String,
        /// Which hub.
        endpoint: String,
    },
    /// The hub cannot be reached and the cache does not have the whole model.
    #[error(
        "failed to reach {endpoint} for {model}, and the cache has no complete copy: {message}"
    )]
    Unreachable {
        /// As the user wrote it.
        model: String,
        /// Which hub.
        endpoint: String,
        /// Why.
        message: String,
    },
    /// Offline, and the cache does not have the whole model.
    #[error("failed to find {model} in {} while offline", cache.display())]
    NotCached {
        /// As the user wrote it.
        model: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// The hub holds something that cannot be served.
    #[error("failed to use {model} from the hub: {file} is missing there")]
    Incomplete {
        /// As the user wrote it.
        model: String,
        /// What is missing.
        file: String,
    },
    /// A download failed.
    #[error("failed to download {file} of {model}: {message}")]
    Download {
        /// As the user wrote it.
        model: String,
        /// The file.
        file: String,
        /// Why.
        message: String,
    },
}

impl Error {
    /// What it means to a client.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Render { .. } | Self::NoChatTemplate { .. } | Self::Tokenizer { .. } => {
                ErrorKind::InvalidRequest
            }
            Self::MissingFile { .. }
            | Self::MissingBesideGguf { .. }
            | Self::Read { .. }
            | Self::InvalidFile { .. }
            | Self::TemplateSyntax { .. } => ErrorKind::Internal,
            Self::Hub(error) => error.kind(),
        }
    }
}

impl HubError {
    /// What it means to a client.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchDirectory { .. } | Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::NotCached { .. } | Self::Incomplete { .. } => ErrorKind::Internal,
            Self::Unreachable { .. } | Self::Download { .. } => {
                ErrorKind::Upstream { retryable: true }
            }
        }
    }
}
