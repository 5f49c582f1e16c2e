//! Slower and larger places for the blocks that the device has no room for.
//!
//! A block that the device gives up goes to the host's memory (`host`); one that was seen often
//! enough is written to a file (`disk`) behind the engine's back (`offload`), wherever it is by
//! then. Both are looked up when a prompt comes, then another worker that is said to have the rest
//! (`peer`), and what they have goes to the device (`onboard`) instead of being computed.
//!
//! Whatever fails costs a computation and a count in [`TierFigures`]: nothing that a tier returns is
//! anything but the block that was asked for.

mod direct;
mod disk;
mod file;
mod host;
mod metrics;
mod offload;
mod onboard;
mod peer;
mod record;
mod residents;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tandem_protocol::kv::StorageTier;

use self::direct::Access;
use self::disk::{DiskLayout, DiskStore};
use self::host::HostPool;
use self::metrics::TierCounters;
use self::offload::Offloader;
use self::onboard::{Onboarder, Read, ReadAhead, Wake};
use self::peer::PeerTier;
use crate::block::BlockIdentity;
use crate::cache::BlockCache;
use crate::layout::KvShape;
use crate::store::BlockData;

pub use metrics::TierFigures;
pub use onboard::Onboarding;
pub use peer::{Peer, PeerAsk};

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
    /// Whether blocks are fetched from other workers that have them, and given to those that ask.
    pub peers: bool,
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
            peers: false,
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
    /// Another worker does not have what it was said to have.
    Gone,
    /// A transfer failed, for the reason that it names.
    Peer(&'static str),
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
            Self::Gone => "gone",
            Self::Peer(reason) => reason,
        }
    }

    /// Whether it happens where nothing is broken.
    const fn is_usual(self) -> bool {
        matches!(self, Self::QueueFull | Self::Gone)
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
    peers: Option<PeerTier>,
    read_ahead: ReadAhead,
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
        let block_bytes = blocks.shape.block_bytes();
        let wake = Wake(Arc::new(wake));
        let disk = match &config.disk {
            None => None,
            Some(disk) => {
                let layout = DiskLayout {
                    fingerprint: blocks.fingerprint.to_owned(),
                    block_len: blocks.shape.block_len(),
                    bytes: disk.bytes,
                };
                // A host tier would be there twice with the system's cache, which else serves as one.
                let access = match host {
                    Some(_) => Access::Direct,
                    None => Access::Cached,
                };
                let store = open_disk((disk, access), layout, &cache)?;
                Some(DiskTier::start(
                    store,
                    config.min_frequency,
                    block_bytes,
                    &wake,
                )?)
            }
        };
        let peers = config.peers.then(|| PeerTier::start(&blocks.shape, &wake));
        Ok(Self {
            cache,
            host,
            disk,
            peers: peers.transpose()?,
            read_ahead: ReadAhead::new((READ_AHEAD_BYTES / block_bytes).max(1)),
        })
    }

    /// Whether there is no tier at all.
    pub fn is_empty(&self) -> bool {
        self.host.is_none() && self.disk.is_none() && self.peers.is_none()
    }

    /// Whether blocks that the device gives up go anywhere.
    pub fn keep_evicted(&self) -> bool {
        self.host.is_some() || self.disk.is_some()
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
    /// read ahead for the same sequence; `ask` is for what is nowhere here.
    pub fn onboard(
        &self,
        wanted: &[BlockIdentity],
        ahead: &Onboarding,
        ask: Option<PeerAsk<'_>>,
    ) -> Onboarding {
        let ask = self.askable(ask);
        let mut found = Onboarding::default();
        let mut reads = Reads::default();
        for (index, identity) in wanted.iter().enumerate() {
            if let Some(data) = self.in_host(identity) {
                found.push_ready(*identity, data);
            } else if !found.push_from(identity, ahead) {
                let Some(tier) = self.place((index, identity), ask) else {
                    break;
                };
                reads.push(tier, found.push_read(*identity, tier));
            }
        }
        self.read(reads, ask);
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
    pub fn read_ahead(&self, wanted: &[BlockIdentity], ask: Option<PeerAsk<'_>>) -> Onboarding {
        let ask = self.askable(ask);
        let mut found = Onboarding::default();
        if self.disk.is_none() && ask.is_none() {
            return found;
        }
        let mut places = Vec::new();
        for (index, identity) in wanted.iter().enumerate() {
            let in_host = self.host.as_ref();
            if in_host.is_some_and(|host| host.pool.lock().contains(identity)) {
                continue;
            }
            let Some(tier) = self.place((index, identity), ask) else {
                break;
            };
            places.push((*identity, tier));
        }
        let share = self.read_ahead.take(places.len());
        let mut reads = Reads::default();
        for (identity, tier) in places.into_iter().take(share.blocks) {
            reads.push(tier, found.push_read(identity, tier));
        }
        self.read(reads, ask);
        found.with_share(share)
    }

    /// The blocks that came, up to the first that did not: they go to the device now.
    pub fn take(&self, onboarding: Onboarding) -> Vec<BlockData> {
        let (mut from_host, mut from_disk, mut from_peers) = (0, 0, 0);
        let count = |(tier, data)| {
            match tier {
                StorageTier::Device | StorageTier::HostPinned => from_host += 1,
                StorageTier::Disk => from_disk += 1,
                StorageTier::External => from_peers += 1,
            }
            data
        };
        let blocks: Vec<_> = onboarding.into_blocks().map(count).collect();
        if let Some(host) = &self.host {
            host.counters.onboarded(from_host);
        }
        if let Some(disk) = &self.disk {
            disk.counters.onboarded(from_disk);
        }
        if let Some(peers) = &self.peers {
            peers.counters.onboarded(from_peers);
        }
        blocks
    }

    /// The numbers of a block that is in the host's memory.
    pub fn in_host(&self, identity: &BlockIdentity) -> Option<BlockData> {
        self.host.as_ref()?.pool.lock().get(identity)
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
        // What is fetched goes to the device.
        let peers = self.peers.iter().map(|peers| peers.counters.figures(0, 0));
        host.chain(disk).chain(peers).collect()
    }

    /// `ask`, if it is worth it.
    fn askable<'a>(&self, ask: Option<PeerAsk<'a>>) -> Option<PeerAsk<'a>> {
        let peers = self.peers.as_ref()?;
        ask.filter(|ask| peers.may_ask(ask.peer))
    }

    /// Where a block can be read that is not in memory, the `index`th that is wanted.
    fn place(
        &self,
        (index, identity): (usize, &BlockIdentity),
        ask: Option<PeerAsk<'_>>,
    ) -> Option<StorageTier> {
        let disk = self.disk.as_ref();
        if disk.is_some_and(|disk| disk.store.contains(identity)) {
            return Some(StorageTier::Disk);
        }
        let there = ask.is_some_and(|ask| index < ask.blocks);
        there.then_some(StorageTier::External)
    }

    fn read(&self, reads: Reads, ask: Option<PeerAsk<'_>>) {
        if let Some(disk) = &self.disk {
            disk.onboarder.read(reads.disk);
        }
        if let (Some(peers), Some(ask), false) = (&self.peers, ask, reads.peer.is_empty()) {
            peers.fetch(ask, reads.peer);
        }
    }
}

/// Blocks to be read, by where they are.
#[derive(Debug, Default)]
struct Reads {
    disk: Vec<Read>,
    peer: Vec<Read>,
}

impl Reads {
    fn push(&mut self, tier: StorageTier, read: Read) {
        match tier {
            StorageTier::External => self.peer.push(read),
            _ => self.disk.push(read),
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
    (config, access): (&DiskConfig, Access),
    layout: DiskLayout,
    cache: &Arc<BlockCache>,
) -> Result<DiskStore, TierError> {
    if layout.capacity() == 0 {
        return Err(TierError::TooSmall {
            bytes: config.bytes,
            needed: layout.least_bytes(),
        });
    }
    let (file, path) = file::claim(&config.directory, &layout.preamble())?;
    let file = access.to(file, &path);
    DiskStore::open(file, layout, Arc::clone(cache)).map_err(|source| TierError::Directory {
        path: config.directory.clone(),
        source,
    })
}

#[cfg(test)]
mod tests;
