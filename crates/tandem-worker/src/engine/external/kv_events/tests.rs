use std::collections::VecDeque;

use tandem_protocol::kv::KvEventData;
use tandem_runtime::Lifecycle;
use zeromq::{PubSocket, RouterSocket};

use super::*;

#[test]
fn addresses_are_those_to_connect_to() {
    let check = |endpoint: &str, publisher: Publisher| {
        let source = EventSource::resolve(1, endpoint, Some("tcp://*:7"), "10.0.0.1");
        assert_eq!(source.publisher, publisher);
        assert_eq!(source.replay.as_deref(), Some("tcp://10.0.0.1:7"));
    };
    let listens = |endpoint: &str| Publisher::Listens(endpoint.to_owned());
    check("tcp://*:5557", listens("tcp://10.0.0.1:5557"));
    check("tcp://[::]:5557", listens("tcp://10.0.0.1:5557"));
    check("ipc:///run/kv.ipc", listens("ipc:///run/kv.ipc"));
    let connects = Publisher::Connects("tcp://127.0.0.1:9".to_owned());
    check("tcp://127.0.0.1:9", connects);
    assert_eq!(reachable("tcp://*:1", "::1"), "tcp://[::1]:1");
}

/// A batch in which one block with the hash `hash` and the token `hash` is stored.
fn payload(time: f64, hash: u8) -> Bytes {
    let mut bytes = vec![0x92, 0xcb];
    bytes.extend(time.to_be_bytes());
    // ["BlockStored", [hash], nil, [hash], 1]
    bytes.extend([0x91, 0x95, 0xab]);
    bytes.extend(b"BlockStored");
    bytes.extend([0x91, hash, 0xc0, 0x91, hash, 0x01]);
    bytes.into()
}

/// A publisher that repeats what it has kept.
struct Engine {
    publisher: PubSocket,
    source: EventSource,
    kept: Arc<parking_lot::Mutex<VecDeque<(u64, Bytes)>>>,
    tasks: Lifecycle,
}

impl Engine {
    async fn start() -> Self {
        let mut publisher = PubSocket::new();
        let at = publisher.bind("tcp://127.0.0.1:0").await.unwrap();
        let mut router = RouterSocket::new();
        let replay = router.bind("tcp://127.0.0.1:0").await.unwrap();
        let kept: Arc<parking_lot::Mutex<VecDeque<(u64, Bytes)>>> = Arc::default();
        let tasks = Lifecycle::new();
        let repeated = Arc::clone(&kept);
        tasks.spawn(async move {
            while let Ok(ask) = router.recv().await {
                let frames = ask.into_vec();
                let [peer, _, from] = &*frames else {
                    panic!("{frames:?}");
                };
                let from = wire::sequence_number(from).unwrap();
                let wanted: Vec<_> = repeated.lock().iter().cloned().collect();
                let wanted = wanted.into_iter().filter(|(sequence, _)| *sequence >= from);
                let end = (REPLAY_END, Bytes::new());
                for (sequence, payload) in wanted.chain([end]) {
                    let sequence = Bytes::copy_from_slice(&sequence.to_be_bytes());
                    let frames = vec![peer.clone(), Bytes::new(), Bytes::new(), sequence, payload];
                    let answer = ZmqMessage::try_from(frames).unwrap();
                    router.send(answer).await.unwrap();
                }
            }
        });
        Self {
            publisher,
            source: EventSource {
                rank: 0,
                publisher: Publisher::Listens(at.to_string()),
                replay: Some(replay.to_string()),
            },
            kept,
            tasks,
        }
    }

    fn keep(&self, sequence: u64, time: f64, hash: u8) {
        self.kept.lock().push_back((sequence, payload(time, hash)));
    }

    async fn publish(&mut self, sequence: u64, time: f64, hash: u8) {
        let sequence = Bytes::copy_from_slice(&sequence.to_be_bytes());
        let frames = vec![Bytes::new(), sequence, payload(time, hash)];
        let message = ZmqMessage::try_from(frames).unwrap();
        self.publisher.send(message).await.unwrap();
    }

    /// A mirror that follows, once it knows what was kept.
    async fn follow(&self) -> Arc<BlockMirror> {
        let mirror = Arc::new(BlockMirror::new(1, 1));
        let (caught_up, done) = oneshot::channel();
        let following = follow(self.source.clone(), Arc::clone(&mirror), caught_up);
        self.tasks.spawn(following);
        done.await.unwrap();
        mirror
    }
}

fn hashes(mirror: &BlockMirror) -> Vec<u64> {
    let mut hashes: Vec<u64> = mirror
        .subscribe()
        .take_snapshot()
        .into_iter()
        .flat_map(|change| match change.event.data {
            KvEventData::Stored(run) => run.blocks,
            _ => Vec::new(),
        })
        .map(|block| block.block_hash.0)
        .collect();
    hashes.sort_unstable();
    hashes
}

/// Waits until `mirror` knows `expected`.
async fn comes_to(mirror: &BlockMirror, expected: &[u64]) {
    let mut events = mirror.subscribe();
    events.take_snapshot();
    let waiting = async {
        while hashes(mirror) != expected {
            events.next().await.unwrap().unwrap();
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(
        waited.is_ok(),
        "{:?} instead of {expected:?}",
        hashes(mirror)
    );
}

/// Publishes until somebody hears it: a subscription takes a moment to arrive.
async fn first_heard(engine: &mut Engine, mirror: &BlockMirror, sequence: u64, expected: &[u64]) {
    let heard = comes_to(mirror, expected);
    tokio::pin!(heard);
    loop {
        engine.publish(sequence, 2.0, 2).await;
        tokio::select! {
            () = &mut heard => return,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

#[tokio::test]
async fn what_was_told_before_is_known_and_not_counted_twice() {
    let mut engine = Engine::start().await;
    engine.keep(0, 1.0, 1);
    let mirror = engine.follow().await;
    assert_eq!(hashes(&mirror), [1]);
    engine.publish(0, 1.0, 1).await;
    first_heard(&mut engine, &mirror, 1, &[1, 2]).await;
}

#[tokio::test]
async fn what_was_missed_is_asked_for() {
    let mut engine = Engine::start().await;
    let mirror = engine.follow().await;
    engine.keep(0, 1.0, 1);
    engine.keep(1, 1.5, 3);
    engine.keep(2, 2.0, 2);
    first_heard(&mut engine, &mirror, 2, &[1, 2, 3]).await;
}

#[tokio::test]
async fn what_cannot_be_repeated_makes_everything_void() {
    let mut engine = Engine::start().await;
    engine.keep(0, 1.0, 1);
    let mirror = engine.follow().await;
    // Number 1 may have removed what number 0 stored.
    engine.kept.lock().clear();
    engine.keep(5, 1.5, 5);
    first_heard(&mut engine, &mirror, 6, &[2, 5]).await;
}

#[tokio::test]
async fn an_engine_that_begins_anew_has_nothing() {
    let mut engine = Engine::start().await;
    engine.keep(0, 1.0, 1);
    engine.keep(1, 1.0, 3);
    let mirror = engine.follow().await;
    assert_eq!(hashes(&mirror), [1, 3]);
    engine.kept.lock().clear();
    first_heard(&mut engine, &mirror, 0, &[2]).await;
}
