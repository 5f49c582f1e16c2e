//! Reading and writing blocks past the system's cache.
//!
//! What lies on whole pages, in the file and in memory, goes straight between the two. The rest, which
//! is little, goes through the cache as usual: no page of the file is used both ways.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::file::BlockFile;

/// What direct IO is aligned to, in the file and in memory: no smaller than what any disk wants.
pub(super) const PAGE: usize = 4096;

/// Whole pages of memory, allocated when they are needed and kept for the next time.
#[derive(Debug, Default)]
pub(super) struct PageBuffer {
    pages: Vec<Page>,
}

#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Page([u8; PAGE]);

impl PageBuffer {
    /// The pages that `len` bytes take; what is in them is left from earlier.
    pub(super) fn hold(&mut self, len: usize) -> &mut [u8] {
        let pages = len.div_ceil(PAGE);
        if self.pages.len() < pages {
            self.pages.resize(pages, Page([0; PAGE]));
        }
        self.pages[..pages].as_mut_bytes()
    }
}

/// How a file of blocks is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Through the system's cache.
    Cached,
    /// Past it, if the file system can do that.
    Direct,
}

impl Access {
    /// Gives the file at `path` this access.
    pub(super) fn to(self, file: File, path: &Path) -> Box<dyn BlockFile> {
        match self {
            Self::Cached => Box::new(file),
            Self::Direct => match open_direct(path) {
                Ok(direct) => Box::new(DirectFile::new(file, direct)),
                Err(error) => {
                    note_refusal(&error);
                    Box::new(file)
                }
            },
        }
    }
}

/// A file whose whole pages are read and written past the system's cache.
#[derive(Debug)]
struct DirectFile<D> {
    cached: File,
    /// The same file.
    direct: D,
    /// Whether the file system has turned out not to do what it agreed to.
    refused: AtomicBool,
}

impl<D: BlockFile> DirectFile<D> {
    fn new(cached: File, direct: D) -> Self {
        Self {
            cached,
            direct,
            refused: AtomicBool::new(false),
        }
    }

    /// Where bytes go past the cache, if they can.
    fn past_cache(&self, bytes: &[u8], offset: u64) -> Option<&D> {
        let whole = bytes.len().is_multiple_of(PAGE) && offset.is_multiple_of(PAGE as u64);
        let fit = whole && bytes.as_ptr().addr().is_multiple_of(PAGE);
        (fit && !self.refused.load(Ordering::Relaxed)).then_some(&self.direct)
    }

    /// Whether that was refused; it is not tried again then.
    fn is_refused(&self, done: &io::Result<()>) -> bool {
        let refusal = done.as_ref().err();
        let refusal = refusal.filter(|error| error.kind() == ErrorKind::InvalidInput);
        if let Some(error) = refusal
            && !self.refused.swap(true, Ordering::Relaxed)
        {
            note_refusal(error);
        }
        refusal.is_some()
    }
}

impl<D: BlockFile> BlockFile for DirectFile<D> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = self.past_cache(buffer, offset) {
            let read = direct.read_exact_at(buffer, offset);
            if !self.is_refused(&read) {
                return read;
            }
        }
        BlockFile::read_exact_at(&self.cached, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = self.past_cache(bytes, offset) {
            let written = direct.write_all_at(bytes, offset);
            if !self.is_refused(&written) {
                return written;
            }
        }
        BlockFile::write_all_at(&self.cached, bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.cached.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        BlockFile::set_len(&self.cached, len)
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    let mut options = File::options();
    options.read(true).write(true).custom_flags(flags);
    options.open(path)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> io::Result<File> {
    Err(ErrorKind::Unsupported.into())
}

fn note_refusal(error: &io::Error) {
    tracing::info!(
        %error,
        "kv blocks on disk go through the system's cache, the file system does no direct io"
    );
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Notes where it is used, and refuses or uses a file.
    #[derive(Debug)]
    struct Noting {
        file: Option<File>,
        at: Mutex<Vec<u64>>,
    }

    impl Noting {
        fn note(&self, offset: u64) -> io::Result<&File> {
            self.at.lock().push(offset);
            self.file.as_ref().ok_or(ErrorKind::InvalidInput.into())
        }
    }

    impl BlockFile for Noting {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            BlockFile::read_exact_at(self.note(offset)?, buffer, offset)
        }

        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            BlockFile::write_all_at(self.note(offset)?, bytes, offset)
        }

        fn len(&self) -> io::Result<u64> {
            Err(ErrorKind::Unsupported.into())
        }

        fn set_len(&self, _len: u64) -> io::Result<()> {
            Err(ErrorKind::Unsupported.into())
        }
    }

    /// Writes and reads whole pages and parts of them; returns where that went past the cache.
    fn use_file(refuse: bool) -> Vec<u64> {
        let path = tempfile::NamedTempFile::new().unwrap();
        let direct = Noting {
            file: (!refuse).then(|| open_direct(path.path()).unwrap_or(path.reopen().unwrap())),
            at: Mutex::default(),
        };
        let file = DirectFile::new(path.reopen().unwrap(), direct);
        let mut buffer = PageBuffer::default();
        buffer.hold(2 * PAGE).fill(3);
        let page = PAGE as u64;
        file.write_all_at(buffer.hold(PAGE + 1), page).unwrap();
        file.write_all_at(&[5; 64], 64).unwrap();
        file.write_all_at(&buffer.hold(PAGE)[..512], 4 * page)
            .unwrap();
        assert_eq!(file.len().unwrap(), 4 * page + 512);
        let mut both = PageBuffer::default();
        file.read_exact_at(both.hold(3 * PAGE), 0).unwrap();
        let read = both.hold(3 * PAGE);
        assert_eq!(read[..64], [0; 64]);
        assert_eq!(read[64..128], [5; 64]);
        assert_eq!(read[128..PAGE], [0; PAGE - 128]);
        assert_eq!(read[PAGE..], [3; 2 * PAGE]);
        let beyond = file.read_exact_at(both.hold(2 * PAGE), 4 * page);
        assert_eq!(beyond.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        file.direct.at.into_inner()
    }

    #[test]
    fn whole_pages_go_past_the_cache() {
        let page = PAGE as u64;
        assert_eq!(use_file(false), [page, 0, 4 * page]);
    }

    #[test]
    fn a_file_system_that_refuses_is_asked_once() {
        assert_eq!(use_file(true), [PAGE as u64]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_twice_is_used_as_it_is() {
        let file = tempfile::tempfile().unwrap();
        let file = Access::Direct.to(file, Path::new("/nowhere/file"));
        file.write_all_at(&[1; PAGE], 0).unwrap();
        assert_eq!(file.len().unwrap(), PAGE as u64);
    }
}
