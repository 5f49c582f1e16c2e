//! Against a real server.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use super::super::entry::Moment;
use super::super::testing::{Process, stored, until};
use super::super::tests::{ANSWER, Asks, answer, hit};
use super::*;
use crate::config::{CacheStore, Secret, StoreKind};

/// A server on a port of its own; killed when it is dropped.
struct Server {
    process: Child,
    port: u16,
    flags: Vec<String>,
}

impl Server {
    async fn start(flags: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut server = Self {
            process: spawn(port, &flags),
            port,
            flags,
        };
        server.wait().await;
        server
    }

    async fn wait(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "no redis-server");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    async fn restart(&mut self) {
        self.process = spawn(self.port, &self.flags);
        self.wait().await;
    }

    fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        let status = Command::new("kill").args([name, &process]).status();
        assert!(status.unwrap().success());
    }

    fn settings(&self) -> StoreServer {
        StoreServer {
            kind: StoreKind::Redis {
                database: 0,
                prefix: "test[1]:".to_owned(),
            },
            host: "127.0.0.1".to_owned(),
            port: self.port,
            username: None,
            password: None,
            tls: None,
            // A busy machine must not make answers late.
            deadline: Duration::from_secs(10),
        }
    }

    async fn backend(&self) -> RedisBackend {
        let backend = RedisBackend::new(&self.settings(), 0, "test[1]:");
        Backend::prepare(&backend).await.unwrap();
        backend
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn spawn(port: u16, flags: &[String]) -> Child {
    let port = port.to_string();
    Command::new("redis-server")
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
        .args(flags)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed: `make servers`")
}

fn process(server: &Server) -> Process {
    Process::start(server.settings())
}

/// A process that waits no longer than others do.
fn impatient(server: &Server) -> Process {
    Process::start(StoreServer {
        deadline: CacheStore::DEFAULT_DEADLINE,
        ..server.settings()
    })
}

#[tokio::test]
async fn entries_are_found_by_their_keys_and_by_the_words_of_their_questions() {
    let server = Server::start(&[]).await;
    let (backend, other) = (server.backend().await, server.backend().await);
    let now = Moment::now();
    let peru = stored("What is the capital of Peru?");
    let forever = Entry {
        expires: None,
        ..stored("What is the capital of Chile?")
    };
    for entry in [&peru, &forever, &stored("Who wrote Faust?")] {
        backend.put(entry, now).await.unwrap();
    }
    assert_eq!(other.get(peru.key).await.unwrap().as_ref(), Some(&peru));
    assert_eq!(other.get(Key::of(&[b"another"])).await, Ok(None));
    let found = async |asked: &Asked, now: Moment| {
        let found = other.candidates(asked, now).await.unwrap();
        found.into_iter().map(|one| one.key).collect::<Vec<_>>()
    };
    let asked = peru.question.clone().unwrap();
    let keys = found(&asked, now).await;
    assert_eq!(keys, [peru.key, forever.key]);
    let elsewhere = Asked {
        rest: Key::of(&[b"elsewhere"]),
        ..asked.clone()
    };
    assert_eq!(found(&elsewhere, now).await, []);
    let later = now.after(Duration::from_secs(601));
    assert_eq!(found(&asked, later).await, [forever.key]);
}

#[tokio::test]
async fn entries_expire_and_leave_no_names_behind() {
    let server = Server::start(&[]).await;
    let backend = server.backend().await;
    let now = Moment::now();
    let mut short = stored("What is the capital of Peru?");
    short.expires = Some(now.after(Duration::from_millis(50)));
    backend.put(&short, now).await.unwrap();
    let late = now.after(Duration::from_millis(50));
    backend
        .put(&stored("Who wrote Faust?"), late)
        .await
        .unwrap();
    backend.put(&short, late).await.unwrap();
    let gone = async || backend.get(short.key).await == Ok(None);
    while !gone().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // As if it had been evicted: its name is there, and it is not.
    let asked = short.question.clone().unwrap();
    assert_eq!(backend.candidates(&asked, now).await, Ok(Vec::new()));
    let set = backend.term(asked.rest, asked.terms[0]);
    let mut size = pipe();
    size.cmd("ZCARD").arg(set);
    assert_eq!(backend.run::<Vec<usize>>(&size).await, Ok(vec![0]));
}

#[tokio::test]
async fn dropped_answers_are_gone_and_everybody_is_told() {
    let server = Server::start(&[]).await;
    let (backend, other) = (server.backend().await, server.backend().await);
    let now = Moment::now();
    let drops = |selector: Selector| Invalidation {
        selector,
        until: Moment::now(),
    };
    let names = ["a", "b", "c", "d"].map(|name| format!("What is {name}{name}?"));
    let mut entries = names.map(|name| stored(&name));
    entries[1].model = "n".to_owned();
    entries[2].decision = None;
    for entry in &entries {
        backend.put(entry, now).await.unwrap();
    }
    let left = async || {
        let mut left = String::new();
        for (entry, name) in entries.iter().zip(["a", "b", "c", "d"]) {
            if other.get(entry.key).await.unwrap().is_some() {
                left.push_str(name);
            }
        }
        left
    };
    let mut told = Vec::new();
    for (selector, want) in [
        (Selector::Key(entries[3].key), "abc"),
        (Selector::Model("n".to_owned()), "ac"),
        (Selector::Decision("geography".to_owned()), "c"),
        (Selector::All, ""),
    ] {
        let invalidation = drops(selector);
        backend.invalidate(&invalidation).await.unwrap();
        assert_eq!(left().await, want, "{invalidation:?}");
        told.push(invalidation);
    }
    let heard = other.invalidations(now).await.unwrap();
    assert!(told.iter().all(|one| heard.contains(one)), "{heard:?}");
    let later = Moment::now().after(Duration::from_secs(1));
    assert_eq!(other.invalidations(later).await, Ok(Vec::new()));
    let mut keys = pipe();
    keys.cmd("KEYS").arg("*");
    let keys: Vec<Vec<String>> = backend.run(&keys).await.unwrap();
    assert_eq!(keys, [["test[1]:dropped"]]);
}

#[tokio::test]
async fn processes_share_answers() {
    let server = Server::start(&[]).await;
    let (one, other) = (process(&server), process(&server));
    one.available().await;
    other.available().await;
    let asks = Asks::default();
    answer(&one.cache, &asks, ANSWER).await;
    until("it is written", || one.count("add_entry", "success") == 1).await;
    let similar = Asks {
        question: "tell me the capital of Peru please",
        vector: [0.8, 0.6],
        ..Asks::default()
    };
    let found = hit(&other.cache, &similar).await.unwrap();
    assert_eq!(
        (found.answer.as_ref(), found.similarity),
        (ANSWER.as_bytes(), Some(0.8))
    );
    // It is in memory from now on.
    let asked = other.count("get_by_id", "hit");
    assert_eq!(hit(&other.cache, &asks).await.unwrap().similarity, None);
    assert_eq!(other.count("get_by_id", "hit"), asked);
    for stranger in [
        Asks {
            tenant: "bert",
            ..asks.clone()
        },
        Asks {
            system: "Be long.",
            ..asks.clone()
        },
        Asks {
            question: "What is the capital of Chile?",
            ..asks.clone()
        },
    ] {
        assert_eq!(hit(&other.cache, &stranger).await, None);
    }
    assert_eq!(one.cache.invalidate(&Selector::All).await, Ok(1));
    until("the other hears of it", || {
        other.cache.statistics().entries == 0
    })
    .await;
    assert_eq!(hit(&other.cache, &asks).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_is_used_again() {
    let mut server = Server::start(&[]).await;
    let cache = impatient(&server);
    cache.available().await;
    let (requests, slow) = cache
        .under_load(async {
            server.kill();
            let is_lost = || !cache.is_available();
            until("it is given up", is_lost).await;
            server.restart().await;
            cache.available().await;
        })
        .await;
    println!("killed: {requests} requests, {slow} waited for the deadline");
    assert!(cache.count("get_by_id", "error") + cache.count("get_by_id", "timeout") > 0);
    answer(&cache.cache, &Asks::default(), ANSWER).await;
    until("it is written", || cache.count("add_entry", "success") == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_not_waited_for() {
    let server = Server::start(&[]).await;
    let cache = impatient(&server);
    cache.available().await;
    let (requests, slow) = cache
        .under_load(async {
            server.signal("-STOP");
            let is_lost = || !cache.is_available();
            until("it is given up", is_lost).await;
            // Trials fail now, and no request waits for them.
            tokio::time::sleep(Duration::from_secs(3)).await;
            server.signal("-CONT");
            cache.available().await;
        })
        .await;
    println!("stopped: {requests} requests, {slow} waited for the deadline");
    // Eight at once, until the fifth failure.
    assert!(cache.count("get_by_id", "timeout") <= 16);
    assert!(cache.count("get_by_id", "circuit_open") > 0);
}

#[tokio::test]
async fn a_full_server_keeps_what_it_has_and_costs_nothing() {
    let server = Server::start(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]).await;
    let (cache, other) = (process(&server), process(&server));
    cache.available().await;
    other.available().await;
    answer(&cache.cache, &Asks::default(), ANSWER).await;
    until("it is written", || cache.count("add_entry", "success") == 1).await;
    let long = ANSWER.replace("four", &"4".repeat(1 << 19));
    let big = Asks {
        system: "Count.",
        ..Asks::default()
    };
    let tenants = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for tenant in tenants {
        answer(
            &cache.cache,
            &Asks {
                tenant,
                ..big.clone()
            },
            &long,
        )
        .await;
    }
    let written = || cache.count("add_entry", "success") + cache.count("add_entry", "full");
    until("all are tried", || written() == 9).await;
    assert!(cache.count("add_entry", "full") > 0);
    assert!(cache.is_available());
    for tenant in tenants {
        assert!(
            hit(
                &cache.cache,
                &Asks {
                    tenant,
                    ..big.clone()
                }
            )
            .await
            .is_some()
        );
    }
    assert!(hit(&other.cache, &Asks::default()).await.is_some());
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let server = Server::start(&["--requirepass", "s3cret"]).await;
    let mut settings = server.settings();
    let prepare = async |settings: &StoreServer| {
        let backend = RedisBackend::new(settings, 3, "");
        Backend::prepare(&backend).await
    };
    let refused = |outcome: &Result<(), BackendError>| {
        matches!(
            outcome,
            Err(BackendError::Refused(_) | BackendError::Unavailable(_))
        )
    };
    assert!(refused(&prepare(&settings).await));
    settings.password = Some(Secret::new("wrong"));
    let outcome = prepare(&settings).await;
    assert!(refused(&outcome), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("wrong"));
    settings.password = Some(Secret::new("s3cret"));
    assert_eq!(prepare(&settings).await, Ok(()));
}
