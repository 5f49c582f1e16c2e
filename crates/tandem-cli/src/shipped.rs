//! The models that are part of the binary, so that it runs with nothing else installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A model directory inside the binary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShippedModel {
    /// Name of the directory.
    pub name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! shipped {
    ($name:literal: $($file:literal),+ $(,)?) => {
        ShippedModel {
            name: $name,
            files: &[$(($file, include_bytes!(concat!("../../../models/", $name, "/", $file)))),+],
        }
    };
}

/// The chat model that answers when no other is named.
pub(crate) const NANO_CHAT: ShippedModel = shipped!(
    "tandem-nano-chat": "config.json", "generation_config.json", "model.safetensors",
    "tokenizer.json", "tokenizer_config.json",
);

/// The encoder that classifies prompts when no other is named.
pub(crate) const NANO_ENCODER: ShippedModel = shipped!(
    "tandem-nano-encoder": "config.json", "model.safetensors", "tokenizer.json",
);

impl ShippedModel {
    /// Writes the model below `cache`, unless it is there already, and returns its directory.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(crate) fn unpack(&self, cache: &Path) -> Result<PathBuf> {
        let target = cache.join(format!("{}-{:016x}", self.name, self.checksum()));
        if self.is_complete(&target) {
            return Ok(target);
        }
        self.write(cache, &target).with_context(|| {
            format!(
                "failed to unpack the model {} below {}; use --cache-dir to name a directory with \
                 100 MB of free space",
                self.name,
                cache.display()
            )
        })?;
        Ok(target)
    }

    /// Other processes may unpack at the same time, so the directory appears at once or not at all.
    fn write(&self, cache: &Path, target: &Path) -> io::Result<()> {
        fs::create_dir_all(cache)?;
        let partial = cache.join(format!(".{}-{}", self.name, std::process::id()));
        let written = self.write_files(&partial).and_then(|()| {
            match fs::rename(&partial, target) {
                Err(_) if self.is_complete(target) => Ok(()),
                // What is there is not what was written here once: a full disk, most likely.
                Err(_) => {
                    fs::remove_dir_all(target)?;
                    fs::rename(&partial, target)
                }
                Ok(()) => Ok(()),
            }
        });
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        written
    }

    fn write_files(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for (name, bytes) in self.files {
            fs::write(directory.join(name), bytes)?;
        }
        Ok(())
    }

    fn is_complete(&self, directory: &Path) -> bool {
        self.files.iter().all(|(name, bytes)| {
            fs::metadata(directory.join(name))
                .is_ok_and(|file| u64::try_from(bytes.len()).is_ok_and(|len| len == file.len()))
        })
    }

    fn checksum(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for (name, bytes) in self.files {
            hasher.update(name.as_bytes());
            hasher.update(bytes);
        }
        hasher.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: ShippedModel = ShippedModel {
        name: "small",
        files: &[("a", b"one"), ("b", b"two")],
    };

    #[test]
    fn unpacking_twice_gives_the_same_complete_directory() {
        let cache = tempfile::tempdir().unwrap();
        let first = SMALL.unpack(cache.path()).unwrap();
        assert_eq!(SMALL.unpack(cache.path()).unwrap(), first);
        assert_eq!(fs::read(first.join("b")).unwrap(), b"two");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_directory_is_replaced() {
        let cache = tempfile::tempdir().unwrap();
        let directory = SMALL.unpack(cache.path()).unwrap();
        fs::write(directory.join("b"), b"t").unwrap();
        assert_eq!(SMALL.unpack(cache.path()).unwrap(), directory);
        assert_eq!(fs::read(directory.join("b")).unwrap(), b"two");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = SMALL.unpack(file.path()).unwrap_err().to_string();
        assert!(error.contains("--cache-dir"), "{error}");
    }
}
