//! The plane over a simulated network that delays, loses and cuts.
//!
//! The simulated TCP does not repeat what was lost, so a connection that loses something stands
//! still from then on, as a real one does when its path is gone for good.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, timeout};
use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

use super::*;
use crate::request_plane::{Handler, ServedEndpoint};
use crate::simulation::seeds;

/// Most time between two signs of life of a call, of which every one is one at last.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two tokens.
const STEP: Duration = Duration::from_millis(20);
/// Time in which everything is as it was before the faults.
const RECOVERY: Duration = Duration::from_secs(30);
/// When faults begin and end.
const FAULTS: Range<u64> = 1_000..20_000;
/// Calls at a time.
const CALLS: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Simulated;

impl Network for Simulated {
    type Listener = TcpListener;
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    async fn listen(&self, address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
        // The simulation listens at all addresses of a host only.
        let all = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        let listener = TcpListener::bind(all).await?;
        let port = listener.local_addr()?.port();
        Ok((listener, SocketAddr::new(address.ip(), port)))
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
        Ok(listener.accept().await?.0.into_split())
    }

    async fn connect(&self, address: &str) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
        Ok(TcpStream::connect(address).await?.into_split())
    }
}

/// What the hosts share, as through a store that never fails.
#[derive(Default)]
struct World {
    /// The record of the worker.
    instance: Mutex<Option<Instance>>,
    /// Requests that are being worked on.
    running: AtomicUsize,
}

/// Answers `name count` with `name 0` and so on, one token a step.
struct Counter(Arc<World>);

struct Running(Arc<World>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Counter {
    fn handle(&self, request: Request) -> BoxStream<'static, Bytes> {
        let text = String::from_utf8(request.body.to_vec()).unwrap();
        let (name, count) = text.split_once(' ').unwrap();
        assert_eq!(request.id, name);
        self.0.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.0));
        let (name, count) = (name.to_owned(), count.parse().unwrap());
        stream::iter(0..count)
            .then(move |index: usize| {
                let _running = &running;
                let token = Bytes::from(format!("{name} {index}"));
                async move {
                    sleep(STEP).await;
                    token
                }
            })
            .boxed()
    }
}

fn endpoint() -> EndpointId {
    EndpointId::new("ns", "backend", "generate")
}

/// A host that serves until it crashes.
async fn worker(world: Arc<World>) -> turmoil::Result {
    let lifecycle = Lifecycle::new();
    let plane = DirectPlane::new(Simulated, turmoil::lookup("worker"), &lifecycle);
    let served = Served::new(Arc::new(Counter(Arc::clone(&world))));
    let direct = plane.serve(&endpoint(), 1, served.clone()).await?;
    let served = ServedEndpoint {
        transport: crate::Transport::Memory(String::new()),
        direct: Some(direct),
        closing: served.closing,
        in_flight: served.in_flight,
        cut: served.cut.drop_guard(),
    };
    *world.instance.lock() = Some(served.instance(&endpoint(), 1));
    std::future::pending().await
}

fn caller(lifecycle: &Lifecycle) -> Arc<DirectPlane<Simulated>> {
    let host = turmoil::lookup("caller");
    Arc::new(DirectPlane::new(Simulated, host, lifecycle))
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Complete,
    LetGo,
    Failed(CallError),
}

/// What is asked of the worker, and for how long.
struct Ask {
    name: String,
    count: usize,
    /// Tokens after which the caller lets go.
    enough: usize,
}

/// Makes a call and checks whatever comes: each token is the next one of this call.
async fn call(plane: &DirectPlane<Simulated>, world: &World, ask: &Ask) -> Outcome {
    let Ask {
        name,
        count,
        enough,
    } = ask;
    let instance = world.instance.lock().clone().unwrap();
    let address = DirectPlane::<Simulated>::address(&instance).unwrap();
    let request = Request::new(name, format!("{name} {count}"));
    let called = timeout(PATIENCE, plane.call(address, &instance, request));
    let mut answers = match called.await.expect("a call is answered or fails") {
        Ok(answers) => answers,
        Err(error) => return Outcome::Failed(error),
    };
    let mut got = 0;
    while got < *enough {
        let next = timeout(PATIENCE, answers.next());
        match next.await.expect("an answer goes on or breaks off") {
            Some(Ok(token)) => {
                assert_eq!(token, format!("{name} {got}"));
                got += 1;
            }
            Some(Err(error)) => {
                assert!(
                    answers.next().await.is_none(),
                    "nothing comes after an error"
                );
                return Outcome::Failed(error);
            }
            None => {
                assert_eq!(got, *count, "an answer that is cut is no complete one");
                return Outcome::Complete;
            }
        }
    }
    Outcome::LetGo
}

/// Calls one after the other until the faults are over; says how many were complete.
async fn keep_calling(
    plane: &DirectPlane<Simulated>,
    world: &World,
    task: usize,
    seed: u64,
) -> usize {
    let mut random = SmallRng::seed_from_u64(seed ^ (task as u64) << 32);
    let mut complete = 0;
    let started = Instant::now();
    for number in 0.. {
        if started.elapsed() > Duration::from_millis(FAULTS.end) {
            break;
        }
        let length = random.random_range(0..200);
        let lets_go = random.random_bool(0.3);
        let ask = Ask {
            name: format!("{task}.{number}"),
            // Longer than the simulation takes, if the worker were not told.
            count: if lets_go { 1_000_000 } else { length },
            enough: if lets_go { length } else { usize::MAX },
        };
        match call(plane, world, &ask).await {
            Outcome::Complete => complete += 1,
            Outcome::LetGo => {}
            Outcome::Failed(_) => sleep(STEP).await,
        }
    }
    complete
}

/// What the caller does, and what it must find.
async fn use_the_plane(world: Arc<World>, seed: u64) -> turmoil::Result {
    let lifecycle = Lifecycle::new();
    let plane = caller(&lifecycle);
    while world.instance.lock().is_none() {
        sleep(STEP).await;
    }
    let tasks = (0..CALLS).map(|task| {
        let (plane, world) = (Arc::clone(&plane), Arc::clone(&world));
        lifecycle.spawn_to_end(async move { keep_calling(&plane, &world, task, seed).await })
    });
    let mut complete = 0;
    for task in tasks.collect::<Vec<_>>() {
        complete += task.await?;
    }
    assert!(complete > 0, "calls before the first fault are answered");
    sleep(RECOVERY).await;
    assert_eq!(
        world.running.load(Ordering::SeqCst),
        0,
        "the worker was told"
    );
    for number in 0..3 {
        let ask = Ask {
            name: format!("after.{number}"),
            count: 10,
            enough: usize::MAX,
        };
        let outcome = call(&plane, &world, &ask).await;
        assert_eq!(outcome, Outcome::Complete, "the plane has recovered");
    }
    Ok(())
}

/// What happens to the network, and when it is over.
type Fault = fn(&mut Sim<'_>, &mut SmallRng) -> Undo;
type Undo = fn(&mut Sim<'_>);

fn simulation(seed: u64) -> Sim<'static> {
    Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(300))
        .tick_duration(Duration::from_millis(5))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(50))
        .build()
}

/// Runs simulations in which `fault` happens again and again.
fn check(count: u64, fault: Fault) {
    for seed in seeds(count) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut sim = simulation(seed);
        let world = Arc::new(World::default());
        let hosted = Arc::clone(&world);
        sim.host("worker", move || worker(Arc::clone(&hosted)));
        sim.client("caller", use_the_plane(Arc::clone(&world), seed));
        let mut next = random.random_range(FAULTS.start..FAULTS.start + 2_000);
        let mut undo: Option<Undo> = None;
        while !sim.step().unwrap() {
            let now = u64::try_from(sim.elapsed().as_millis()).unwrap();
            if now < next {
                continue;
            }
            next = match undo.take() {
                Some(undo) => {
                    undo(&mut sim);
                    now + random.random_range(100..4_000)
                }
                None if now < FAULTS.end => {
                    undo = Some(fault(&mut sim, &mut random));
                    now + random.random_range(10..15_000)
                }
                None => u64::MAX,
            };
        }
    }
}

#[test]
fn calls_survive_delay() {
    check(8, |sim, random| {
        // All at once, long after: `hold` loses nothing.
        if random.random() {
            sim.hold("caller", "worker");
        } else {
            sim.set_max_message_latency(Duration::from_secs(2));
        }
        |sim| {
            sim.release("caller", "worker");
            sim.set_max_message_latency(Duration::from_millis(50));
        }
    });
}

#[test]
fn calls_survive_a_partition() {
    check(8, |sim, _| {
        sim.partition("caller", "worker");
        |sim| sim.repair("caller", "worker")
    });
}

#[test]
fn calls_survive_a_network_that_works_one_way() {
    check(8, |sim, random| {
        if random.random() {
            sim.partition_oneway("caller", "worker");
        } else {
            sim.partition_oneway("worker", "caller");
        }
        |sim| {
            sim.repair_oneway("caller", "worker");
            sim.repair_oneway("worker", "caller");
        }
    });
}

#[test]
fn calls_survive_loss() {
    check(8, |sim, random| {
        sim.set_fail_rate(random.random_range(0.0..0.01));
        |sim| {
            sim.set_fail_rate(0.0);
            sim.repair("caller", "worker");
        }
    });
}

#[test]
fn calls_survive_a_worker_that_crashes_and_comes_back() {
    check(8, |sim, _| {
        sim.crash("worker");
        |sim| sim.bounce("worker")
    });
}
