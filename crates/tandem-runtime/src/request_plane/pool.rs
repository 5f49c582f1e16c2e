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
/// Most time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Idle connections by address.
#[derive(Debug, Default)]
pub(super) struct Pool {
    homes: Mutex<HashMap<String, Arc<Home>>>,
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
        // Workers come and go: what nobody uses is forgotten.
        homes.retain(|known, home| {
            home.discard_stale();
            known == address || Arc::strong_count(home) > 1 || !home.idle.lock().is_empty()
        });
        Arc::clone(homes.entry(address.to_owned()).or_default())
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
