use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{BlockCache, BlockStore, KvShape};

const SHAPE: KvShape = KvShape {
    layers: 2,
    kv_heads: 1,
    head_dim: 4,
    block_size: 16,
};

struct Worker {
    cache: Arc<BlockCache>,
    leases: Arc<LeaseTable>,
    store: BlockStore,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Worker {
    async fn start(lease: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cache = Arc::new(BlockCache::new(8));
        let leases = LeaseTable::new(Arc::clone(&cache), "model".to_owned(), address, lease);
        let leases = Arc::new(leases);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let offer = Offer {
            leases: Some(Arc::clone(&leases)),
            blocks: None,
        };
        tasks.spawn(serve(listener, offer, stop.clone()));
        Self {
            cache,
            leases,
            store: BlockStore::new(SHAPE, 8),
            tasks,
            stop,
        }
    }

    fn prefill(&mut self, blocks: usize) -> Ticket {
        let ids = self.cache.update(|pool| pool.allocate(blocks)).unwrap();
        let mut held = Vec::new();
        for id in ids {
            self.store.write(id).fill(id.index() as f32 + 0.5);
            held.push((id, self.store.share(id)));
        }
        self.leases.grant(held, blocks * 16 - 3, Instant::now())
    }
}

fn plan(first_block: usize) -> FetchPlan<'static> {
    FetchPlan {
        fingerprint: "model",
        block_len: SHAPE.block_len(),
        first_block,
        timeouts: FetchTimeouts {
            connect: Duration::from_secs(2),
            frame: Duration::from_millis(300),
        },
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn blocks_arrive_unchanged_and_the_lease_ends() {
    let mut worker = Worker::start(LONG).await;
    let ticket = worker.prefill(3);
    assert_eq!(worker.cache.usage().referenced, 3);
    let blocks = fetch(&ticket, plan(1)).await.unwrap();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[0].iter().all(|&number| number == 1.5));
    assert!(blocks[1].iter().all(|&number| number == 2.5));
    let again = fetch(&ticket, plan(1)).await;
    assert!(matches!(again, Err(TransferError::UnknownHandle)));
    assert_eq!(worker.cache.usage().referenced, 0);
    worker.stop.cancel();
    worker.tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn an_unwanted_lease_is_released() {
    let mut worker = Worker::start(LONG).await;
    let ticket = worker.prefill(2);
    release(&ticket, FetchTimeouts::default()).await.unwrap();
    let gone = fetch(&ticket, plan(0)).await;
    assert!(matches!(gone, Err(TransferError::UnknownHandle)));
    assert_eq!(worker.leases.outstanding(), 0);
}

#[tokio::test]
async fn an_expired_lease_frees_its_blocks_and_is_unknown() {
    let mut worker = Worker::start(LONG).await;
    let ticket = worker.prefill(2);
    assert_eq!(worker.leases.expire(Instant::now()), 0);
    assert_eq!(worker.leases.expire(Instant::now() + LONG), 1);
    assert_eq!(worker.cache.usage().referenced, 0);
    let gone = fetch(&ticket, plan(0)).await;
    assert!(matches!(gone, Err(TransferError::UnknownHandle)));
}

#[tokio::test]
async fn another_model_is_refused_by_both_sides() {
    let mut worker = Worker::start(LONG).await;
    let mut ticket = worker.prefill(1);
    let other = FetchPlan {
        fingerprint: "other",
        ..plan(0)
    };
    let refused = fetch(&ticket, other).await;
    assert!(matches!(refused, Err(TransferError::ModelMismatch)));
    ticket.fingerprint = "other".to_owned();
    let refused = fetch(&ticket, other).await;
    assert!(matches!(refused, Err(TransferError::ModelMismatch)));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let failed = fetch(&ticket_at(address), plan(0)).await;
    assert!(matches!(failed, Err(TransferError::Unreachable { .. })));
}

/// Sits between two workers and does `mischief` to the answer.
async fn fetch_through(mischief: fn(&mut Vec<u8>)) -> Result<usize, TransferError> {
    let mut worker = Worker::start(LONG).await;
    let mut ticket = worker.prefill(2);
    let target = ticket.address.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ticket.address = listener.local_addr().unwrap().to_string();
    let mut proxy = JoinSet::new();
    proxy.spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        let mut request = vec![0; 4096];
        let length = client.read(&mut request).await.unwrap();
        server.write_all(&request[..length]).await.unwrap();
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await.unwrap();
        mischief(&mut answer);
        client.write_all(&answer).await.unwrap();
        if answer.last() == Some(&b'!') {
            std::future::pending::<()>().await;
        }
    });
    fetch(&ticket, plan(0)).await.map(|blocks| blocks.len())
}

fn ticket_at(address: String) -> Ticket {
    Ticket {
        address,
        handle: "h".to_owned(),
        fingerprint: "model".to_owned(),
        tokens: 16,
        blocks: 1,
    }
}

#[tokio::test]
async fn damage_on_the_way_is_noticed() {
    assert_eq!(fetch_through(|_| {}).await.unwrap(), 2);
    let flipped = fetch_through(|answer| answer[100] ^= 1).await;
    assert!(
        matches!(flipped, Err(TransferError::Checksum)),
        "{flipped:?}"
    );
    let cut = fetch_through(|answer| answer.truncate(700)).await;
    assert!(
        matches!(cut, Err(TransferError::Disconnected(_))),
        "{cut:?}"
    );
    let silent = fetch_through(|answer| {
        answer.truncate(700);
        answer.push(b'!');
    });
    let silent = silent.await;
    assert!(matches!(silent, Err(TransferError::Timeout)), "{silent:?}");
    let nonsense = fetch_through(|answer| answer[4] = 99).await;
    assert!(
        matches!(nonsense, Err(TransferError::Protocol(_))),
        "{nonsense:?}"
    );
    let huge = fetch_through(|answer| answer[3] = 0xff).await;
    assert!(matches!(huge, Err(TransferError::Protocol(_))), "{huge:?}");
}
