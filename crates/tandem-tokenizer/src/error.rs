//! Why text cannot become tokens, or a model directory cannot be used.

use std::path::PathBuf;

use tandem_protocol::ErrorKind;

/// A model directory is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ModelFilesError {
    /// A file is not there.
    #[error(
        "{path} is missing; a model directory needs config.json, tokenizer.json and weights in safetensors format"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("failed to read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file does not hold what its name says.
    #[error("{path} is not valid: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Text cannot be tokenized.
#[derive(Debug, thiserror::Error)]
#[error("failed to tokenize: {0}")]
pub struct TokenizerError(pub(crate) String);

/// A conversation cannot be rendered, or there is no usable template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The model has none.
    #[error(
        "the model has no chat template: neither chat_template.jinja nor `chat_template` in tokenizer_config.json is in {directory}"
    )]
    NoTemplate {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A file of the model cannot be used.
    #[error("{0}")]
    Files(#[from] ModelFilesError),
    /// The template is broken.
    #[error("the chat template in {path} does not parse: {reason}")]
    Syntax {
        /// Where it is from.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The template refuses this conversation.
    #[error("the chat template refused the messages: {0}")]
    Refused(String),
    /// The template failed on this conversation.
    #[error("the chat template failed: {0}")]
    Render(String),
}

impl TemplateError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoTemplate { .. } | Self::Refused(_) | Self::Render(_) => {
                ErrorKind::InvalidRequest
            }
            Self::Files(_) | Self::Syntax { .. } => ErrorKind::Internal,
        }
    }

    /// Whether the model simply has no template.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NoTemplate { .. })
    }
}
