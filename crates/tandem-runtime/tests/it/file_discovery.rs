//! Discovery in a directory keeps the same promises as discovery in etcd.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tandem_runtime::discovery::{DiscoveryError, FileDiscovery, FileOptions};
use tandem_runtime::{Discovery, Lifecycle};

use crate::discovery::{next, put};

async fn join(directory: &Path, lifecycle: &Lifecycle) -> FileDiscovery {
    let options = FileOptions {
        directory: directory.join("store"),
        lease_ttl: Duration::from_secs(2),
    };
    FileDiscovery::open(options, lifecycle).await.unwrap()
}

#[tokio::test]
async fn a_watch_lists_then_follows_and_a_lease_takes_its_entries_along() {
    let directory = tempfile::tempdir().unwrap();
    let lifecycle = Lifecycle::new();
    let worker = join(directory.path(), &lifecycle).await;
    put(&worker, "v1/a/1", "x").await;
    put(&worker, "v2/a/1", "x").await;
    let frontend = join(directory.path(), &lifecycle).await;
    assert_ne!(worker.lease(), frontend.lease());
    let mut events = frontend.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=x");
    put(&worker, "v1/a/2", "y").await;
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/2=y");
    put(&worker, "v1/a/1", "z").await;
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=z");
    let taken = frontend.put("v1/a/1".to_owned(), Bytes::new()).await;
    assert_eq!(taken, Err(DiscoveryError::Taken("v1/a/1".to_owned())));
    worker.delete("v1/a/2").await.unwrap();
    assert_eq!(next(&mut events, 5).await.unwrap(), "-v1/a/2");
    worker.revoke().await.unwrap();
    assert_eq!(next(&mut events, 5).await.unwrap(), "-v1/a/1");
    let gone = worker.put("v1/a/3".to_owned(), Bytes::new()).await;
    assert_eq!(gone, Err(DiscoveryError::LeaseGone));
}

#[tokio::test]
async fn a_process_that_dies_is_forgotten_and_its_key_is_free_again() {
    let directory = tempfile::tempdir().unwrap();
    let lifecycle = Lifecycle::new();
    let frontend = join(directory.path(), &lifecycle).await;
    let process = lifecycle.child();
    let worker = join(directory.path(), &process).await;
    put(&worker, "v1/a/1", "x").await;
    let mut events = frontend.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=x");
    assert_eq!(next(&mut events, 4).await, None, "the lease is kept alive");
    process.stop(Duration::from_secs(1)).await.unwrap();
    assert_eq!(next(&mut events, 10).await.unwrap(), "-v1/a/1");
    put(&frontend, "v1/a/1", "y").await;
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=y");
}

#[tokio::test]
async fn a_registration_that_somebody_removed_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let lifecycle = Lifecycle::new();
    let worker = join(directory.path(), &lifecycle).await;
    put(&worker, "v1/a/1", "x").await;
    let mut events = worker.watch("v1/");
    assert_eq!(next(&mut events, 5).await.unwrap(), "+v1/a/1=x");
    std::fs::remove_dir_all(directory.path().join("store/v1")).unwrap();
    let mut after = Vec::new();
    while after.last().is_none_or(|event| event != "+v1/a/1=x") {
        after.push(next(&mut events, 5).await.expect("it comes back"));
    }
    let mut fresh = join(directory.path(), &lifecycle).await.watch("v1/");
    assert_eq!(next(&mut fresh, 5).await.unwrap(), "+v1/a/1=x");
}

#[tokio::test]
async fn what_was_left_behind_long_ago_is_tidied_up() {
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join("store/v1/a/1");
    std::fs::create_dir_all(left.parent().unwrap()).unwrap();
    std::fs::write(&left, "x").unwrap();
    let file = std::fs::File::options().append(true).open(&left).unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
    file.set_modified(long_ago).unwrap();
    let lifecycle = Lifecycle::new();
    let frontend = join(directory.path(), &lifecycle).await;
    assert_eq!(next(&mut frontend.watch("v1/"), 1).await, None);
    assert!(!left.exists());
}
