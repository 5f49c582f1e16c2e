//! Why a checkpoint cannot be loaded.

use std::path::{Path, PathBuf};

/// What is wrong with a checkpoint directory.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or unreadable.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what its name promises.
    #[error("invalid checkpoint file {}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint is of a kind that this crate does not run.
    #[error("unsupported checkpoint {}: {reason}", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// What is not supported.
        reason: String,
    },
    /// The system refused a compute thread.
    #[error("failed to start a compute thread: {source}")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },
}

impl LoadError {
    pub(crate) fn invalid(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn unsupported(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Reads a file of a checkpoint.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Reads a JSON file of a checkpoint.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, LoadError> {
    serde_json::from_slice(&read(path)?).map_err(|error| LoadError::invalid(path, error))
}
