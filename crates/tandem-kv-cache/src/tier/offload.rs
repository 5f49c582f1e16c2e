//! What goes to disk, and when: blocks that were seen often enough, behind the engine's back.
//!
//! The queue to the writing thread is bounded; a block that finds it full stays where it is and has
//! its next chance when it is seen again or leaves the device.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use tandem_protocol::kv::SequenceHash;

use super::direct::PageBuffer;
use super::disk::DiskStore;
use super::metrics::TierCounters;
use super::{TierError, TierFailure};
use crate::block::BlockIdentity;
use crate::store::BlockData;

/// Most memory of blocks that wait to be written.
const QUEUE_BYTES: usize = 256 << 20;
/// How long blocks that wait are still written when the tiers are stopped.
const FLUSH: Duration = Duration::from_secs(1);

/// Counts how often blocks were seen, approximately: when the table is full, all counts are halved.
#[derive(Debug)]
struct Frequency {
    least: u32,
    most_entries: usize,
    counts: FxHashMap<SequenceHash, u32>,
}

impl Frequency {
    fn new(least: u32, most_entries: usize) -> Self {
        Self {
            least,
            most_entries,
            counts: FxHashMap::default(),
        }
    }

    /// Counts one more sight of a block.
    fn see(&mut self, hash: SequenceHash) {
        if self.least <= 1 {
            return;
        }
        if self.counts.len() >= self.most_entries && !self.counts.contains_key(&hash) {
            self.counts.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
        let count = self.counts.entry(hash).or_default();
        *count = count.saturating_add(1);
    }

    fn is_enough(&self, hash: SequenceHash) -> bool {
        self.least <= 1
            || self
                .counts
                .get(&hash)
                .is_some_and(|count| *count >= self.least)
    }
}

type Job = (BlockIdentity, BlockData);

/// Writes blocks to disk on a thread of its own.
#[derive(Debug)]
pub(super) struct Offloader {
    disk: Arc<DiskStore>,
    counters: Arc<TierCounters>,
    frequency: Mutex<Frequency>,
    /// Blocks on their way, which need not be sent again.
    queued: Arc<Mutex<FxHashSet<SequenceHash>>>,
    /// `None` once stopped.
    jobs: Option<SyncSender<Job>>,
    stopped: Arc<Mutex<Option<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Offloader {
    /// Starts the thread. Blocks of `block_bytes` are written once they were seen `least` times.
    pub(super) fn start(
        disk: Arc<DiskStore>,
        counters: Arc<TierCounters>,
        least: u32,
        block_bytes: usize,
    ) -> Result<Self, TierError> {
        let (jobs, waiting) = sync_channel((QUEUE_BYTES / block_bytes).clamp(4, 1 << 16));
        let queued = Arc::new(Mutex::new(FxHashSet::default()));
        let stopped = Arc::new(Mutex::new(None));
        let writer = Writer {
            disk: Arc::clone(&disk),
            counters: Arc::clone(&counters),
            queued: Arc::clone(&queued),
            stopped: Arc::clone(&stopped),
        };
        let thread = std::thread::Builder::new()
            .name("kv-offload".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(TierError::Thread)?;
        let most_entries = (4 * disk.capacity()).max(1 << 16);
        Ok(Self {
            disk,
            counters,
            frequency: Mutex::new(Frequency::new(least, most_entries)),
            queued,
            jobs: Some(jobs),
            stopped,
            thread: Some(thread),
        })
    }

    /// Counts one more sight of a block, and has it written if that was the one that was missing.
    pub(super) fn see(&self, identity: BlockIdentity, data: impl FnOnce() -> BlockData) {
        let enough = {
            let mut frequency = self.frequency.lock();
            frequency.see(identity.sequence);
            frequency.is_enough(identity.sequence)
        };
        if enough && !self.disk.touch(&identity) {
            self.send(identity, data);
        }
    }

    /// Has a block written that is about to be lost, if it was seen often enough.
    pub(super) fn rescue(&self, identity: BlockIdentity, data: impl FnOnce() -> BlockData) {
        let enough = self.frequency.lock().is_enough(identity.sequence);
        if enough && !self.disk.contains(&identity) {
            self.send(identity, data);
        }
    }

    /// Waits until what was sent so far is written or has failed.
    #[cfg(test)]
    pub(super) fn flush(&self) {
        while !self.queued.lock().is_empty() {
            std::thread::yield_now();
        }
    }

    fn send(&self, identity: BlockIdentity, data: impl FnOnce() -> BlockData) {
        let Some(jobs) = &self.jobs else { return };
        if !self.queued.lock().insert(identity.sequence) {
            return;
        }
        match jobs.try_send((identity, data())) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.queued.lock().remove(&identity.sequence);
                self.counters.fail(TierFailure::QueueFull, 1);
            }
            Err(TrySendError::Disconnected(_)) => {
                self.queued.lock().remove(&identity.sequence);
            }
        }
    }
}

impl Drop for Offloader {
    fn drop(&mut self) {
        *self.stopped.lock() = Some(Instant::now());
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was told already; nothing depends on it.
            thread.join().ok();
        }
    }
}

/// The thread's part.
#[derive(Debug)]
struct Writer {
    disk: Arc<DiskStore>,
    counters: Arc<TierCounters>,
    queued: Arc<Mutex<FxHashSet<SequenceHash>>>,
    stopped: Arc<Mutex<Option<Instant>>>,
}

impl Writer {
    fn run(&self, waiting: &Receiver<Job>) {
        let mut buffer = PageBuffer::default();
        while let Ok((identity, data)) = waiting.recv() {
            let stopped = *self.stopped.lock();
            if stopped.is_some_and(|at| at.elapsed() > FLUSH) {
                return;
            }
            if !self.disk.contains(&identity) {
                match self.disk.write(identity, &data, &mut buffer) {
                    Ok(evicted) => self.counters.stored(1, evicted),
                    Err(failure) => self.counters.fail(failure, 1),
                }
            }
            self.queued.lock().remove(&identity.sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_worth_it_after_enough_sights() {
        let mut frequency = Frequency::new(3, 2);
        let hash = SequenceHash;
        for (seen, enough) in [(1, false), (2, false), (3, true)] {
            frequency.see(hash(1));
            assert_eq!(frequency.is_enough(hash(1)), enough, "{seen}");
        }
        assert!(Frequency::new(1, 2).is_enough(hash(9)));
        frequency.see(hash(2));
        // The table is full: what was seen once is forgotten, the rest is halved.
        frequency.see(hash(3));
        assert!(!frequency.is_enough(hash(1)));
        assert_eq!(frequency.counts.len(), 2);
        frequency.see(hash(1));
        frequency.see(hash(1));
        assert!(frequency.is_enough(hash(1)));
    }
}
