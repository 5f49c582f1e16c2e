//! Keeps a lease alive, and brings it and its entries back when the store has lost them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::MIN_PAUSE;
use super::client::EtcdClient;
use super::contact::Contact;
use crate::discovery::DiscoveryError;

/// A lease with what hangs on it. The lease keeps its id for ever: if it expired while the store
/// was out of reach, a new one with the same id takes its place, so that instances keep theirs.
pub(super) struct Keeper {
    client: EtcdClient,
    lease: i64,
    ttl: Duration,
    /// What this process wants to be there.
    entries: Mutex<BTreeMap<String, Bytes>>,
    revoked: CancellationToken,
    contact: Arc<Contact>,
}

impl Keeper {
    /// What renewals say of the store goes to `contact`.
    pub(super) fn new(
        client: EtcdClient,
        lease: i64,
        ttl: Duration,
        contact: Arc<Contact>,
    ) -> Self {
        Self {
            client,
            lease,
            ttl,
            entries: Mutex::new(BTreeMap::new()),
            revoked: CancellationToken::new(),
            contact,
        }
    }

    pub(super) const fn lease(&self) -> i64 {
        self.lease
    }

    pub(super) async fn put(&self, key: &str, value: &Bytes) -> Result<(), DiscoveryError> {
        if self.revoked.is_cancelled() {
            return Err(DiscoveryError::LeaseGone);
        }
        match self.client.put(key, value, self.lease).await {
            Ok(()) => {
                self.entries.lock().insert(key.to_owned(), value.clone());
                Ok(())
            }
            // It expired but nobody noticed yet: the next renewal brings it back.
            Err(DiscoveryError::LeaseGone) => {
                self.entries.lock().insert(key.to_owned(), value.clone());
                self.restore().await
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), DiscoveryError> {
        self.entries.lock().remove(key);
        self.client.delete(key).await
    }

    pub(super) async fn revoke(&self) -> Result<(), DiscoveryError> {
        self.revoked.cancel();
        self.client.revoke(self.lease).await
    }

    /// Renews the lease until it is revoked.
    pub(super) async fn run(self: Arc<Self>) {
        let revoked = self.revoked.clone();
        revoked.run_until_cancelled_owned(self.renew()).await;
    }

    async fn renew(self: Arc<Self>) {
        let mut away = false;
        loop {
            let pause = if away { 5 * MIN_PAUSE } else { self.ttl / 3 };
            tokio::time::sleep(pause).await;
            self.contact.ask(Instant::now());
            let renewed = self.client.keep_alive(self.lease).await;
            let well = matches!(renewed, Ok(true));
            self.contact.answered(well, Instant::now());
            let renewed = match renewed {
                Ok(true) => Ok(()),
                Ok(false) => {
                    warn!(
                        lease = self.lease,
                        "the lease has expired: registering again"
                    );
                    self.restore().await
                }
                Err(error) => Err(error),
            };
            match renewed {
                Ok(()) if away => {
                    away = false;
                    info!("etcd answers again");
                }
                Ok(()) => {}
                Err(DiscoveryError::Taken(key)) => {
                    error!(%key, "the key of this process now belongs to another one");
                }
                Err(error) => {
                    if !std::mem::replace(&mut away, true) {
                        warn!(%error, "etcd does not answer: going on with what is known");
                    }
                }
            }
        }
    }

    /// Takes the lease again and writes every entry again.
    async fn restore(&self) -> Result<(), DiscoveryError> {
        self.client.grant(self.lease, self.ttl).await?;
        let entries = self.entries.lock().clone();
        for (key, value) in entries {
            self.client.put(&key, &value, self.lease).await?;
        }
        Ok(())
    }
}
