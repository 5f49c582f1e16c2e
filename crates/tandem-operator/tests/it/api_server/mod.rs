//! A Kubernetes API server in memory: lists, watches, server-side apply, subresources, conflicts,
//! owner references, and faults on demand. It knows enough of the rules of real ones to catch
//! those who break them.

mod apply;
mod http;
mod kinds;
mod rights;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) use kinds::Kind;
use rights::Rights;
use store::Store;

/// A running server.
#[derive(Clone)]
pub(crate) struct ApiServer {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

struct Shared {
    store: Mutex<Store>,
    /// The last version; watches wait for it to change.
    version: watch::Sender<u64>,
    faults: Mutex<Vec<Fault>>,
    hidden: Mutex<Vec<Kind>>,
    requests: Mutex<Vec<String>>,
    /// What whoever asks may do; `None` for everything.
    rights: Mutex<Option<Rights>>,
    /// What was asked for in spite of that.
    forbidden: Mutex<Vec<String>>,
    /// Increases when all watches are cut off.
    cut: watch::Sender<u64>,
}

/// What goes wrong with requests.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// Method and path have to hold these.
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) code: u16,
    pub(crate) message: &'static str,
    /// How often; it is over then.
    pub(crate) times: usize,
}

impl ApiServer {
    /// Serves on a free port of this machine.
    pub(crate) async fn start() -> Self {
        Self::start_on(0).await
    }

    /// Serves on `port`.
    pub(crate) async fn start_on(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::default()),
            version: watch::Sender::new(1),
            faults: Mutex::default(),
            hidden: Mutex::default(),
            requests: Mutex::default(),
            rights: Mutex::new(Some(Rights::documented())),
            forbidden: Mutex::default(),
            cut: watch::Sender::new(0),
        });
        let server = Self { shared, address };
        let router = http::router(server.clone());
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let serve = async move { axum::serve(listener, router).await.expect("it serves") };
        tokio_util::task::TaskTracker::new().spawn(serve);
        server
    }

    /// Pods of workloads become ready as soon as somebody asks for them.
    pub(crate) fn make_pods_ready(&self, on: bool) {
        self.write(|store| store.set_pods_ready(on));
    }

    /// The server does not have `kind`.
    pub(crate) fn hide(&self, kind: Kind) {
        self.shared.hidden.lock().push(kind);
    }

    /// The next requests that match `fault` fail.
    pub(crate) fn fail(&self, fault: Fault) {
        self.shared.faults.lock().push(fault);
    }

    /// Ends all watches and forgets the past, as a server that restarts does.
    pub(crate) fn cut_watches(&self) {
        self.shared.store.lock().forget_past();
        self.shared.cut.send_modify(|cut| *cut += 1);
    }

    /// Whoever asks may do everything, not only what the operator may.
    #[allow(dead_code, reason = "the server as a process needs it")]
    pub(crate) fn allow_everything(&self) {
        *self.shared.rights.lock() = None;
    }

    /// Panics if something was asked for that is not among the operator's documented rights.
    pub(crate) fn assert_rights(&self) {
        let forbidden = self.shared.forbidden.lock();
        assert!(forbidden.is_empty(), "{forbidden:#?}");
    }

    /// Requests so far, as method and path.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().clone()
    }

    /// Creates an object, as `kubectl create` does.
    pub(crate) fn create(&self, object: Value) -> Value {
        self.write(|store| store.create(object))
            .expect("it can be created")
    }

    /// Changes an object, as `kubectl edit` does.
    pub(crate) fn edit(&self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) -> Value {
        let result = self.write(|store| {
            let mut object = store.get(kind, NAMESPACE, name).expect("it exists").clone();
            change(&mut object);
            store.replace(object, None)
        });
        result.expect("it can be changed")
    }

    /// Deletes an object and what it owns.
    pub(crate) fn delete(&self, kind: Kind, name: &str) {
        self.write(|store| store.delete(kind, NAMESPACE, name, None))
            .expect("it exists");
    }

    /// An object of the tests' namespace.
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<Value> {
        self.shared.store.lock().get(kind, NAMESPACE, name).cloned()
    }

    /// Names of all objects of a kind in the tests' namespace.
    pub(crate) fn names(&self, kind: Kind) -> Vec<String> {
        self.shared.store.lock().names(kind, NAMESPACE)
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, kind: Kind) -> Vec<Value> {
        self.shared.store.lock().all(kind)
    }

    /// Waits until `test` holds; it is asked after every change.
    pub(crate) async fn wait_for(&self, what: &str, test: impl Fn(&Self) -> bool) {
        let mut version = self.shared.version.subscribe();
        let wait = async {
            while !test(self) {
                version.changed().await.expect("the server runs");
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .is_err()
        {
            let store = self.shared.store.lock();
            panic!("waited for: {what}\n{}", store.describe());
        }
    }

    fn write<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.shared.store.lock();
        let result = change(&mut store);
        self.shared.version.send_replace(store.version());
        result
    }
}

/// Namespace of the tests' objects.
pub(crate) const NAMESPACE: &str = "models";
