//! Where answers are kept beside this process.

use std::time::Duration;

use super::Secret;

/// Where answers are kept beside this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheStore {
    /// Nowhere.
    Memory,
    /// In a server.
    Server(StoreServer),
    /// In a server whose settings are in a file that is not read yet: answers stay in this process
    /// until [`RouterConfig::load_cache_store`](super::RouterConfig::load_cache_store).
    File(StoreFile),
}

/// Settings in a file of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFile {
    pub(in crate::config) kind: StoreFileKind,
    /// Where it is.
    pub path: String,
    /// See [`StoreServer::deadline`].
    pub deadline: Duration,
}

/// Which settings a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum StoreFileKind {
    Redis,
    Milvus,
}

/// A server that keeps answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreServer {
    /// What it is.
    pub kind: StoreKind,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are.
    pub username: Option<String>,
    /// What shows it.
    pub password: Option<Secret>,
    /// How it is encrypted; not at all if there is none.
    pub tls: Option<StoreTls>,
    /// Most time that a request waits for it.
    pub deadline: Duration,
}

/// What kind of server keeps answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// Redis, or what speaks its protocol.
    Redis {
        /// Number of the database.
        database: i64,
        /// What its keys begin with.
        prefix: String,
    },
    /// Milvus.
    Milvus {
        /// Name of the database.
        database: String,
        /// Name of the collection, which is made if it is not there.
        collection: String,
        /// Most questions that a search finds.
        topk: usize,
        /// What a search must have seen.
        consistency: Consistency,
    },
}

/// What a search of Milvus must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Everything.
    Strong,
    /// Everything of this process.
    Session,
    /// Everything but the last seconds.
    Bounded,
    /// What is there.
    Eventually,
}

/// TLS to a server that keeps answers. The files are read when it is connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreTls {
    /// Authorities in PEM that sign its certificate; the system's if there is none.
    pub authorities: Option<String>,
    /// Our own certificate in PEM.
    pub certificate: Option<String>,
    /// The key of our own certificate in PEM.
    pub key: Option<String>,
}

impl CacheStore {
    /// Most time that a request waits for a server when no number is configured.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_millis(30);

    /// What metrics and people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Server(server) => match server.kind {
                StoreKind::Redis { .. } => "redis",
                StoreKind::Milvus { .. } => "milvus",
            },
            Self::File(file) => match file.kind {
                StoreFileKind::Redis => "redis",
                StoreFileKind::Milvus => "milvus",
            },
        }
    }
}
