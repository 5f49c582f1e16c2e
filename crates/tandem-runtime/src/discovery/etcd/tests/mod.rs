//! Discovery over a simulated network, with a store that fails and forgets.

mod server;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};
use turmoil::net::TcpStream;
use turmoil::{Builder, Sim};

use super::*;
use crate::simulation::seeds;
use store::Store;

const TTL: Duration = Duration::from_secs(4);
/// When the last fault has begun, in milliseconds.
const FAULTS_END: u64 = 40_000;
/// Time after which everybody knows everything again: a lease's time for what is lost, another one
/// for what may come back, and some for connections.
const RECOVERY: Duration = Duration::from_secs(40);

/// What the hosts are, and what they know.
#[derive(Default)]
struct World {
    store: Arc<Mutex<Store>>,
    /// What each worker wants to be there.
    wanted: Mutex<BTreeMap<&'static str, BTreeMap<String, Bytes>>>,
    /// What the reader was told.
    told: Mutex<BTreeMap<String, Bytes>>,
    /// Entries that the reader was told are gone.
    lost: Mutex<BTreeSet<String>>,
}

impl World {
    fn wanted(&self) -> BTreeMap<String, Bytes> {
        let wanted = self.wanted.lock();
        let entries = wanted.values().flatten();
        entries
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

async fn join() -> EtcdDiscovery {
    let connector = tower::service_fn(|_| async {
        let stream = TcpStream::connect(("etcd", server::PORT)).await?;
        Ok::<_, std::io::Error>(TokioIo::new(stream))
    });
    let endpoint = client::patient(Endpoint::from_static("http://etcd"));
    let channel: Channel = endpoint.connect_with_connector_lazy(connector);
    let options = EtcdOptions {
        endpoints: Vec::new(),
        login: None,
        tls: EtcdTls::default(),
        lease_ttl: TTL,
        connect_timeout: Duration::from_secs(120),
    };
    let client = EtcdClient::over(channel);
    let lifecycle = Lifecycle::new();
    let joined = EtcdDiscovery::join(client, &options, &lifecycle).await;
    joined.unwrap()
}

/// Registers with two entries, of which one never changes.
async fn worker(world: Arc<World>, name: &'static str, seed: u64) -> turmoil::Result {
    let mut random = SmallRng::seed_from_u64(seed);
    world.wanted.lock().remove(name);
    let discovery = join().await;
    let key = |endpoint: &str| format!("v1/instances/ns/c/{endpoint}/{:x}", discovery.lease());
    let put = async |key: String, value: Bytes| {
        // A store may be away for longer than a write waits.
        while let Err(error) = discovery.put(key.clone(), value.clone()).await {
            assert!(matches!(error, DiscoveryError::Unavailable(_)), "{error}");
        }
        let mut wanted = world.wanted.lock();
        wanted.entry(name).or_default().insert(key, value);
    };
    put(key("constant"), Bytes::new()).await;
    for number in 0_u32.. {
        put(key("changing"), Bytes::from(number.to_string())).await;
        let pause = Duration::from_millis(random.random_range(500..5_000));
        sleep(pause).await;
        let now = turmoil::sim_elapsed().unwrap();
        if now > Duration::from_millis(FAULTS_END) {
            break;
        }
    }
    std::future::pending().await
}

async fn reader(world: Arc<World>) -> turmoil::Result {
    let discovery = join().await;
    let mut events = discovery.watch("v1/instances/");
    while let Some(event) = events.next().await {
        let mut told = world.told.lock();
        match event {
            DiscoveryEvent::Put { key, value } => drop(told.insert(key, value)),
            DiscoveryEvent::Delete { key } => {
                assert!(told.remove(&key).is_some(), "{key} was never told of");
                world.lost.lock().insert(key);
            }
        }
    }
    Ok(())
}

/// What goes wrong, and how it is undone.
type Fault = fn(&mut Sim<'_>, &World, &mut SmallRng) -> Undo;
type Undo = fn(&mut Sim<'_>);

/// Runs simulations in which `fault` happens again and again, and gives what the hosts know at
/// the end to `verdict`.
fn check(count: u64, fault: Fault, verdict: fn(&World)) {
    for seed in seeds(count) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut sim = Builder::new()
            .rng_seed(seed)
            .simulation_duration(Duration::from_secs(600))
            .tick_duration(Duration::from_millis(10))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(30))
            .build();
        let world = Arc::new(World::default());
        let store = Arc::clone(&world.store);
        sim.host("etcd", move || server::serve(Arc::clone(&store)));
        for name in ["worker-1", "worker-2"] {
            let world = Arc::clone(&world);
            sim.host(name, move || worker(Arc::clone(&world), name, seed));
        }
        let reading = Arc::clone(&world);
        sim.host("reader", move || reader(Arc::clone(&reading)));
        let end = Duration::from_millis(FAULTS_END + 20_000) + RECOVERY;
        sim.client("clock", async move {
            sleep(end).await;
            Ok(())
        });
        let mut next = random.random_range(3_000..8_000);
        let mut undo: Option<Undo> = None;
        while !sim.step().unwrap() {
            let now = u64::try_from(sim.elapsed().as_millis()).unwrap();
            if now < next {
                continue;
            }
            next = match undo.take() {
                Some(undo) => {
                    undo(&mut sim);
                    now + random.random_range(100..8_000)
                }
                None if now < FAULTS_END => {
                    undo = Some(fault(&mut sim, &world, &mut random));
                    now + random.random_range(100..20_000)
                }
                None => u64::MAX,
            };
        }
        let wanted = world.wanted();
        assert_eq!(wanted.len(), 4, "both workers have registered");
        assert_eq!(
            world.store.lock().contents(),
            wanted,
            "the store has it all"
        );
        assert_eq!(*world.told.lock(), wanted, "and so has the reader");
        verdict(&world);
    }
}

/// Only a worker that died was told to be gone.
fn nobody_was_lost(world: &World) {
    let (wanted, lost) = (world.wanted(), world.lost.lock());
    let wrongly = lost.iter().filter(|key| wanted.contains_key(*key));
    assert_eq!(wrongly.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_store_that_crashes_is_no_news() {
    check(
        3,
        |sim, _, _| {
            sim.crash("etcd");
            |sim| sim.bounce("etcd")
        },
        nobody_was_lost,
    );
}

#[test]
fn a_reader_that_is_cut_off_learns_what_it_missed() {
    check(
        3,
        |sim, _, _| {
            sim.partition("reader", "etcd");
            // It comes back under another id.
            sim.crash("worker-2");
            |sim| {
                sim.repair("reader", "etcd");
                sim.bounce("worker-2");
            }
        },
        nobody_was_lost,
    );
}

#[test]
fn a_reader_needs_no_history() {
    check(
        3,
        |_, world, _| {
            world.store.lock().forget();
            |_| {}
        },
        nobody_was_lost,
    );
}

#[test]
fn a_worker_that_is_cut_off_comes_back_under_its_id() {
    check(
        3,
        |sim, _, random| {
            if random.random() {
                sim.partition("worker-1", "etcd");
            } else {
                sim.partition_oneway("etcd", "worker-1");
            }
            |sim| {
                sim.repair_oneway("worker-1", "etcd");
                sim.repair_oneway("etcd", "worker-1");
            }
        },
        |_| {},
    );
}

#[test]
fn messages_that_are_lost_are_no_news() {
    check(
        3,
        |sim, _, random| {
            sim.set_fail_rate(random.random_range(0.0..0.005));
            |sim| {
                sim.set_fail_rate(0.0);
                for host in ["worker-1", "worker-2", "reader"] {
                    sim.repair(host, "etcd");
                }
            }
        },
        |_| {},
    );
}
