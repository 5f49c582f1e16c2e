//! Asking the frontends themselves: their metrics pages, and what they say of their load.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;

use super::http::{Http, base};
use super::page::Page;
use super::{Increases, Mean, ObserveError, Seen};
use crate::planner::decide::Pressure;

/// Frontends that are asked directly.
#[derive(Debug)]
pub struct Frontends {
    http: Http,
    urls: Vec<String>,
    model: Option<String>,
    /// What each had counted, and when all were asked.
    last: Option<(Instant, Vec<Increases>)>,
}

/// The answer of `GET /load`.
#[derive(Debug, Deserialize)]
struct ServingLoad {
    models: BTreeMap<String, ModelLoad>,
}

#[derive(Debug, Deserialize)]
struct ModelLoad {
    waiting_requests: u64,
    active_kv_blocks: u64,
    total_kv_blocks: u64,
}

impl Frontends {
    /// Frontends at `urls`, of whose models only `model` counts if there is one.
    ///
    /// # Errors
    /// An address is not one of plain HTTP.
    pub fn new(urls: &[String], model: Option<String>) -> Result<Self, ObserveError> {
        Ok(Self {
            http: Http::new(),
            urls: urls.iter().map(|url| base(url)).collect::<Result<_, _>>()?,
            model,
            last: None,
        })
    }

    pub(super) async fn see(&mut self) -> Result<Seen, ObserveError> {
        let now = Instant::now();
        let (mut counted, mut load) = (Vec::new(), Load::default());
        for url in &self.urls {
            let text = self.page(url).await?;
            let page = Page::new(&text, self.model.as_deref());
            counted.push(page.counters());
            match self.http.get(&format!("{url}/load")).await? {
                Some(body) => load.add(&self.told(url, &body)?),
                // Frontends of Dynamo have no such page.
                None => load.waiting += page.sum("dynamo_frontend_queued_requests").unwrap_or(0.0),
            }
        }
        let mut seen = Seen {
            pressure: load.pressure(),
            ..Seen::default()
        };
        if let Some((asked, before)) = &self.last {
            let increases = counted
                .iter()
                .zip(before)
                .map(|(now, before)| now.since(before));
            let increases = increases.fold(Increases::default(), Increases::plus);
            seen.traffic = increases.traffic(now - *asked);
            seen.latency = increases.latency();
        }
        self.last = Some((now, counted));
        Ok(seen)
    }

    async fn page(&self, url: &str) -> Result<String, ObserveError> {
        let address = format!("{url}/metrics");
        let wrong = |reason: &str| ObserveError::Answer {
            url: address.clone(),
            reason: reason.to_owned(),
        };
        let body = self.http.get(&address).await?;
        let body = body.ok_or_else(|| wrong("there is no such page"))?;
        String::from_utf8(body.to_vec()).map_err(|_| wrong("it is not text"))
    }

    fn told(&self, url: &str, body: &[u8]) -> Result<Load, ObserveError> {
        let told: ServingLoad =
            serde_json::from_slice(body).map_err(|error| ObserveError::Answer {
                url: format!("{url}/load"),
                reason: error.to_string(),
            })?;
        let mut load = Load::default();
        for (name, model) in told.models {
            if self.model.as_ref().is_none_or(|wanted| *wanted == name) {
                load.waiting += as_f64(model.waiting_requests);
                load.active += as_f64(model.active_kv_blocks);
                load.total += as_f64(model.total_kv_blocks);
            }
        }
        Ok(load)
    }
}

/// Load over all frontends.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    waiting: f64,
    active: f64,
    total: f64,
}

impl Load {
    fn add(&mut self, other: &Self) {
        self.waiting += other.waiting;
        // All frontends see the same workers, each with what it sent there itself.
        self.active += other.active;
        self.total = self.total.max(other.total);
    }

    fn pressure(&self) -> Pressure {
        Pressure {
            waiting: Some(self.waiting),
            kv_usage: (self.total > 0.0).then(|| self.active / self.total),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of blocks and requests")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

impl Increases {
    /// What was added since `before`. A counter that is less began anew, with all that it has.
    fn since(&self, before: &Self) -> Self {
        let added = |now: f64, before: f64| if now < before { now } else { now - before };
        let mean = |now: Mean, before: Mean| {
            // Sum and count began anew together.
            if now.count < before.count {
                return now;
            }
            Mean {
                sum: added(now.sum, before.sum),
                count: now.count - before.count,
            }
        };
        Self {
            requests: added(self.requests, before.requests),
            prompt_tokens: mean(self.prompt_tokens, before.prompt_tokens),
            answer_tokens: mean(self.answer_tokens, before.answer_tokens),
            first_token: mean(self.first_token, before.first_token),
            inter_token: mean(self.inter_token, before.inter_token),
            request: mean(self.request, before.request),
        }
    }

    fn plus(self, other: Self) -> Self {
        let mean = |one: Mean, other: Mean| Mean {
            sum: one.sum + other.sum,
            count: one.count + other.count,
        };
        Self {
            requests: self.requests + other.requests,
            prompt_tokens: mean(self.prompt_tokens, other.prompt_tokens),
            answer_tokens: mean(self.answer_tokens, other.answer_tokens),
            first_token: mean(self.first_token, other.first_token),
            inter_token: mean(self.inter_token, other.inter_token),
            request: mean(self.request, other.request),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frontend_that_began_anew_counts_from_nothing() {
        let counted = |requests: f64, sum: f64, count: f64| Increases {
            requests,
            prompt_tokens: Mean { sum, count },
            ..Increases::default()
        };
        let (before, after) = (counted(10.0, 500.0, 10.0), counted(14.0, 900.0, 14.0));
        assert_eq!(after.since(&before), counted(4.0, 400.0, 4.0));
        let anew = counted(3.0, 600.0, 3.0);
        assert_eq!(anew.since(&before), anew);
    }

    proptest! {
        #[test]
        fn increases_are_never_negative(now in 0.0..1e9_f64, before in 0.0..1e9_f64) {
            let counted = |requests| Increases { requests, ..Increases::default() };
            let since = counted(now).since(&counted(before));
            prop_assert!(since.requests >= 0.0 && since.requests <= now);
        }
    }
}
