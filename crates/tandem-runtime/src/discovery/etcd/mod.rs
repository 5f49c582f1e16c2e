//! Discovery in etcd, with the keys and rules of Dynamo 0.6.1.
//!
//! A store that is out of reach costs nothing but news: readers keep what they know (`watch`),
//! and a process writes its entries again as soon as it can (`keeper`).

mod client;
mod contact;
mod keeper;
mod login;
#[cfg(test)]
mod tests;
mod tls;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::Instant;

use super::retry::{MAX_PAUSE, MIN_PAUSE, WRITE_PATIENCE, retry};
use super::{Discovery, DiscoveryError, DiscoveryEvent};
use crate::lifecycle::Lifecycle;
use client::EtcdClient;
use contact::Contact;
use keeper::Keeper;
use watch::Watch;

pub use login::EtcdLogin;
pub use tls::{EtcdIdentity, EtcdTls};

/// What the store is called in messages.
const STORE: &str = "etcd";

/// How to reach etcd.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// Addresses of the members; a scheme is optional.
    pub endpoints: Vec<String>,
    /// Who this process is, if the store asks.
    pub login: Option<EtcdLogin>,
    /// How the members are known, where they speak TLS.
    pub tls: EtcdTls,
    /// How long entries outlive a process that is gone.
    pub lease_ttl: Duration,
    /// Most time to wait for the store at the start.
    pub connect_timeout: Duration,
}

/// One lease on an etcd cluster.
pub struct EtcdDiscovery {
    client: EtcdClient,
    keeper: Arc<Keeper>,
    lease_ttl: Duration,
    contact: Arc<Contact>,
}

impl EtcdDiscovery {
    /// Takes a lease and keeps it until `lifecycle` stops.
    ///
    /// # Errors
    /// An address is malformed, or no member answered in time.
    pub async fn connect(
        options: EtcdOptions,
        lifecycle: &Lifecycle,
    ) -> Result<Self, DiscoveryError> {
        let client = EtcdClient::new(&options)?;
        Self::join(client, &options, lifecycle).await
    }

    async fn join(
        client: EtcdClient,
        options: &EtcdOptions,
        lifecycle: &Lifecycle,
    ) -> Result<Self, DiscoveryError> {
        let deadline = Instant::now() + options.connect_timeout;
        let lease = retry(STORE, deadline, || client.grant(0, options.lease_ttl)).await?;
        retry(STORE, deadline, || client.admitted()).await?;
        // Whatever vanished during an outage gets one lease's time to come back.
        let contact = Arc::new(Contact::new(options.lease_ttl));
        let keeper = Keeper::new(
            client.clone(),
            lease,
            options.lease_ttl,
            Arc::clone(&contact),
        );
        let keeper = Arc::new(keeper);
        lifecycle.spawn(Arc::clone(&keeper).run());
        Ok(Self {
            client,
            keeper,
            lease_ttl: options.lease_ttl,
            contact,
        })
    }
}

impl Discovery for EtcdDiscovery {
    fn lease(&self) -> u64 {
        self.keeper.lease().cast_unsigned()
    }

    fn put(&self, key: String, value: Bytes) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        Box::pin(async move {
            let deadline = Instant::now() + WRITE_PATIENCE;
            retry(STORE, deadline, || self.keeper.put(&key, &value)).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        Box::pin(self.keeper.delete(key))
    }

    fn watch(&self, prefix: &str) -> BoxStream<'static, DiscoveryEvent> {
        let contact = Arc::clone(&self.contact);
        let watch = Watch::new(self.client.clone(), prefix, self.lease_ttl, contact);
        stream::unfold(watch, |mut watch| async {
            let event = watch.next().await;
            Some((event, watch))
        })
        .boxed()
    }

    fn revoke(&self) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        Box::pin(self.keeper.revoke())
    }
}
