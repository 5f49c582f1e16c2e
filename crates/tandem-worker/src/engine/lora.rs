//! LoRA adapters, as a worker is told of them.

use std::fmt;
use std::path::PathBuf;

/// A LoRA adapter and the name that requests use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraModule {
    /// Model name of requests that it answers.
    pub name: String,
    /// Its files, as PEFT saves them.
    pub directory: PathBuf,
}

impl fmt::Display for LoraModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.directory.display())
    }
}
