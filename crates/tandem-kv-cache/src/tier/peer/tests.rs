use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};

use tandem_protocol::kv::{BlockHash, SequenceHash};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::block::BlockIdentity;
use crate::cache::BlockCache;
use crate::store::BlockData;
use crate::tier::{KvTiers, Onboarding, TierBlocks, TierConfig, TierFigures};
use crate::transfer::{BlockSource, Offer, serve};

/// Four blocks are 32 MiB: more need several questions.
const LARGE: KvShape = KvShape {
    layers: 1,
    kv_heads: 64,
    head_dim: 1024,
    block_size: 16,
};
const SMALL: KvShape = KvShape {
    layers: 1,
    kv_heads: 1,
    head_dim: 2,
    block_size: 16,
};

fn blocks(count: u64) -> Vec<BlockIdentity> {
    let mut parent = None;
    let identify = |token| {
        let identity = BlockIdentity::after(parent, BlockHash(token));
        parent = Some(identity.sequence);
        identity
    };
    (0..count).map(identify).collect()
}

/// A worker with some blocks, whose numbers say which they are.
struct Worker {
    shape: KvShape,
    has: HashMap<SequenceHash, f32>,
    /// How many blocks each question asked for.
    questions: Mutex<Vec<usize>>,
}

impl BlockSource for Worker {
    fn block_bytes(&self) -> usize {
        self.shape.block_bytes()
    }

    fn find(&self, lookup: Lookup) -> Option<oneshot::Receiver<Vec<BlockData>>> {
        self.questions.lock().push(lookup.blocks.len());
        if lookup.fingerprint != "model" {
            return None;
        }
        let (reply, found) = oneshot::channel();
        let has = |block: &BlockIdentity| self.has.get(&block.sequence);
        let numbers = lookup.blocks.iter().map_while(has);
        let data = numbers.map(|number| BlockData::from(vec![*number; self.shape.block_len()]));
        reply.send(data.collect()).ok();
        Some(found)
    }
}

/// A worker on a network, and one that asks it.
struct Network {
    worker: Arc<Worker>,
    peer: Peer,
    tiers: KvTiers,
    woken: Receiver<()>,
    _runtime: runtime::Runtime,
}

impl Network {
    /// The worker has the first `has` of the blocks that it is said to have `said` of.
    fn start(shape: KvShape, has: u64, said: usize) -> Self {
        let hashes = blocks(has).into_iter().map(|block| block.sequence);
        let worker = Arc::new(Worker {
            shape,
            has: hashes.zip((0_u8..).map(f32::from)).collect(),
            questions: Mutex::default(),
        });
        let offer = Offer {
            leases: None,
            blocks: Some(Arc::clone(&worker) as _),
        };
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        runtime.spawn(serve(listener, offer, CancellationToken::new()));
        let config = TierConfig {
            peers: true,
            ..TierConfig::default()
        };
        let of = TierBlocks {
            fingerprint: "on disk",
            shape,
        };
        let (wake, woken) = channel();
        let wake = move || {
            wake.send(()).ok();
        };
        let cache = Arc::new(BlockCache::new(1));
        Self {
            worker,
            peer: Peer {
                address,
                fingerprint: "model".to_owned(),
                blocks: said,
            },
            tiers: KvTiers::open(&config, of, cache, wake).unwrap(),
            woken,
            _runtime: runtime,
        }
    }

    fn ask(&self, pace: Option<Duration>) -> Option<PeerAsk<'_>> {
        Some(PeerAsk {
            peer: &self.peer,
            blocks: self.peer.blocks,
            pace,
        })
    }

    /// Asks for the first `count` blocks, and returns the first number of each that came.
    fn bring(&self, count: u64) -> Vec<f32> {
        let ask = self.ask(Some(Duration::from_secs(10)));
        let onboarding = self
            .tiers
            .onboard(&blocks(count), &Onboarding::default(), ask);
        if !onboarding.is_empty() {
            self.woken.recv().unwrap();
        }
        assert!(onboarding.is_ready());
        let found = self.tiers.take(onboarding);
        found.iter().map(|data| data[0]).collect()
    }

    fn figures(&self) -> TierFigures {
        self.tiers.figures().remove(0)
    }
}

#[test]
fn large_blocks_are_asked_for_some_at_a_time() {
    let network = Network::start(LARGE, 6, 9);
    assert_eq!(network.bring(9), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(*network.worker.questions.lock(), [4, 4]);
    let figures = network.figures();
    assert_eq!((figures.stored, figures.onboarded), (6, 6));
    assert_eq!(
        figures.failures.into_iter().collect::<Vec<_>>(),
        [("gone", 3)]
    );
}

#[test]
fn no_more_is_asked_for_than_the_worker_is_said_to_have() {
    let network = Network::start(SMALL, 9, 3);
    assert_eq!(network.bring(9), [0.0, 1.0, 2.0]);
    assert_eq!(*network.worker.questions.lock(), [3]);
    assert!(network.figures().failures.is_empty());
    let nobody = network
        .tiers
        .onboard(&blocks(9), &Onboarding::default(), None);
    assert!(nobody.is_empty());
}

#[test]
fn what_was_read_ahead_is_not_fetched_again() {
    let network = Network::start(SMALL, 5, 5);
    let wanted = blocks(5);
    let ask = network.ask(None);
    let ahead = network.tiers.read_ahead(&wanted, ask);
    network.woken.recv().unwrap();
    let onboarding = network.tiers.onboard(&wanted, &ahead, ask);
    drop(ahead);
    assert!(onboarding.is_ready());
    assert_eq!(network.tiers.take(onboarding).len(), 5);
    assert_eq!(*network.worker.questions.lock(), [5]);
}

#[test]
fn nobody_is_asked_for_what_nobody_waits_for() {
    let network = Network::start(SMALL, 5, 5);
    // The second is behind the first on one connection after the other: both are called off, or
    // were too fast.
    for _ in 0..2 {
        drop(network.tiers.read_ahead(&blocks(5), network.ask(None)));
        network.woken.recv().unwrap();
    }
    assert!(network.figures().failures.is_empty());
    assert_eq!(network.bring(5).len(), 5);
}

#[test]
fn a_worker_that_fails_is_left_alone_for_a_while() {
    let mut network = Network::start(SMALL, 5, 5);
    network.peer.fingerprint = "other".to_owned();
    assert!(network.bring(5).is_empty());
    let failures: Vec<_> = network.figures().failures.into_iter().collect();
    assert_eq!(failures, [("model_mismatch", 5)]);
    network.peer.fingerprint = "model".to_owned();
    let asked = network
        .tiers
        .onboard(&blocks(5), &Onboarding::default(), network.ask(None));
    assert!(asked.is_empty(), "it was asked again");

    let shunned = Shunned::default();
    let now = Instant::now();
    shunned.add("a".to_owned(), now);
    assert!(shunned.holds("a", now) && !shunned.holds("b", now));
    assert!(!shunned.holds("a", now + SHUNNED));
}

#[test]
fn tiers_that_end_do_not_wait_for_a_fetch() {
    let mut network = Network::start(SMALL, 5, 5);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    network.peer.address = listener.local_addr().unwrap().to_string();
    let ask = network.ask(Some(Duration::from_secs(60)));
    let onboarding = network
        .tiers
        .onboard(&blocks(5), &Onboarding::default(), ask);
    assert!(!onboarding.is_ready());
    let begun = Instant::now();
    drop(network.tiers);
    assert!(begun.elapsed() < Duration::from_secs(5));
}
