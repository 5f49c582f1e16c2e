//! One server, shared by all models that it serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tandem_semantic_router::config::{Address, Ejection, HealthCheck};
use tracing::{info, warn};

use super::condition::Condition;

/// What is known of a server.
#[derive(Debug)]
pub(super) struct Server {
    address: Address,
    in_flight: AtomicUsize,
    condition: Mutex<Condition>,
    /// What the last health check found.
    healthy: AtomicBool,
    /// How it is checked; whoever puts the first one here checks it.
    check: Mutex<Option<HealthCheck>>,
}

impl Server {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            in_flight: AtomicUsize::new(0),
            condition: Mutex::new(Condition::new()),
            healthy: AtomicBool::new(true),
            check: Mutex::default(),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it may be given a request.
    pub(super) fn is_available(&self, now: Instant) -> bool {
        self.healthy.load(Ordering::Relaxed) && self.condition.lock().admits(now)
    }

    /// Whether its answers are no reason to leave it alone.
    pub(super) fn is_trusted(&self) -> bool {
        self.condition.lock().is_trusted()
    }

    /// Says how it is checked from now on. Returns whether nobody checks it yet.
    pub(super) fn set_check(&self, check: &HealthCheck) -> bool {
        self.check.lock().replace(check.clone()).is_none()
    }

    /// How it is checked.
    pub(super) fn check(&self) -> Option<HealthCheck> {
        self.check.lock().clone()
    }

    /// A health check has an answer, or none.
    pub(super) fn checked(&self, healthy: bool) {
        let before = self.healthy.swap(healthy, Ordering::Relaxed);
        match (before, healthy) {
            (true, false) => warn!(server = %self.address, "a server fails its health checks"),
            (false, true) => info!(server = %self.address, "a server passes its health checks"),
            _ => {}
        }
    }
}

/// A request that a server was given. It counts as in flight until this is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Attempt {
    server: Arc<Server>,
    judged: bool,
}

impl Attempt {
    pub(super) fn start(server: Arc<Server>, now: Instant) -> Self {
        server.in_flight.fetch_add(1, Ordering::Relaxed);
        server.condition.lock().chosen(now);
        Self {
            server,
            judged: false,
        }
    }

    /// The server answered.
    pub(in crate::proxy) fn succeeded(&mut self) {
        self.judged = true;
        self.server.condition.lock().succeeded();
    }

    /// The server did not answer, or with a server error. Returns whether it is left alone now.
    pub(super) fn failed(&mut self, ejection: &Ejection, allowed: bool, now: Instant) -> bool {
        self.judged = true;
        let mut condition = self.server.condition.lock();
        let Some(time) = condition.failed(ejection, allowed, now) else {
            return false;
        };
        let server = &self.server.address;
        warn!(%server, ?time, "a server is left alone: too many requests failed in a row");
        true
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.judged {
            self.server.condition.lock().undecided(Instant::now());
        }
        self.server.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
