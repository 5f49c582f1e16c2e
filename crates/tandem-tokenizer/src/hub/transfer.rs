//! One file from the hub into the cache, continued where an earlier attempt stopped.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::CacheRepo;
use hf_hub::api::tokio::{Api, ApiError, Metadata};
use reqwest::header::{RANGE, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::backoff::Failed;
use super::{DownloadEvent, OnProgress, checksum};

/// How long the hub may take to answer, and to send the next bytes.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether another process has finished with a file.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the hub answers {status}")]
    Status {
        status: StatusCode,
        asked: Option<Duration>,
    },
    #[error("the hub sends nothing any more")]
    Stalled,
    #[error("the file ends after {found} of {expected} bytes")]
    Short { found: u64, expected: u64 },
    #[error("the file is not what the hub says it is (checksum {etag})")]
    Corrupt { etag: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl TransferError {
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Api(ApiError::RequestError(error)) | Self::Http(error) => error.status(),
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The pause that the hub asks for.
    pub(super) const fn asked(&self) -> Option<Duration> {
        match self {
            Self::Status { asked, .. } => *asked,
            _ => None,
        }
    }

    /// Whether another attempt may succeed.
    pub(super) fn is_passing(&self) -> bool {
        match (self, self.status()) {
            (_, Some(status)) => {
                let asks_for_patience = [
                    StatusCode::TOO_MANY_REQUESTS,
                    StatusCode::REQUEST_TIMEOUT,
                    StatusCode::RANGE_NOT_SATISFIABLE,
                ];
                status.is_server_error() || asks_for_patience.contains(&status)
            }
            (Self::Api(ApiError::RequestError(_)) | Self::Http(_), None) => true,
            (Self::Stalled | Self::Short { .. } | Self::Corrupt { .. }, None) => true,
            (Self::Api(_) | Self::Io(_) | Self::Status { .. }, None) => false,
        }
    }
}

/// A file that is wanted.
pub(super) struct Transfer<'a> {
    pub(super) api: &'a Api,
    pub(super) cache: &'a CacheRepo,
    pub(super) url: String,
    pub(super) file: &'a str,
    pub(super) on_progress: &'a OnProgress,
}

impl Transfer<'_> {
    /// Tries once. What arrived stays for the next attempt, and `failed` says how much that is.
    pub(super) async fn attempt(&self, failed: &mut Failed) -> Result<PathBuf, TransferError> {
        let metadata = tokio::time::timeout(PATIENCE, self.api.metadata(&self.url))
            .await
            .map_err(|_| TransferError::Stalled)??;
        let blob = self.cache.blob_path(metadata.etag());
        if let Some(parent) = blob.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let _lock = lock(&blob).await?;
        // Another process may have fetched it meanwhile.
        if !blob.is_file() {
            let part = beside(&blob, "part");
            let downloaded = self.download(&metadata, &part).await;
            failed.reached = part.metadata().map_or(0, |file| file.len());
            downloaded?;
            self.verify(&part, metadata.etag()).await?;
            std::fs::rename(&part, &blob)?;
        }
        self.point(&blob, metadata.commit_hash())
    }

    /// Appends to `part` what is missing.
    async fn download(&self, metadata: &Metadata, part: &Path) -> Result<(), TransferError> {
        let size = metadata.size() as u64;
        let mut output = File::options().append(true).create(true).open(part)?;
        let mut there = output.metadata()?.len();
        if there > size {
            output.set_len(0)?;
            there = 0;
        }
        self.tell(DownloadEvent::Started {
            file: self.file.to_owned(),
            bytes: size,
        });
        if there < size {
            let mut response = self.request(there).await?;
            if response.status() != StatusCode::PARTIAL_CONTENT {
                // The whole file comes, whatever was asked for.
                output.set_len(0)?;
                there = 0;
            }
            self.advance(there);
            while let Some(bytes) = tokio::time::timeout(PATIENCE, response.chunk())
                .await
                .map_err(|_| TransferError::Stalled)??
            {
                output.write_all(&bytes)?;
                there += bytes.len() as u64;
                self.advance(bytes.len() as u64);
            }
        } else {
            self.advance(there);
        }
        output.sync_all()?;
        if there != size {
            return Err(TransferError::Short {
                found: there,
                expected: size,
            });
        }
        self.tell(DownloadEvent::Finished {
            file: self.file.to_owned(),
        });
        Ok(())
    }

    async fn request(&self, from: u64) -> Result<Response, TransferError> {
        let request = self.api.client().get(&self.url);
        let sent = request.header(RANGE, format!("bytes={from}-")).send();
        let response = tokio::time::timeout(PATIENCE, sent)
            .await
            .map_err(|_| TransferError::Stalled)??;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let asked = response.headers().get(RETRY_AFTER);
        let asked = asked.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        Err(TransferError::Status {
            status,
            asked: asked.map(Duration::from_secs),
        })
    }

    /// Removes what is not what it should be, so that the next attempt starts over.
    async fn verify(&self, part: &Path, etag: &str) -> Result<(), TransferError> {
        let (path, name) = (part.to_owned(), etag.to_owned());
        let check = move || checksum::matches(&path, &name);
        let matches = tokio::task::spawn_blocking(check)
            .await
            .map_err(io::Error::other)??;
        if matches {
            return Ok(());
        }
        std::fs::remove_file(part)?;
        Err(TransferError::Corrupt {
            etag: etag.to_owned(),
        })
    }

    /// Makes the file appear in the snapshot of its commit.
    fn point(&self, blob: &Path, commit: &str) -> Result<PathBuf, TransferError> {
        let pointer = self.cache.pointer_path(commit).join(self.file);
        if let Some(parent) = pointer.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if !pointer.exists() {
            // A link to a blob that was removed is in the way.
            std::fs::remove_file(&pointer).ok();
            link(blob, &pointer, self.file)?;
        }
        self.cache.create_ref(commit)?;
        Ok(pointer)
    }

    fn advance(&self, bytes: u64) {
        self.tell(DownloadEvent::Advanced {
            file: self.file.to_owned(),
            bytes,
        });
    }

    fn tell(&self, event: DownloadEvent) {
        (self.on_progress)(event);
    }
}

/// Links relative to the pointer, so that the cache can be moved: from
/// `snapshots/COMMIT/FOLDER/FILE` to `blobs/ETAG`.
#[cfg(unix)]
fn link(blob: &Path, pointer: &Path, file: &str) -> io::Result<()> {
    let up = "../".repeat(2 + file.matches('/').count());
    let name = blob.file_name().unwrap_or_default();
    let target = Path::new(&up).join("blobs").join(name);
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(not(unix))]
fn link(blob: &Path, pointer: &Path, _file: &str) -> io::Result<()> {
    std::fs::copy(blob, pointer).map(|_| ())
}

fn beside(blob: &Path, extension: &str) -> PathBuf {
    let mut name = blob.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Waits until no other process fetches the same file. The system releases the lock of a process
/// that dies.
async fn lock(blob: &Path) -> io::Result<File> {
    let path = beside(blob, "lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
            // Some network file systems have no locks: then whoever is last renames last.
            Err(std::fs::TryLockError::Error(error))
                if error.kind() == io::ErrorKind::Unsupported =>
            {
                return Ok(file);
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}
