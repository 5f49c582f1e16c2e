//! The discovery records of a worker: they are there while its engine takes requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_runtime::Discovery;
use tandem_runtime::discovery::DiscoveryError;
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};

/// Pause before records are put once more that could not be.
const RETRY: Duration = Duration::from_secs(1);

/// The records, in the order in which they have to appear.
pub(crate) struct Registration {
    discovery: Arc<dyn Discovery>,
    records: Mutex<Records>,
}

struct Records {
    all: Vec<(String, Bytes)>,
    /// Whether discovery has them.
    listed: bool,
    /// Whether the worker has left for good.
    left: bool,
}

impl Registration {
    /// Puts `all` in order: whoever sees the last one finds the others.
    ///
    /// # Errors
    /// Discovery does not take one.
    pub(crate) async fn new(
        discovery: Arc<dyn Discovery>,
        all: Vec<(String, Bytes)>,
    ) -> Result<Self, DiscoveryError> {
        put(&*discovery, &all).await?;
        let records = Records {
            all,
            listed: true,
            left: false,
        };
        Ok(Self {
            discovery,
            records: Mutex::new(records),
        })
    }

    /// Puts another value under the key of one of the records.
    ///
    /// # Errors
    /// Discovery does not take it.
    pub(crate) async fn replace(&self, key: String, value: Bytes) -> Result<(), DiscoveryError> {
        let mut records = self.records.lock().await;
        for record in records.all.iter_mut().filter(|record| record.0 == key) {
            record.1 = value.clone();
        }
        if records.listed {
            self.discovery.put(key, value).await?;
        }
        Ok(())
    }

    /// Removes the records, for good.
    pub(crate) async fn leave(&self) {
        let mut records = self.records.lock().await;
        records.left = true;
        self.unlist(&mut records).await;
    }

    /// Removes the records while the engine does not take requests, and puts them back, until
    /// nobody says any more whether it does.
    pub(crate) async fn follow(self: Arc<Self>, mut available: watch::Receiver<bool>) {
        while available.changed().await.is_ok() {
            if *available.borrow_and_update() {
                self.list().await;
            } else {
                info!("engine takes no requests: the worker is not registered meanwhile");
                let mut records = self.records.lock().await;
                self.unlist(&mut records).await;
            }
        }
    }

    async fn list(&self) {
        loop {
            let mut records = self.records.lock().await;
            if records.left || records.listed {
                return;
            }
            match put(&*self.discovery, &records.all).await {
                Ok(()) => {
                    records.listed = true;
                    info!("worker registered again");
                    return;
                }
                Err(error) => warn!(%error, "failed to register the worker again"),
            }
            drop(records);
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn unlist(&self, records: &mut Records) {
        if !std::mem::replace(&mut records.listed, false) {
            return;
        }
        for (key, _) in records.all.iter().rev() {
            if let Err(error) = self.discovery.delete(key).await {
                warn!(%key, %error, "failed to remove a discovery record");
            }
        }
    }
}

async fn put(discovery: &dyn Discovery, all: &[(String, Bytes)]) -> Result<(), DiscoveryError> {
    for (key, value) in all {
        discovery.put(key.clone(), value.clone()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tandem_runtime::Lifecycle;
    use tandem_runtime::discovery::{DiscoveryEvent, MemoryDiscovery};

    use super::*;

    fn key(event: Option<DiscoveryEvent>) -> (bool, String) {
        match event {
            Some(DiscoveryEvent::Put { key, .. }) => (true, key),
            Some(DiscoveryEvent::Delete { key }) => (false, key),
            None => panic!("the watch ended"),
        }
    }

    #[tokio::test]
    async fn records_follow_the_engine_until_the_worker_leaves() {
        let store = MemoryDiscovery::new();
        let mut events = store.watch("v1/");
        let records = ["v1/card", "v1/instance"];
        let all = records
            .map(|key| (key.to_owned(), Bytes::from("{}")))
            .into();
        let registration = Registration::new(Arc::new(store.join()), all)
            .await
            .unwrap();
        let registration = Arc::new(registration);
        let (engine, available) = watch::channel(true);
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(Arc::clone(&registration).follow(available));
        let mut check = async |expected: [(bool, &str); 2]| {
            for (put, name) in expected {
                assert_eq!(key(events.next().await), (put, name.to_owned()));
            }
        };
        let (listed, unlisted) = (
            [(true, "v1/card"), (true, "v1/instance")],
            [(false, "v1/instance"), (false, "v1/card")],
        );
        check(listed).await;
        engine.send_replace(false);
        check(unlisted).await;
        engine.send_replace(true);
        check(listed).await;
        registration.leave().await;
        check(unlisted).await;
        // It does not come back.
        engine.send_replace(false);
        engine.send_replace(true);
        drop(engine);
        lifecycle.stop(Duration::from_secs(5)).await.unwrap();
        let late = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
        assert!(late.is_err(), "{late:?}");
    }
}
