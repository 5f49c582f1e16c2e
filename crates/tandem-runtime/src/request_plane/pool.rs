//! Connections to workers that wait for their next request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::connection::Connection;

/// Most connections that wait, for each worker.
const MAX_IDLE: usize = 256;
/// How long a connection waits; less than the worker's own patience.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Time between two searches for connections that have waited too long.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Most time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Idle connections by address.
#[derive(Debug, Default)]
pub(super) struct Pool {
    homes: Mutex<Homes>,
}

#[derive(Debug, Default)]
struct Homes {
    by_address: HashMap<String, Arc<Home>>,
    swept: Option<Instant>,
}

/// Idle connections to one address.
#[derive(Debug, Default)]
pub(super) struct Home {
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Pool {
    /// Where connections to `address` wait.
    pub(super) fn home(&self, address: &str) -> Arc<Home> {
        let mut homes = self.homes.lock();
        homes.sweep(Instant::now());
        let home = homes.by_address.entry(address.to_owned()).or_default();
        Arc::clone(home)
    }
}

impl Homes {
    /// Workers come and go: what nobody uses is forgotten. Not at every call, since there may be
    /// many workers.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|last| now - last < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        self.by_address.retain(|_, home| {
            home.discard_stale();
            Arc::strong_count(home) > 1 || !home.idle.lock().is_empty()
        });
    }
}

impl Home {
    /// A connection that is still good, the most recently used one first.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        while let Some((connection, _)) = idle.pop() {
            if connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for later.
    pub(super) fn put(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push((connection, Instant::now()));
        }
    }

    fn discard_stale(&self) {
        let oldest = Instant::now().checked_sub(IDLE_TIMEOUT);
        self.idle
            .lock()
            .retain(|(_, since)| oldest.is_none_or(|oldest| *since >= oldest));
    }
}

/// A new connection to `address`.
pub(super) async fn connect(address: &str) -> std::io::Result<Connection> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let timed_out = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    Connection::new(connected.map_err(timed_out)??)
}
