//! Entries as files: a key is a path below the directory.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

/// The files of a store. Every method blocks.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    /// Told apart from other processes' by their lease.
    temporary: String,
    next_temporary: AtomicU64,
}

impl Directory {
    /// The store below `root`, which is made if it is missing.
    pub(super) fn open(root: &Path, lease: u64) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self {
            root: root.to_owned(),
            temporary: format!(".new-{lease:x}"),
            next_temporary: AtomicU64::new(0),
        })
    }

    /// Writes an entry that must not be there yet.
    pub(super) fn create(&self, key: &str, value: &[u8]) -> io::Result<()> {
        let (path, written) = self.write(key, value)?;
        // Unlike a rename, a link fails if the name is taken.
        let linked = fs::hard_link(&written, path);
        fs::remove_file(written)?;
        linked
    }

    /// Writes an entry, over one that is there.
    pub(super) fn replace(&self, key: &str, value: &[u8]) -> io::Result<()> {
        let (path, written) = self.write(key, value)?;
        fs::rename(written, path)
    }

    /// Removes an entry, if it is there.
    pub(super) fn remove(&self, key: &str) -> io::Result<()> {
        match fs::remove_file(self.path(key)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Says that an entry is still meant.
    pub(super) fn touch(&self, key: &str) -> io::Result<()> {
        let file = fs::File::options().append(true).open(self.path(key)?)?;
        file.set_modified(SystemTime::now())
    }

    /// When an entry was last written or touched; `None` if it is not there.
    pub(super) fn touched(&self, key: &str) -> io::Result<Option<SystemTime>> {
        present(fs::metadata(self.path(key)?).and_then(|metadata| metadata.modified()))
    }

    /// The value of an entry; `None` if it is not there.
    pub(super) fn read(&self, key: &str) -> io::Result<Option<Bytes>> {
        present(fs::read(self.path(key)?).map(Bytes::from))
    }

    /// Every entry, and when it was last written or touched.
    pub(super) fn list(&self) -> io::Result<Vec<(String, SystemTime)>> {
        let mut found = Vec::new();
        let mut folders = vec![(self.root.clone(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            let Some(entries) = present(fs::read_dir(folder))? else {
                continue;
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                if name.starts_with('.') {
                    continue;
                }
                let key = format!("{prefix}{name}");
                let Some(metadata) = present(entry.metadata())? else {
                    continue;
                };
                if metadata.is_dir() {
                    folders.push((entry.path(), format!("{key}/")));
                } else {
                    found.push((key, metadata.modified()?));
                }
            }
        }
        Ok(found)
    }

    /// Writes a value to a file of another name, so that nobody reads half of it.
    fn write(&self, key: &str, value: &[u8]) -> io::Result<(PathBuf, PathBuf)> {
        let path = self.path(key)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let written = self.root.join(format!("{}-{number}", self.temporary));
        fs::write(&written, value)?;
        Ok((path, written))
    }

    /// The file of a key, which must not lead out of the directory or to a hidden file.
    fn path(&self, key: &str) -> io::Result<PathBuf> {
        let part_is_fine = |part: &str| !part.is_empty() && !part.starts_with('.');
        if key.split('/').all(part_is_fine) && !key.contains('\0') {
            return Ok(self.root.join(key));
        }
        let message = format!("{key} cannot be the name of a file");
        Err(io::Error::new(ErrorKind::InvalidInput, message))
    }
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(directory: &Directory) -> Vec<String> {
        let mut keys: Vec<_> = directory
            .list()
            .unwrap()
            .into_iter()
            .map(|it| it.0)
            .collect();
        keys.sort();
        keys
    }

    #[test]
    fn entries_are_written_whole_and_once() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(&root.path().join("store"), 7).unwrap();
        directory.create("v1/a/1", b"x").unwrap();
        let again = directory.create("v1/a/1", b"y").unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        directory.replace("v1/b", b"z").unwrap();
        assert_eq!(keys(&directory), ["v1/a/1", "v1/b"]);
        assert_eq!(directory.read("v1/a/1").unwrap().unwrap(), "x");
        directory.remove("v1/a/1").unwrap();
        directory.remove("v1/a/1").unwrap();
        assert_eq!(directory.read("v1/a/1").unwrap(), None);
        assert!(directory.touch("v1/a/1").is_err());
        assert_eq!(keys(&directory), ["v1/b"]);
    }

    #[test]
    fn no_key_leads_out_of_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path(), 7).unwrap();
        for key in ["../x", "a/../../x", "/x", "a//b", "", "a/.hidden", "a\0b"] {
            let refused = directory.replace(key, b"x").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{key:?}");
        }
    }
}
