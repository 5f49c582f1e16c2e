//! Discovery in a directory that the processes share, on one machine or on a volume.
//!
//! Every entry is a file, whose time of modification its process renews while it lives. Readers look
//! at the directory again and again, because volumes of a network do not tell of changes. A
//! directory that is out of reach costs nothing but news.

mod census;
mod directory;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::warn;
use uuid::Uuid;

use super::snapshots::{Entries, changes};
use super::{Discovery, DiscoveryError, DiscoveryEvent};
use crate::lifecycle::Lifecycle;
use census::Census;
use directory::Directory;

/// How often the directory is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How old the files of processes that are gone may get.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Where the entries are.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// The directory; it is made if it is missing.
    pub directory: PathBuf,
    /// How long entries outlive a process that is gone.
    pub lease_ttl: Duration,
}

/// One lease on a directory.
pub struct FileDiscovery {
    lease: u64,
    lease_ttl: Duration,
    directory: Arc<Directory>,
    own: Arc<Own>,
    alive: watch::Receiver<Arc<Entries>>,
}

/// The entries of this process; `None` once the lease is given back. Held while files change, so
/// that an entry that is deleted is not renewed.
#[derive(Debug)]
struct Own(Mutex<Option<Entries>>);

impl FileDiscovery {
    /// Takes a lease and keeps it until `lifecycle` stops.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub async fn open(options: FileOptions, lifecycle: &Lifecycle) -> Result<Self, DiscoveryError> {
        let FileOptions {
            directory,
            lease_ttl,
        } = options;
        // JSON readers keep 53 bits of a number.
        let lease = Uuid::new_v4().as_u64_pair().0 >> 11;
        let opened = blocking(move || {
            let opened = Directory::open(&directory, lease);
            opened.map_err(|error| {
                DiscoveryError::Address(format!("{}: {error}", directory.display()))
            })
        });
        let directory = Arc::new(opened.await?);
        let mut reader = Reader {
            directory: Arc::clone(&directory),
            census: Census::new(lease_ttl),
            alive: Arc::default(),
        };
        reader = reader.look().await?;
        let (sender, alive) = watch::channel(Arc::clone(&reader.alive));
        lifecycle.spawn(reader.follow(sender));
        let own = Arc::new(Own(Mutex::new(Some(Entries::new()))));
        lifecycle.spawn(renew(
            Arc::clone(&directory),
            Arc::clone(&own),
            lease_ttl / 3,
        ));
        Ok(Self {
            lease,
            lease_ttl,
            directory,
            own,
            alive,
        })
    }
}

impl Discovery for FileDiscovery {
    fn lease(&self) -> u64 {
        self.lease
    }

    fn put(&self, key: String, value: Bytes) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        let (directory, own) = (Arc::clone(&self.directory), Arc::clone(&self.own));
        let lease_ttl = self.lease_ttl;
        blocking(move || own.put(&directory, key, value, lease_ttl)).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        let (directory, own) = (Arc::clone(&self.directory), Arc::clone(&self.own));
        let key = key.to_owned();
        blocking(move || {
            let mut own = own.0.lock();
            if let Some(entries) = &mut *own {
                entries.remove(&key);
            }
            directory.remove(&key).map_err(unavailable)
        })
        .boxed()
    }

    fn watch(&self, prefix: &str) -> BoxStream<'static, DiscoveryEvent> {
        changes(self.alive.clone(), prefix)
    }

    fn revoke(&self) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        let (directory, own) = (Arc::clone(&self.directory), Arc::clone(&self.own));
        blocking(move || {
            let mut own = own.0.lock();
            for key in own.take().unwrap_or_default().keys() {
                directory.remove(key).map_err(unavailable)?;
            }
            Ok(())
        })
        .boxed()
    }
}

impl Own {
    fn put(
        &self,
        directory: &Directory,
        key: String,
        value: Bytes,
        lease_ttl: Duration,
    ) -> Result<(), DiscoveryError> {
        let mut own = self.0.lock();
        let Some(entries) = &mut *own else {
            return Err(DiscoveryError::LeaseGone);
        };
        if entries.contains_key(&key) {
            directory.replace(&key, &value).map_err(unavailable)?;
        } else if let Err(error) = directory.create(&key, &value) {
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(unavailable(error));
            }
            let touched = directory.touched(&key).map_err(unavailable)?;
            let census = Census::new(lease_ttl);
            if touched.is_some_and(|touched| !census.is_old(touched, SystemTime::now())) {
                return Err(DiscoveryError::Taken(key));
            }
            directory.replace(&key, &value).map_err(unavailable)?;
        }
        entries.insert(key, value);
        Ok(())
    }

    /// Touches every entry; writes those again that are gone.
    fn renew(&self, directory: &Directory) {
        let own = self.0.lock();
        for (key, value) in own.iter().flatten() {
            let renewed = directory.touch(key).or_else(|error| match error.kind() {
                ErrorKind::NotFound => directory.replace(key, value),
                _ => Err(error),
            });
            if let Err(error) = renewed {
                warn!(key, %error, "failed to renew a registration");
            }
        }
    }
}

async fn renew(directory: Arc<Directory>, own: Arc<Own>, every: Duration) {
    let mut tick = tokio::time::interval(every);
    loop {
        tick.tick().await;
        let (directory, own) = (Arc::clone(&directory), Arc::clone(&own));
        drop(spawn_blocking(move || own.renew(&directory)).await);
    }
}

/// Looks at the directory for all watchers.
struct Reader {
    directory: Arc<Directory>,
    census: Census,
    alive: Arc<Entries>,
}

impl Reader {
    async fn follow(mut self, sender: watch::Sender<Arc<Entries>>) {
        let directory = Arc::clone(&self.directory);
        loop {
            tokio::time::sleep(LOOK).await;
            let before = Arc::clone(&self.alive);
            let (census, alive) = (self.census, self.alive);
            let reader = Self {
                directory: Arc::clone(&directory),
                census,
                alive,
            };
            let Ok(reader) = spawn_blocking(move || reader.looked()).await else {
                return;
            };
            self = reader;
            if self.alive != before && sender.send(Arc::clone(&self.alive)).is_err() {
                return;
            }
        }
    }

    /// Looks for the first time.
    async fn look(self) -> Result<Self, DiscoveryError> {
        blocking(move || {
            self.directory.list().map_err(unavailable)?;
            Ok(self.looked())
        })
        .await
    }

    /// The same after another look; what cannot be read stays as it was.
    fn looked(mut self) -> Self {
        let listing = match self.directory.list() {
            Ok(listing) => listing,
            Err(error) => {
                warn!(%error, "failed to read the discovery directory");
                return self;
            }
        };
        let today = SystemTime::now();
        let is_old = |touched: SystemTime| {
            let age = today.duration_since(touched);
            age.is_ok_and(|age| age > MAX_AGE)
        };
        let old = listing.iter().filter(|(_, touched)| is_old(*touched));
        let old: Vec<_> = old.map(|(key, _)| key.clone()).collect();
        let mut alive = Entries::new();
        for (key, changed) in self.census.take(listing, (Instant::now(), today)) {
            let known = self.alive.get(&key).filter(|_| !changed).cloned();
            let value = known.or_else(|| self.directory.read(&key).ok().flatten());
            if let Some(value) = value {
                alive.insert(key, value);
            }
        }
        for key in old.iter().filter(|key| !alive.contains_key(*key)) {
            // If it was not gone after all, it writes its entry again.
            drop(self.directory.remove(key));
        }
        if alive != *self.alive {
            self.alive = Arc::new(alive);
        }
        self
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DiscoveryError> + Send + 'static,
) -> Result<T, DiscoveryError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(DiscoveryError::Unavailable(error.to_string())))
}

#[allow(clippy::needless_pass_by_value, reason = "called by map_err")]
fn unavailable(error: std::io::Error) -> DiscoveryError {
    match error.kind() {
        ErrorKind::InvalidInput => DiscoveryError::Address(error.to_string()),
        _ => DiscoveryError::Unavailable(error.to_string()),
    }
}
