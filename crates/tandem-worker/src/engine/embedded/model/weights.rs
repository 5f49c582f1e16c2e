//! The weights in a model directory, whatever their files are.

use std::path::{Path, PathBuf};

use super::{Checkpoint, Gguf, ModelError, TensorSource, Values};

/// The weights in a model directory.
#[derive(Debug)]
pub enum Weights {
    /// In safetensors files.
    Checkpoint(Checkpoint),
    /// In a GGUF file.
    Gguf(Gguf),
}

impl Weights {
    /// Opens `directory`'s safetensors files or, if there are none, its only GGUF file.
    ///
    /// # Errors
    /// There are no weights, files of several models, or a file is damaged.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        if Checkpoint::is_in(directory) {
            return Checkpoint::open(directory).map(Self::Checkpoint);
        }
        match &gguf_files(directory)?[..] {
            // The message about what is missing names what is usual.
            [] => Checkpoint::open(directory).map(Self::Checkpoint),
            [file] => Gguf::open(file).map(Self::Gguf),
            several => Err(ModelError::Unsupported {
                feature: "number of GGUF files",
                value: several.len().to_string(),
                supported: "one file in a directory, with config.json and tokenizer.json",
            }),
        }
    }
}

fn gguf_files(directory: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let entries = std::fs::read_dir(directory).map_err(ModelError::read(directory))?;
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "gguf")
        })
        .collect();
    files.sort_unstable();
    Ok(files)
}

impl TensorSource for Weights {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.tensor(name, shape),
            Self::Gguf(gguf) => gguf.tensor(name, shape),
        }
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.contains(name),
            Self::Gguf(gguf) => gguf.contains(name),
        }
    }

    fn fingerprint(&self) -> String {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.fingerprint(),
            Self::Gguf(gguf) => gguf.fingerprint(),
        }
    }
}
