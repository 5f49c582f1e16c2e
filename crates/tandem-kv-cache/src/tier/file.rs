//! The file that a disk tier lies in, and how a worker finds its own.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::TierError;

/// Bytes before the first slot.
pub(super) const PREAMBLE_LEN: usize = 4096;
/// Workers that can share a directory.
const MAX_WORKERS: usize = 64;
const MAGIC: &[u8; 8] = b"TNDMKVF1";

/// What a disk tier needs of a file. Several threads read while one writes.
pub(super) trait BlockFile: fmt::Debug + Send + Sync {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn set_len(&self, len: u64) -> io::Result<()>;
}

impl BlockFile for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }
}

/// First bytes of a file whose blocks a worker of this fingerprint can use.
pub(super) fn preamble(fingerprint: &str, slot_bytes: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(slot_bytes.to_le_bytes());
    bytes.extend((fingerprint.len() as u64).to_le_bytes());
    bytes.extend(fingerprint.as_bytes());
    bytes.resize(PREAMBLE_LEN.max(bytes.len()), 0);
    bytes
}

/// Whether the file begins with `preamble`.
pub(super) fn begins_with(file: &dyn BlockFile, preamble: &[u8]) -> bool {
    let mut found = vec![0; preamble.len()];
    file.read_exact_at(&mut found, 0).is_ok() && found == preamble
}

/// Opens and locks a file in `directory` that no other worker uses: one that begins with
/// `preamble`, else one of another model, which is to be overwritten, else a new one. So a worker
/// finds its blocks again after a restart, and there are never more files than workers at a time.
/// Returns the file and its path.
pub(super) fn claim(directory: &Path, preamble: &[u8]) -> Result<(File, PathBuf), TierError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TierError::Directory { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let mut other_model = None;
    for number in 0..MAX_WORKERS {
        let path = path(directory, number);
        let exists = path.exists();
        if !exists && let Some(claimed) = other_model {
            return Ok(claimed);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) if !exists || begins_with(&file, preamble) => return Ok((file, path)),
            Ok(()) if other_model.is_none() => other_model = Some((file, path)),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(&path)(source)),
        }
    }
    other_model.ok_or_else(|| TierError::Taken(directory.to_owned()))
}

fn path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("blocks-{number}.kv"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_finds_its_own_file_again() {
        let directory = tempfile::tempdir().unwrap();
        let directory = &directory.path().join("kv");
        let claim = |model: &str| {
            let preamble = preamble(model, 8192);
            let (file, _) = claim(directory, &preamble).unwrap();
            let known = begins_with(&file, &preamble);
            BlockFile::write_all_at(&file, &preamble, 0).unwrap();
            (file, known)
        };
        let files = || fs::read_dir(directory).unwrap().count();
        let (first, known) = claim("a");
        assert!(!known);
        let (second, known) = claim("b");
        assert!(!known);
        assert_eq!(files(), 2, "two workers at a time have a file each");
        drop((first, second));
        let (again, known) = claim("b");
        assert!(known, "its own comes before a stranger's");
        let (third, known) = claim("c");
        assert!(!known);
        assert_eq!(files(), 2, "the file of another model is taken over");
        drop((again, third));
        assert!(claim("c").1);
        assert!(!claim("a").1);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        let error = claim(&path, &preamble("a", 1)).unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}
