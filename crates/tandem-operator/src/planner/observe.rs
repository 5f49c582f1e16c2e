//! What is seen of the traffic: from Prometheus, or from the frontends themselves.

mod http;
mod page;
mod prometheus;
mod scrape;

use std::time::Duration;

use super::decide::{Latency, Pressure, Traffic};

pub use prometheus::Prometheus;
pub use scrape::Frontends;

/// What was seen in the interval that ends now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seen {
    /// What clients asked for; `None` if nobody knows.
    pub traffic: Option<Traffic>,
    /// What they got.
    pub latency: Latency,
    /// How busy the workers are.
    pub pressure: Pressure,
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The address is not one.
    #[error("failed to use {url} as an address: it has to begin with http://")]
    Address {
        /// What was given.
        url: String,
    },
    /// Nobody answered, or not in time; the next interval may be better.
    #[error("failed to ask {url}: {reason}")]
    Unreachable {
        /// Who was asked.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The answer is not what it should be.
    #[error("failed to understand the answer of {url}: {reason}")]
    Answer {
        /// Who was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Who is asked.
#[derive(Debug)]
pub enum Source {
    /// A Prometheus server that scrapes the frontends and workers.
    Prometheus(Prometheus),
    /// The frontends.
    Frontends(Frontends),
}

impl Source {
    /// What was seen in the last `interval`. Frontends tell of the time since they were asked last,
    /// which is nothing yet the first time.
    ///
    /// # Errors
    /// Prometheus, or one of the frontends, does not answer as it should.
    pub async fn see(&mut self, interval: Duration) -> Result<Seen, ObserveError> {
        match self {
            Self::Prometheus(prometheus) => prometheus.see(interval).await,
            Self::Frontends(frontends) => frontends.see().await,
        }
    }
}

/// Increases of the frontends' counters over an interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Increases {
    requests: f64,
    prompt_tokens: Mean,
    answer_tokens: Mean,
    first_token: Mean,
    inter_token: Mean,
    request: Mean,
}

/// A histogram's sum and count.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    /// `None` where nothing was counted.
    fn value(self) -> Option<f64> {
        let mean = self.sum / self.count;
        (self.count > 0.0 && mean.is_finite()).then_some(mean)
    }
}

impl Increases {
    fn traffic(&self, interval: Duration) -> Option<Traffic> {
        let rate = self.requests / interval.as_secs_f64();
        rate.is_finite().then(|| Traffic {
            rate,
            prompt_tokens: self.prompt_tokens.value().unwrap_or(f64::NAN),
            answer_tokens: self.answer_tokens.value().unwrap_or(f64::NAN),
        })
    }

    fn latency(&self) -> Latency {
        Latency {
            first_token: self.first_token.value(),
            inter_token: self.inter_token.value(),
            request: self.request.value(),
        }
    }
}
