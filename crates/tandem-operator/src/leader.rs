//! Leader election: of several operators, the one that holds a Lease acts.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};
use tokio::time::Instant;
use tracing::{info, warn};

/// A Lease that is not renewed for this time belongs to nobody.
const DURATION: Duration = Duration::from_secs(15);
/// A leader that could not renew for this time stops, before another may begin.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two tries.
const RETRY: Duration = Duration::from_secs(2);

/// Holds a Lease, or waits for it.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// What was seen of another holder, and when on our own clock: clocks of machines differ.
    other: Option<(LeaseSpec, Instant)>,
    /// What we wrote last.
    held: Option<Lease>,
}

impl Election {
    /// `identity` has to be unlike that of any other process.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            other: None,
            held: None,
        }
    }

    /// Waits until the Lease is ours.
    pub async fn win(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => {
                    info!(
                        lease = self.name,
                        identity = self.identity,
                        "became the leader"
                    );
                    return;
                }
                Ok(false) => {}
                Err(error) => warn!(lease = self.name, %error, "failed to ask for the lease"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Keeps the Lease; returns when it is lost.
    pub async fn keep(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RETRY).await;
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => {
                    warn!(lease = self.name, "lost the lease to another process");
                    return;
                }
                Ok(Err(error)) if renewed.elapsed() < RENEW_DEADLINE => {
                    warn!(lease = self.name, %error, "failed to renew the lease");
                }
                Ok(Err(_)) | Err(_) => {
                    warn!(
                        lease = self.name,
                        "lost the lease: it could not be renewed in time"
                    );
                    return;
                }
            }
        }
    }

    /// Gives the Lease back, so that another can act at once.
    ///
    /// # Errors
    /// The API server refuses, or cannot be asked.
    pub async fn release(&mut self) -> Result<(), Error> {
        let Some(mut lease) = self.held.take() else {
            return Ok(());
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        self.api
            .replace(&self.name, &PostParams::default(), &lease)
            .await
            .map(drop)
    }

    /// Takes or renews the Lease if it is ours to take; whether it is ours.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.claim(LeaseSpec::default(), &now)),
            };
            let created = self.api.create(&PostParams::default(), &lease).await;
            return self.settle(created);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if !self.may_take(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.claim(spec, &now));
        // Of two that take it at once, one fails: the version that was read has to be the last.
        let replaced = self
            .api
            .replace(&self.name, &PostParams::default(), &lease)
            .await;
        self.settle(replaced)
    }

    fn settle(&mut self, written: Result<Lease, Error>) -> Result<bool, Error> {
        match written {
            Ok(lease) => {
                self.held = Some(lease);
                Ok(true)
            }
            Err(Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the Lease is ours, nobody's, or its holder has been silent for as long as it said.
    fn may_take(&mut self, spec: &LeaseSpec) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        match &self.other {
            Some((seen, since)) if seen == spec => {
                let seconds = spec.lease_duration_seconds.unwrap_or_default();
                let duration = u64::try_from(seconds).map_or(DURATION, Duration::from_secs);
                since.elapsed() > duration
            }
            _ => {
                self.other = Some((spec.clone(), Instant::now()));
                false
            }
        }
    }

    fn claim(&self, before: LeaseSpec, now: &MicroTime) -> LeaseSpec {
        let is_ours = before.holder_identity.as_deref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if is_ours {
                before.acquire_time
            } else {
                Some(now.clone())
            },
            renew_time: Some(now.clone()),
            lease_transitions: Some(if is_ours {
                transitions
            } else {
                transitions + 1
            }),
            ..LeaseSpec::default()
        }
    }
}
