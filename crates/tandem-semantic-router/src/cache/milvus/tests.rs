mod rows;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant as Clock;

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cache::testing::{Process, stored, until};
use crate::cache::tests::{ANSWER, Asks, answer, hit};
use crate::config::StoreKind;

/// Milvus Lite on a port of its own; killed when it is dropped.
struct Server {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// `None` without Milvus Lite, which `make unit` installs: a test says so and passes.
    async fn start() -> Option<Self> {
        if !python().exists() {
            println!("skipped: `make .venv-milvus/installed` installs Milvus Lite");
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let process = spawn(port, folder.path());
        let server = Self {
            process,
            port,
            folder,
        };
        server.wait().await;
        Some(server)
    }

    async fn wait(&self) {
        let begun = Clock::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no Milvus Lite");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    async fn restart(&mut self) {
        self.process = spawn(self.port, self.folder.path());
        self.wait().await;
    }

    fn settings(&self) -> StoreServer {
        StoreServer {
            kind: StoreKind::Milvus {
                database: String::new(),
                collection: "answers".to_owned(),
                topk: 16,
                consistency: Consistency::Strong,
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

    async fn backend(&self, collection: &str) -> MilvusBackend {
        let settings = Settings {
            database: String::new(),
            collection: collection.to_owned(),
            topk: 16,
            consistency: Consistency::Strong,
        };
        let backend = MilvusBackend::new(&self.settings(), settings);
        backend.prepare().await.unwrap();
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

fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv-milvus/bin/python")
}

fn spawn(port: u16, folder: &Path) -> Child {
    Command::new(python())
        .args(["-m", "milvus_lite", "server", "--host", "127.0.0.1"])
        .args(["--port", &port.to_string(), "--data-dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn entries_are_found_by_their_keys_and_by_their_vectors() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (backend, other) = (
        server.backend("answers").await,
        server.backend("answers").await,
    );
    let now = Moment::now();
    let peru = stored("What is the capital of Peru?");
    assert_eq!(backend.get(peru.key).await, Ok(None));
    let forever = Entry {
        expires: None,
        model: "m\" or id != \"".to_owned(),
        ..stored("What is the capital of Chile?")
    };
    let exact = Entry {
        question: None,
        ..stored("Who wrote Faust?")
    };
    for entry in [&peru, &forever, &exact] {
        backend.put(entry, now).await.unwrap();
    }
    // That is how another process hears of the collection.
    assert_eq!(other.invalidations(now).await, Ok(Vec::new()));
    for entry in [&peru, &forever, &exact] {
        assert_eq!(other.get(entry.key).await.unwrap().as_ref(), Some(entry));
    }
    let found = async |asked: &Asked, now: Moment| {
        let found = other.candidates(asked, now).await.unwrap();
        let mut keys: Vec<Key> = found.into_iter().map(|one| one.key).collect();
        keys.sort();
        keys
    };
    let mut both = vec![peru.key, forever.key];
    both.sort();
    let asked = peru.question.clone().unwrap();
    assert_eq!(found(&asked, now).await, both);
    let elsewhere = Asked {
        rest: Key::of(&[b"elsewhere"]),
        ..asked.clone()
    };
    assert_eq!(found(&elsewhere, now).await, []);
    let later = now.after(Duration::from_secs(601));
    assert_eq!(found(&asked, later).await, [forever.key]);
    *backend.swept.lock() = Instant::now().checked_sub(SWEEP).unwrap();
    backend.put(&exact, later).await.unwrap();
    assert_eq!(other.get(peru.key).await, Ok(None));

    let drops = |selector: Selector| Invalidation {
        selector,
        until: Moment::now(),
    };
    let named = drops(Selector::Model(forever.model.clone()));
    backend.invalidate(&named).await.unwrap();
    assert_eq!(other.get(forever.key).await, Ok(None));
    backend.put(&peru, now).await.unwrap();
    let all = drops(Selector::All);
    backend.invalidate(&all).await.unwrap();
    assert_eq!(other.get(peru.key).await, Ok(None));
    let heard = other.invalidations(now).await.unwrap();
    assert!(
        heard.len() == 2 && heard.contains(&named) && heard.contains(&all),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_collection_of_another_schema_is_left_alone() {
    let Some(server) = Server::start().await else {
        return;
    };
    let backend = server.backend("theirs").await;
    let client = backend.ready().unwrap().client;
    let mut theirs = columns::schema("theirs", 2);
    theirs.fields.retain(|field| field.name != "rest");
    client.create(&theirs).await.unwrap();
    let backend = server.backend("theirs").await;
    let entry = stored("What is the capital of Peru?");
    backend.put(&entry, Moment::now()).await.unwrap();
    assert_eq!(backend.get(entry.key).await, Ok(Some(entry)));
    assert_eq!(backend.ready().unwrap().collection, "theirs_v2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_answers_and_outlive_the_server() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let (one, other) = (
        Process::start(server.settings()),
        Process::start(server.settings()),
    );
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
    // Another process hears of the collection in the background.
    let mut found = None;
    for _ in 0..100 {
        found = hit(&other.cache, &similar).await;
        if found.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(found.unwrap().answer.as_ref(), ANSWER.as_bytes());

    let third = Process::start(StoreServer {
        deadline: crate::config::CacheStore::DEFAULT_DEADLINE,
        ..server.settings()
    });
    third.available().await;
    one.cache.invalidate(&Selector::All).await.unwrap();
    let (requests, slow) = third
        .under_load(async {
            server.kill();
            until("it is given up", || !third.is_available()).await;
            server.restart().await;
            third.available().await;
        })
        .await;
    println!("killed: {requests} requests, {slow} waited for the deadline");
    one.available().await;
    answer(&one.cache, &asks, ANSWER).await;
    until("it is written", || one.count("add_entry", "success") == 2).await;
}
