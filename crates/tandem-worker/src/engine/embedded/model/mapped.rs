//! A file of weights, mapped into memory.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memmap2::Mmap;
use xxhash_rust::xxh3::xxh3_64;

use super::ModelError;

/// A file of weights, mapped into memory.
#[derive(Debug)]
pub(super) struct MappedFile {
    pub(super) path: PathBuf,
    map: Bytes,
}

impl MappedFile {
    #[allow(
        unsafe_code,
        reason = "weights are mapped so that loading does not need twice their memory"
    )]
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let file = File::open(path).map_err(ModelError::read(path))?;
        // SAFETY: the map is only read, and dropped when loading ends: what is kept longer is
        // detached from it. Model files are not written while a worker loads them; if one is
        // truncated meanwhile, the process dies with a bus error as it would with any mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(ModelError::read(path))?;
        let path = path.to_owned();
        Ok(Self {
            path,
            map: Bytes::from_owner(map),
        })
    }

    /// A part of the file, or `None` if it ends before.
    pub(super) fn part(&self, range: Range<usize>) -> Option<Bytes> {
        let exists = self.map.get(range.clone()).is_some();
        exists.then(|| self.map.slice(range))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// Hashes of each file's beginning (its table of tensors) and of numbers spread over it.
pub(super) fn fingerprint<'a>(files: impl Iterator<Item = &'a MappedFile>) -> String {
    const PIECE: usize = 1 << 12;
    const PIECES: usize = 64;
    let mut digest = Vec::new();
    for file in files {
        let step = (file.len() / PIECES).max(PIECE);
        for piece in file.chunks(step) {
            let piece = &piece[..piece.len().min(PIECE)];
            digest.extend(xxh3_64(piece).to_le_bytes());
        }
        digest.extend(file.len().to_le_bytes());
    }
    format!("{:016x}", xxh3_64(&digest))
}
