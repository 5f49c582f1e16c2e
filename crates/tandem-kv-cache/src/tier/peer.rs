//! Blocks that another worker has: fetched instead of computed.
//!
//! Who has them, the one that sends the request knows. Fetching takes no longer than computing
//! would: a worker that does not answer costs that time once, and is left alone for a while.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tandem_protocol::kv::StorageTier;
use tokio::runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::metrics::TierCounters;
use super::onboard::{Read, Wake};
use super::{TierError, TierFailure};
use crate::layout::KvShape;
use crate::transfer::{Conversation, Lookup, TransferError};

/// Fetches at a time; more wait, and their time runs.
const MAX_FETCHES: usize = 64;
/// How long to wait where it is not known yet how long computing takes.
const UNKNOWN: Duration = Duration::from_secs(1);
/// Least time for a fetch: what a busy network may need.
const LEAST: Duration = Duration::from_millis(20);
/// How long a worker is left alone that did not answer.
const SHUNNED: Duration = Duration::from_secs(5);

/// Another worker that has the first blocks of a sequence, as far as its frontend knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it serves transfers, `host:port`.
    pub address: String,
    /// Equal for two workers if and only if they can use each other's blocks.
    pub fingerprint: String,
    /// How many blocks it has, from the first on.
    pub blocks: usize,
}

/// Whom to ask for the rest of a sequence's blocks.
#[derive(Debug, Clone, Copy)]
pub struct PeerAsk<'a> {
    /// Who.
    pub peer: &'a Peer,
    /// How many of the wanted blocks it has, from the first on.
    pub blocks: usize,
    /// How long computing a block would take; `None` if that is not known yet.
    pub pace: Option<Duration>,
}

/// Fetches blocks of other workers on a thread of its own.
#[derive(Debug)]
pub(super) struct PeerTier {
    /// `None` once stopped.
    fetches: Option<mpsc::UnboundedSender<Fetch>>,
    pub(super) counters: Arc<TierCounters>,
    shunned: Arc<Shunned>,
    thread: Option<JoinHandle<()>>,
}

/// Blocks of one sequence that one worker is asked for, in order.
#[derive(Debug)]
struct Fetch {
    address: String,
    fingerprint: String,
    reads: Vec<Read>,
    deadline: Instant,
}

/// Workers that did not answer.
#[derive(Debug, Default)]
struct Shunned(Mutex<FxHashMap<String, Instant>>);

impl Shunned {
    fn holds(&self, address: &str, now: Instant) -> bool {
        let mut until = self.0.lock();
        until.retain(|_, until| *until > now);
        until.contains_key(address)
    }

    fn add(&self, address: String, now: Instant) {
        self.0.lock().insert(address, now + SHUNNED);
    }
}

impl PeerTier {
    /// Starts the thread; `wake` is called when blocks have come, or will not.
    pub(super) fn start(shape: &KvShape, wake: &Wake) -> Result<Self, TierError> {
        let (fetches, received) = mpsc::unbounded_channel();
        let counters = Arc::new(TierCounters::new(StorageTier::External));
        let shunned = Arc::<Shunned>::default();
        let fetcher = Fetcher {
            block_len: shape.block_len(),
            counters: Arc::clone(&counters),
            shunned: Arc::clone(&shunned),
            wake: wake.clone(),
        };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(TierError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("kv-peers".to_owned())
            .spawn(move || runtime.block_on(fetcher.run(received)))
            .map_err(TierError::Thread)?;
        Ok(Self {
            fetches: Some(fetches),
            counters,
            shunned,
            thread: Some(thread),
        })
    }

    /// Whether it is worth asking a worker.
    pub(super) fn may_ask(&self, peer: &Peer) -> bool {
        !self.shunned.holds(&peer.address, Instant::now())
    }

    /// Fetches `reads`, in order, for as long as computing them would take.
    pub(super) fn fetch(&self, ask: PeerAsk<'_>, reads: Vec<Read>) {
        let count = u32::try_from(reads.len()).unwrap_or(u32::MAX);
        let patience = ask.pace.map_or(UNKNOWN, |pace| pace.saturating_mul(count));
        let fetch = Fetch {
            address: ask.peer.address.clone(),
            fingerprint: ask.peer.fingerprint.clone(),
            reads,
            deadline: Instant::now() + patience.max(LEAST),
        };
        let fetches = self.fetches.as_ref();
        if let Some(refused) = fetches.and_then(|fetches| fetches.send(fetch).err()) {
            give_up(refused.0.reads);
        }
    }
}

impl Drop for PeerTier {
    fn drop(&mut self) {
        self.fetches = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was told already; whoever waits for its blocks is gone as well.
            thread.join().ok();
        }
    }
}

/// The thread's part.
#[derive(Debug)]
struct Fetcher {
    block_len: usize,
    counters: Arc<TierCounters>,
    shunned: Arc<Shunned>,
    wake: Wake,
}

impl Fetcher {
    /// Fetches until nobody can ask any more; what is on its way then is of no use to anybody.
    async fn run(self, mut fetches: mpsc::UnboundedReceiver<Fetch>) {
        let this = Arc::new(self);
        let room = Arc::new(Semaphore::new(MAX_FETCHES));
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                fetch = fetches.recv() => {
                    let Some(fetch) = fetch else { return };
                    let (this, room) = (Arc::clone(&this), Arc::clone(&room));
                    running.spawn(async move {
                        let _permit = room.acquire().await;
                        this.bring(fetch).await;
                    });
                }
                Some(_) = running.join_next() => {}
            }
        }
    }

    /// Brings what comes of a fetch in time, and gives up the rest.
    async fn bring(&self, fetch: Fetch) {
        let Fetch {
            address,
            fingerprint,
            reads,
            deadline,
        } = fetch;
        let mut reads = Reads(reads.into_iter());
        let left = deadline.saturating_duration_since(Instant::now());
        let talk = self.talk((&address, &fingerprint), left, &mut reads);
        let ended = match timeout(left, talk).await {
            Ok(ended) => ended,
            Err(_) => Err(TransferError::Timeout),
        };
        let missing = reads.wanted();
        match ended {
            Ok(()) => self.counters.fail(TierFailure::Gone, missing),
            Err(error) => {
                tracing::debug!(address, missing, %error, "failed to fetch kv blocks");
                self.counters
                    .fail(TierFailure::Peer(error.reason()), missing);
                self.shunned.add(address, Instant::now());
            }
        }
        give_up(reads.0);
        (self.wake.0)();
    }

    /// Asks for `reads`, some at a time, until they are all there, or one is not.
    async fn talk(
        &self,
        (address, fingerprint): (&str, &str),
        patience: Duration,
        reads: &mut Reads,
    ) -> Result<(), TransferError> {
        if reads.wanted() == 0 {
            return Ok(());
        }
        let mut worker = Conversation::open(address, self.block_len, patience).await?;
        while reads.wanted() > 0 {
            let pending = reads.0.as_slice();
            let pending = &pending[..pending.len().min(worker.most_blocks())];
            let lookup = Lookup {
                fingerprint: fingerprint.to_owned(),
                blocks: pending.iter().map(|read| read.identity).collect(),
            };
            let mut came = 0;
            let take = |data| {
                came += 1;
                self.counters.stored(1, 0);
                if let Some(read) = reads.0.next() {
                    read.set(Some(data));
                }
            };
            worker.find(&lookup, take).await?;
            if came < lookup.blocks.len() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Reads that have not come yet.
#[derive(Debug)]
struct Reads(std::vec::IntoIter<Read>);

impl Reads {
    /// How many somebody still waits for.
    fn wanted(&self) -> usize {
        let reads = self.0.as_slice().iter();
        reads.filter(|read| read.is_wanted()).count()
    }
}

fn give_up(reads: impl IntoIterator<Item = Read>) {
    for read in reads {
        read.set(None);
    }
}

#[cfg(test)]
mod tests;
