//! Bringing blocks back to the device: reads that run while the engine computes something else.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tandem_protocol::kv::StorageTier;

use super::TierError;
use super::direct::PageBuffer;
use super::disk::{DiskStore, Unread};
use super::metrics::TierCounters;
use crate::block::BlockIdentity;
use crate::store::BlockData;

/// Threads that read.
const READERS: usize = 2;
/// Blocks that one thread reads in a row: several share a long prompt, and its first blocks come
/// first.
const CHUNK: usize = 8;
/// Chunks that may wait; what finds no place is computed.
const QUEUE: usize = 4096;

/// A block that was found or is being read; `None` inside if it could not be.
type Cell = OnceLock<Option<BlockData>>;

/// Consecutive blocks of a sequence on their way to the device. Dropping it calls off what has not
/// been read yet.
#[derive(Debug, Default)]
pub struct Onboarding {
    blocks: Vec<Expected>,
    /// Holds its share of what may be read ahead.
    share: Option<Share>,
}

#[derive(Debug)]
struct Expected {
    identity: BlockIdentity,
    /// Where it was found.
    tier: StorageTier,
    cell: Arc<Cell>,
}

impl Onboarding {
    /// Blocks that are there or expected.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether no block was found.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether nothing is being read any more.
    pub fn is_ready(&self) -> bool {
        let mut blocks = self.blocks.iter().rev();
        blocks.all(|block| block.cell.get().is_some())
    }

    /// The blocks that came, up to the first that did not, and where they were.
    pub(super) fn into_blocks(self) -> impl Iterator<Item = (StorageTier, BlockData)> {
        self.blocks.into_iter().map_while(|block| {
            let data = block.cell.get().cloned().flatten()?;
            Some((block.tier, data))
        })
    }

    pub(super) fn push_ready(&mut self, identity: BlockIdentity, data: BlockData) {
        self.blocks.push(Expected {
            identity,
            tier: StorageTier::HostPinned,
            cell: Arc::new(Cell::from(Some(data))),
        });
    }

    /// Adds a block to be read from `tier`, and returns where it is to be put.
    pub(super) fn push_read(&mut self, identity: BlockIdentity, tier: StorageTier) -> Read {
        let cell = Arc::new(Cell::new());
        self.blocks.push(Expected {
            identity,
            tier,
            cell: Arc::clone(&cell),
        });
        Read { identity, cell }
    }

    /// Adds a block that `earlier` has or is reading. False if it has not.
    pub(super) fn push_from(&mut self, identity: &BlockIdentity, earlier: &Self) -> bool {
        let mut blocks = earlier.blocks.iter();
        let Some(known) = blocks.find(|known| known.identity == *identity) else {
            return false;
        };
        self.blocks.push(Expected {
            identity: *identity,
            tier: known.tier,
            cell: Arc::clone(&known.cell),
        });
        true
    }

    pub(super) fn with_share(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }
}

/// Blocks that may be read for sequences that wait: bounds their memory.
#[derive(Debug, Clone)]
pub(super) struct ReadAhead {
    left: Arc<AtomicUsize>,
}

impl ReadAhead {
    pub(super) fn new(blocks: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(blocks)),
        }
    }

    /// Takes as much of `wanted` as there is.
    pub(super) fn take(&self, wanted: usize) -> Share {
        let mut blocks = 0;
        let take = |left: usize| {
            blocks = left.min(wanted);
            Some(left - blocks)
        };
        // The closure never declines.
        let _ = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Share {
            blocks,
            of: self.clone(),
        }
    }
}

/// A part of what may be read ahead; goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) blocks: usize,
    of: ReadAhead,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.left.fetch_add(self.blocks, Ordering::Relaxed);
    }
}

/// A block to be read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) identity: BlockIdentity,
    cell: Arc<Cell>,
}

impl Read {
    /// Whether anybody waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.cell) > 1
    }

    /// Says what came of it.
    pub(super) fn set(self, data: Option<BlockData>) {
        // Nobody else sets it.
        self.cell.set(data).ok();
    }
}

/// Called when blocks have come.
#[derive(Clone)]
pub(super) struct Wake(pub(super) Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Wake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Wake")
    }
}

/// Reads blocks from disk on threads of its own.
#[derive(Debug)]
pub(super) struct Onboarder {
    /// `None` once stopped.
    jobs: Option<SyncSender<Vec<Read>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Onboarder {
    pub(super) fn start(
        disk: &Arc<DiskStore>,
        counters: &Arc<TierCounters>,
        wake: &Wake,
    ) -> Result<Self, TierError> {
        let (jobs, waiting) = sync_channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut onboarder = Self {
            jobs: Some(jobs),
            threads: Vec::new(),
        };
        for _ in 0..READERS {
            let reader = Reader {
                waiting: Arc::clone(&waiting),
                disk: Arc::clone(disk),
                counters: Arc::clone(counters),
                wake: wake.clone(),
            };
            let thread = std::thread::Builder::new()
                .name("kv-onboard".to_owned())
                .spawn(move || reader.run())
                .map_err(TierError::Thread)?;
            onboarder.threads.push(thread);
        }
        Ok(onboarder)
    }

    /// Reads `blocks`, in order.
    pub(super) fn read(&self, mut blocks: Vec<Read>) {
        while !blocks.is_empty() {
            let rest = blocks.split_off(blocks.len().min(CHUNK));
            let jobs = self.jobs.as_ref();
            if let Some(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) =
                jobs.and_then(|jobs| jobs.try_send(blocks).err())
            {
                for read in refused {
                    read.set(None);
                }
            }
            blocks = rest;
        }
    }
}

impl Drop for Onboarder {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // If it panicked, that was told already; whoever waits for its blocks is gone as well.
            thread.join().ok();
        }
    }
}

/// A thread's part.
#[derive(Debug)]
struct Reader {
    waiting: Arc<Mutex<Receiver<Vec<Read>>>>,
    disk: Arc<DiskStore>,
    counters: Arc<TierCounters>,
    wake: Wake,
}

impl Reader {
    fn run(&self) {
        let mut buffer = PageBuffer::default();
        loop {
            let job = self.waiting.lock().recv();
            let Ok(job) = job else { return };
            for read in job {
                if !read.is_wanted() {
                    continue;
                }
                let data = match self.disk.read(&read.identity, &mut buffer) {
                    Ok(data) => Some(data),
                    Err(Unread::Gone) => None,
                    Err(Unread::Failed(failure)) => {
                        self.counters.fail(failure, 1);
                        None
                    }
                };
                read.set(data);
            }
            (self.wake.0)();
        }
    }
}
