//! Asking a Prometheus server, with instant queries over its HTTP API.
//!
//! <https://prometheus.io/docs/prometheus/latest/querying/api/>

use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;

use super::http::{Http, base};
use super::{Increases, Mean, ObserveError, Seen};
use crate::planner::decide::Pressure;

/// A Prometheus server that scrapes the frontends and workers.
#[derive(Debug)]
pub struct Prometheus {
    http: Http,
    url: String,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    /// Time, and value as text.
    value: (f64, String),
}

impl Prometheus {
    /// The server at `url`; only series of `model` count if there is one.
    ///
    /// # Errors
    /// The address is not one of plain HTTP.
    pub fn new(url: &str, model: Option<String>) -> Result<Self, ObserveError> {
        Ok(Self {
            http: Http::new(),
            url: base(url)?,
            model,
        })
    }

    pub(super) async fn see(&self, interval: Duration) -> Result<Seen, ObserveError> {
        let requests = self.increase("requests_total", interval).await?;
        let increases = Increases {
            requests: requests.unwrap_or(f64::NAN),
            prompt_tokens: self.mean("input_sequence_tokens", interval).await?,
            answer_tokens: self.mean("output_sequence_tokens", interval).await?,
            first_token: self.mean("time_to_first_token_seconds", interval).await?,
            inter_token: self.mean("inter_token_latency_seconds", interval).await?,
            request: self.mean("request_duration_seconds", interval).await?,
        };
        let waiting = format!("sum(dynamo_frontend_queued_requests{})", self.selector());
        // Prefill workers give their blocks back at once.
        let decode = "{worker!~\"prefill.*\"}";
        let usage = format!(
            "sum(tandem_worker_kv_active_blocks{decode}) / sum(tandem_worker_kv_total_blocks{decode})"
        );
        Ok(Seen {
            traffic: increases.traffic(interval),
            latency: increases.latency(),
            pressure: Pressure {
                waiting: self.query(&waiting).await?,
                kv_usage: self.query(&usage).await?,
            },
        })
    }

    async fn mean(&self, name: &str, interval: Duration) -> Result<Mean, ObserveError> {
        let part = async |end: &str| {
            let increase = self.increase(&format!("{name}_{end}"), interval).await?;
            Ok(increase.unwrap_or(f64::NAN))
        };
        Ok(Mean {
            sum: part("sum").await?,
            count: part("count").await?,
        })
    }

    async fn increase(&self, name: &str, interval: Duration) -> Result<Option<f64>, ObserveError> {
        let (selector, seconds) = (self.selector(), interval.as_secs().max(1));
        let query = format!("sum(increase(dynamo_frontend_{name}{selector}[{seconds}s]))");
        self.query(&query).await
    }

    fn selector(&self) -> String {
        let quoted = |model: &String| {
            let model = model.replace('\\', "\\\\").replace('"', "\\\"");
            format!("{{model=\"{model}\"}}")
        };
        self.model.as_ref().map(quoted).unwrap_or_default()
    }

    /// The value of a query that has one; `None` if there are no such series.
    async fn query(&self, query: &str) -> Result<Option<f64>, ObserveError> {
        let url = format!("{}/api/v1/query?query={}", self.url, encoded(query));
        let wrong = |reason: String| ObserveError::Answer {
            url: url.clone(),
            reason,
        };
        let body = self.http.get(&url).await?;
        let body = body.ok_or_else(|| wrong("there is no such page".to_owned()))?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
        let Some(series) = answer.data.result.first() else {
            return Ok(None);
        };
        let value: f64 = series.value.1.parse().unwrap_or(f64::NAN);
        Ok(value.is_finite().then_some(value))
    }
}

/// Text in the form that a query string may have.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(3 * text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    encoded
}
