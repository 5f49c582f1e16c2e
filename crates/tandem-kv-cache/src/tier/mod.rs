//! Slower and larger places for the blocks that the device has no room for.
//!
//! A block that the device gives up goes to the host's memory (`host`); one that was seen often
//! enough is written to a file (`disk`) behind the engine's back (`offload`), wherever it is by
//! then. Both are looked up when a prompt comes, and what they have goes back to the device
//! (`onboard`) instead of being computed.
//!
//! Whatever fails costs a computation and a count in [`TierFigures`]: nothing that a tier returns is
//! anything but the block that was asked for.

mod disk;
mod file;
mod host;
mod metrics;
mod offload;
mod onboard;
mod record;
mod residents;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tandem_protocol::kv::StorageTier;

use self::disk::{DiskLayout, DiskStore};
use self::host::HostPool;
use self::metrics::TierCounters;
use self::offload::Offloader;
use self::onboard::{Onboarder, ReadAhead, Wake};
use crate::block::BlockIdentity;
use crate::cache::BlockCache;
use crate::layout::KvShape;
use crate::store::BlockData;

pub use metrics::TierFigures;
pub use onboard::Onboarding;

/// Most memory of blocks that are read for sequences that wait.
const READ_AHEAD_BYTES: usize = 256 << 20;

/// Which tiers there are below the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierConfig {
    /// Most bytes of blocks in the host's memory; 0 for none.
    pub host_bytes: u64,
    /// The tier on disk, if there is one.
    pub disk: Option<DiskConfig>,
    /// How often a block has to be seen before it is written to disk; 1 for always.
    pub min_frequency: u32,
}

/// A tier on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// Most bytes of blocks.
    pub bytes: u64,
    /// Where they are; workers may share it, each has a file of its own.
    pub directory: PathBuf,
}

impl Default for TierConfig {
    fn default() -> Self {
        Self {
            host_bytes: 0,
            disk: None,
            min_frequency: 2,
        }
    }
}

/// Why tiers could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// The directory or the file in it cannot be used.
    #[error(
        "failed to use {path} for kv blocks, choose a directory on a local disk that can be written: {source}"
    )]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Too many workers use the directory.
    #[error("all files for kv blocks in {0} are in use by other workers, choose another directory")]
    Taken(PathBuf),
    /// Not one block fits.
    #[error("a kv tier of {bytes} bytes is too small, one block takes {needed}")]
    TooSmall {
        /// What was given.
        bytes: u64,
        /// What one block takes.
        needed: u64,
    },
    /// The system starts no more threads.
    #[error("failed to start a thread for a kv tier: {0}")]
    Thread(std::io::Error),
}

/// Why a tier did not do what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TierFailure {
    Corrupted,
    ShortRead,
    Read,
    Write,
    Full,
    QueueFull,
}

impl TierFailure {
    /// Metric label.
    const fn reason(self) -> &'static str {
        match self {
            Self::Corrupted => "corrupted",
            Self::ShortRead => "short_read",
            Self::Read => "read_error",
            Self::Write => "write_error",
            Self::Full => "disk_full",
            Self::QueueFull => "queue_full",
        }
    }
}

/// What the blocks of a device are.
#[derive(Debug, Clone, Copy)]
pub struct TierBlocks<'a> {
    /// Equal for two workers if and only if they can use each other's blocks.
    pub fingerprint: &'a str,
    /// Shape of the blocks.
    pub shape: KvShape,
}

/// The tiers below a device. Dropping it writes for a moment what is on its way to disk.
#[derive(Debug)]
pub struct KvTiers {
    cache: Arc<BlockCache>,
    host: Option<HostTier>,
    disk: Option<DiskTier>,
}

#[derive(Debug)]
struct HostTier {
    pool: Mutex<HostPool>,
    counters: TierCounters,
}

#[derive(Debug)]
struct DiskTier {
    store: Arc<DiskStore>,
    counters: Arc<TierCounters>,
    offloader: Offloader,
    onboarder: Onboarder,
    read_ahead: ReadAhead,
}

impl KvTiers {
    /// Makes the tiers that `config` asks for; `cache` is told what they hold, and `wake` is called
    /// when an [`Onboarding`] may have become ready.
    ///
    /// # Errors
    /// A tier is too small or its directory cannot be used.
    pub fn open(
        config: &TierConfig,
        blocks: TierBlocks<'_>,
        cache: Arc<BlockCache>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, TierError> {
        let host = host_pool(config.host_bytes, &blocks.shape)?;
        let disk = match &config.disk {
            None => None,
            Some(disk) => {
                let layout = DiskLayout {
                    fingerprint: blocks.fingerprint.to_owned(),
                    block_len: blocks.shape.block_len(),
                    bytes: disk.bytes,
                };
                let store = open_disk(disk, layout, &cache)?;
                let block_bytes = blocks.shape.block_bytes();
                let wake = Wake(Arc::new(wake));
                Some(DiskTier::start(
                    store,
                    config.min_frequency,
                    block_bytes,
                    &wake,
                )?)
            }
        };
        Ok(Self { cache, host, disk })
    }

    /// Whether there is no tier at all.
    pub fn is_empty(&self) -> bool {
        self.host.is_none() && self.disk.is_none()
    }

    /// Takes in what the device gave up, parents before children.
    pub fn evicted(&self, blocks: Vec<(BlockIdentity, BlockData)>) {
        if let Some(disk) = &self.disk {
            for (identity, data) in &blocks {
                disk.offloader.rescue(*identity, || data.clone());
            }
        }
        let Some(host) = &self.host else { return };
        let mut pool = host.pool.lock();
        let mut fresh = Vec::new();
        for (identity, data) in blocks {
            if pool.insert(identity, data) {
                fresh.push(identity);
            }
        }
        self.cache.note_stored(StorageTier::HostPinned, &fresh);
        let evicted = pool.keep_within_capacity();
        self.cache.note_removed(StorageTier::HostPinned, &evicted);
        host.counters.stored(fresh.len(), evicted.len());
    }

    /// Notes that a block was computed or used on the device.
    pub fn saw(&self, identity: BlockIdentity, data: impl FnOnce() -> BlockData) {
        if let Some(disk) = &self.disk {
            disk.offloader.see(identity, data);
        }
    }

    /// Looks for consecutive blocks, and reads those that are not in memory. `ahead` is what was
    /// read ahead for the same sequence.
    pub fn onboard(&self, wanted: &[BlockIdentity], ahead: &Onboarding) -> Onboarding {
        let mut found = Onboarding::default();
        let mut reads = Vec::new();
        for identity in wanted {
            if let Some(data) = self.in_host(identity) {
                found.push_ready(*identity, data);
                continue;
            }
            if found.push_from(identity, ahead) {
                continue;
            }
            if !self.on_disk(identity) {
                break;
            }
            reads.push(found.push_read(*identity));
        }
        self.read(reads);
        found
    }

    /// Looks for consecutive blocks in the host's memory only.
    pub fn in_memory(&self, wanted: &[BlockIdentity]) -> Onboarding {
        let mut found = Onboarding::default();
        for identity in wanted {
            let Some(data) = self.in_host(identity) else {
                break;
            };
            found.push_ready(*identity, data);
        }
        found
    }

    /// Begins to read the blocks of a sequence that has to wait, as far as memory for that allows.
    pub fn read_ahead(&self, wanted: &[BlockIdentity]) -> Onboarding {
        let mut found = Onboarding::default();
        let Some(disk) = &self.disk else {
            return found;
        };
        let mut on_disk = Vec::new();
        for identity in wanted {
            let in_host = self.host.as_ref();
            if in_host.is_some_and(|host| host.pool.lock().contains(identity)) {
                continue;
            }
            if !disk.store.contains(identity) {
                break;
            }
            on_disk.push(*identity);
        }
        let share = disk.read_ahead.take(on_disk.len());
        let affordable = on_disk.into_iter().take(share.blocks);
        let reads = affordable
            .map(|identity| found.push_read(identity))
            .collect();
        self.read(reads);
        found.with_share(share)
    }

    /// The blocks that came, up to the first that did not: they go to the device now.
    pub fn take(&self, onboarding: Onboarding) -> Vec<BlockData> {
        let mut from_host = 0;
        let blocks = onboarding.into_blocks();
        let blocks = blocks.inspect(|(tier, _)| {
            from_host += usize::from(*tier == StorageTier::HostPinned);
        });
        let blocks: Vec<_> = blocks.map(|(_, data)| data).collect();
        if let Some(host) = &self.host {
            host.counters.onboarded(from_host);
        }
        if let Some(disk) = &self.disk {
            disk.counters.onboarded(blocks.len() - from_host);
        }
        blocks
    }

    /// Figures of each tier, the fastest first.
    pub fn figures(&self) -> Vec<TierFigures> {
        let host = self.host.iter().map(|host| {
            let pool = host.pool.lock();
            host.counters.figures(pool.len(), pool.capacity())
        });
        let disk = self.disk.iter().map(|disk| {
            let store = &disk.store;
            disk.counters.figures(store.len(), store.capacity())
        });
        host.chain(disk).collect()
    }

    fn in_host(&self, identity: &BlockIdentity) -> Option<BlockData> {
        self.host.as_ref()?.pool.lock().get(identity)
    }

    fn on_disk(&self, identity: &BlockIdentity) -> bool {
        let disk = self.disk.as_ref();
        disk.is_some_and(|disk| disk.store.contains(identity))
    }

    fn read(&self, reads: Vec<onboard::Read>) {
        if let Some(disk) = &self.disk {
            disk.onboarder.read(reads);
        }
    }
}

impl DiskTier {
    fn start(
        store: DiskStore,
        min_frequency: u32,
        block_bytes: usize,
        wake: &Wake,
    ) -> Result<Self, TierError> {
        let store = Arc::new(store);
        let counters = Arc::new(TierCounters::new(StorageTier::Disk));
        let offloader = Offloader::start(
            Arc::clone(&store),
            Arc::clone(&counters),
            min_frequency,
            block_bytes,
        )?;
        Ok(Self {
            onboarder: Onboarder::start(&store, &counters, wake)?,
            offloader,
            read_ahead: ReadAhead::new((READ_AHEAD_BYTES / block_bytes).max(1)),
            store,
            counters,
        })
    }
}

fn host_pool(bytes: u64, shape: &KvShape) -> Result<Option<HostTier>, TierError> {
    if bytes == 0 {
        return Ok(None);
    }
    let needed = shape.block_bytes() as u64;
    let capacity = usize::try_from(bytes / needed).unwrap_or(usize::MAX);
    if capacity == 0 {
        return Err(TierError::TooSmall { bytes, needed });
    }
    Ok(Some(HostTier {
        pool: Mutex::new(HostPool::new(capacity)),
        counters: TierCounters::new(StorageTier::HostPinned),
    }))
}

fn open_disk(
    config: &DiskConfig,
    layout: DiskLayout,
    cache: &Arc<BlockCache>,
) -> Result<DiskStore, TierError> {
    if layout.capacity() == 0 {
        return Err(TierError::TooSmall {
            bytes: config.bytes,
            needed: layout.least_bytes(),
        });
    }
    let file = file::claim(&config.directory, &layout.preamble())?;
    DiskStore::open(Box::new(file), layout, Arc::clone(cache)).map_err(|source| {
        TierError::Directory {
            path: config.directory.clone(),
            source,
        }
    })
}

#[cfg(test)]
mod tests;
