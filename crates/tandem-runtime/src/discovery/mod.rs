//! A small key-value store whose entries live as long as the process that wrote them.

mod etcd;
mod file;
mod kubernetes;
mod memory;
mod own;
mod retry;
mod snapshots;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use etcd::{EtcdDiscovery, EtcdIdentity, EtcdLogin, EtcdOptions, EtcdTls};
pub use file::{FileDiscovery, FileOptions};
pub use kubernetes::{
    DISCOVERY_BACKEND, DISCOVERY_BACKEND_LABEL, DISCOVERY_ENABLED, DISCOVERY_ENABLED_LABEL,
    DynamoWorkerMetadata, DynamoWorkerMetadataSpec, KubernetesDiscovery, KubernetesOptions,
    PodIdentity,
};
pub use memory::MemoryDiscovery;
pub use own::OwnDiscovery;

/// One process's view of the store. All its entries hang on one lease and disappear with it.
pub trait Discovery: Send + Sync {
    /// The lease, which is also the id of every instance that this process serves.
    fn lease(&self) -> u64;

    /// Writes an entry under this process's lease.
    fn put(&self, key: String, value: Bytes) -> BoxFuture<'_, Result<(), DiscoveryError>>;

    /// Removes an entry; removing one that is not there is not an error.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>>;

    /// Every entry below `prefix` as it is now, then every change, without a gap between the two.
    ///
    /// The stream does not end while the store lives. A store that lost its connection lists
    /// again and reports the difference, so a reader needs no resync logic.
    fn watch(&self, prefix: &str) -> BoxStream<'static, DiscoveryEvent>;

    /// Gives the lease back: every entry of this process disappears.
    fn revoke(&self) -> BoxFuture<'_, Result<(), DiscoveryError>>;
}

/// A change below a watched prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryEvent {
    /// An entry was written.
    Put {
        /// Its key.
        key: String,
        /// Its new value.
        value: Bytes,
    },
    /// An entry is gone.
    Delete {
        /// Its key.
        key: String,
    },
}

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The key belongs to another process.
    #[error("key {0} is already taken by another process")]
    Taken(String),
    /// The lease was revoked or has expired.
    #[error("the lease of this process is gone")]
    LeaseGone,
    /// The address of the store makes no sense.
    #[error("{0}")]
    Address(String),
    /// The store does not let this process do that: the name, the password or the role is wrong.
    #[error("discovery is not allowed: {0}")]
    Denied(String),
    /// The store is out of reach; trying again later may help.
    #[error("discovery is unavailable: {0}")]
    Unavailable(String),
}
