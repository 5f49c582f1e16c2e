//! Why a model cannot be loaded.

use std::path::{Path, PathBuf};

use tandem_kv_cache::tier::TierError;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("failed to parse {}: {reason}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The model needs something that this engine does not have.
    #[error("{feature} {value:?} is not supported; supported: {supported}")]
    Unsupported {
        /// What kind of thing.
        feature: &'static str,
        /// What the model asks for.
        value: String,
        /// What it may ask for.
        supported: &'static str,
    },
    /// A weight is not in the checkpoint.
    #[error("checkpoint has no tensor {0:?}")]
    MissingTensor(String),
    /// A weight has another shape than the configuration says.
    #[error("tensor {name:?} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// An adapter cannot be loaded.
    #[error("adapter {name:?}: {source}")]
    Adapter {
        /// Its name.
        name: String,
        /// Why.
        source: Box<Self>,
    },
    /// The compute threads cannot be started.
    #[error("failed to start the compute threads: {0}")]
    Threads(String),
    /// The GPU is not there, is too old or too small.
    #[error("{0}")]
    Gpu(String),
    /// The KV cache has no place in memory or on disk.
    #[error(transparent)]
    Tiers(#[from] TierError),
}

impl ModelError {
    pub(in super::super) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    pub(super) fn malformed(path: &Path, reason: &dyn std::error::Error) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
