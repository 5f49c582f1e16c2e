//! Where models are served, for a gateway that sends requests there itself.

use std::fmt;
use std::time::Duration;

use super::Credential;

/// A server of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// Name in logs and metrics.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// Its share of the requests, relative to the other backends of the model.
    pub weight: f64,
    /// Credential for it; that of another backend of the model is never sent there.
    pub credential: Option<Credential>,
    /// Headers that its requests get; names are in lower case.
    pub headers: Vec<(String, String)>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// `host:port`.
    pub authority: String,
    /// Path before `/v1`, without a slash at its end.
    pub path: String,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// How failing backends of a model are treated. Names and meaning are Envoy's.
#[derive(Debug, Clone, PartialEq)]
pub struct Reliability {
    /// How one of several backends is chosen.
    pub balance: Balance,
    /// Most further attempts of a request that has no answer yet.
    pub retries: u32,
    /// What is tried again.
    pub retry_on: RetryOn,
    /// Longest wait for the beginning of an answer; the gateway's if there is none.
    pub timeout: Option<Duration>,
    /// When a backend is left alone for a while.
    pub ejection: Ejection,
    /// Requests that ask whether backends are well.
    pub health_check: Option<HealthCheck>,
}

/// How one of several backends is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests in flight for its weight.
    LeastRequest,
    /// In turn, by weight.
    RoundRobin,
    /// By chance, by weight.
    Random,
}

/// What is tried again, as long as nothing of the answer has been sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOn {
    /// No connection could be made.
    pub connect_failure: bool,
    /// The connection broke before the answer began.
    pub reset: bool,
    /// 502, 503 and 504.
    pub gateway_error: bool,
    /// Every status from 500 on.
    pub server_error: bool,
    /// 429: another backend may have room.
    pub rate_limited: bool,
}

impl RetryOn {
    /// Whether an answer of this status is tried again.
    pub fn status(self, status: u16) -> bool {
        match status {
            429 => self.rate_limited,
            502..=504 => self.gateway_error || self.server_error,
            500.. => self.server_error,
            _ => false,
        }
    }
}

/// When a backend is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ejection {
    /// Failures in a row that lead to it; 0 never does.
    pub consecutive_5xx: u32,
    /// How long the first time; the nth time in a row is n times as long.
    pub base_time: Duration,
    /// Most of a model's backends that are left alone at a time, in percent.
    pub max_percent: f64,
}

/// Requests that ask whether a backend is well: it is not when one fails, until one succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path that is asked for.
    pub path: String,
    /// Time between two requests.
    pub interval: Duration,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

impl Default for Reliability {
    fn default() -> Self {
        Self {
            balance: Balance::LeastRequest,
            retries: 2,
            retry_on: RetryOn::default(),
            timeout: None,
            ejection: Ejection::default(),
            health_check: None,
        }
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        Self {
            connect_failure: true,
            reset: true,
            gateway_error: true,
            server_error: false,
            rate_limited: false,
        }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            base_time: Duration::from_secs(30),
            max_percent: 50.0,
        }
    }
}
