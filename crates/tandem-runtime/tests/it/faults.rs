//! Discovery when the network or a member of etcd fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tandem_runtime::{Discovery, Lifecycle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::discovery::{join_at, next, put};
use crate::servers::Server;

/// A link that can be cut, as in a partition: what is sent meanwhile waits, and nobody is told.
struct Link {
    address: String,
    cut: Arc<AtomicBool>,
}

impl Link {
    async fn to(target: String, lifecycle: &Lifecycle) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cut = Arc::new(AtomicBool::new(false));
        let (state, tasks) = (Arc::clone(&cut), lifecycle.clone());
        lifecycle.spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let Ok(far) = TcpStream::connect(&target).await else {
                    continue;
                };
                let (near, far) = (near.into_split(), far.into_split());
                tasks.spawn(pump(near.0, far.1, Arc::clone(&state)));
                tasks.spawn(pump(far.0, near.1, Arc::clone(&state)));
            }
        });
        Self { address, cut }
    }

    fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cut: Arc<AtomicBool>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        while cut.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_worker_that_was_cut_off_comes_back_with_its_id() {
    let Some(server) = Server::etcd().await else {
        return;
    };
    let lifecycle = Lifecycle::new();
    let link = Link::to(server.address(), &lifecycle).await;
    let worker = join_at(vec![link.address.clone()], &lifecycle).await;
    let frontend = join_at(vec![server.address()], &lifecycle).await;
    put(&worker, "v1/a/1", "x").await;
    let mut events = frontend.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=x");
    let lease = worker.lease();
    link.set_cut(true);
    assert_eq!(next(&mut events, 20).await.unwrap(), "-v1/a/1");
    link.set_cut(false);
    assert_eq!(next(&mut events, 30).await.unwrap(), "+v1/a/1=x");
    assert_eq!(worker.lease(), lease);
}

#[tokio::test]
async fn a_reader_that_was_cut_off_learns_what_it_missed() {
    let Some(server) = Server::etcd().await else {
        return;
    };
    let lifecycle = Lifecycle::new();
    let link = Link::to(server.address(), &lifecycle).await;
    let worker = join_at(vec![server.address()], &lifecycle).await;
    let frontend = join_at(vec![link.address.clone()], &lifecycle).await;
    put(&worker, "v1/a/1", "x").await;
    put(&worker, "v1/a/2", "x").await;
    let mut events = frontend.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=x");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/2=x");
    link.set_cut(true);
    put(&worker, "v1/a/3", "y").await;
    worker.delete("v1/a/1").await.unwrap();
    // Long enough for the connection to be given up.
    assert_eq!(next(&mut events, 12).await, None);
    link.set_cut(false);
    // What is new arrives at once, what is gone after the time in which it might have come back.
    assert_eq!(next(&mut events, 30).await.unwrap(), "+v1/a/3=y");
    assert_eq!(next(&mut events, 10).await.unwrap(), "-v1/a/1");
}

#[tokio::test]
async fn any_one_member_of_a_cluster_may_fail() {
    let Some(mut members) = Server::etcd_cluster().await else {
        return;
    };
    let lifecycle = Lifecycle::new();
    let addresses: Vec<String> = members.iter().map(Server::address).collect();
    let worker = join_at(addresses.clone(), &lifecycle).await;
    let frontend = join_at(addresses, &lifecycle).await;
    put(&worker, "v1/a/0", "x").await;
    let mut events = frontend.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/0=x");
    // One of them is the leader, and one is whom the clients talk to.
    for (i, member) in members.iter_mut().enumerate() {
        member.stop();
        let key = format!("v1/a/{}", i + 1);
        put(&worker, &key, "y").await;
        assert_eq!(next(&mut events, 30).await.unwrap(), format!("+{key}=y"));
        member.resume().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(next(&mut events, 5).await, None, "no entry was lost");
}
