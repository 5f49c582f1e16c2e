//! Who may use the gateway, and how much.

mod meter;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tandem_semantic_router::Client;
use tandem_semantic_router::config::{Access, ApiClient, Identity, UsageLimits};

use meter::Meter;

/// Where clients of other APIs put their key.
const API_KEY: &str = "x-api-key";

/// What clients have used. It outlives a change of the configuration.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    meters: Mutex<HashMap<String, Arc<Mutex<Meter>>>>,
}

/// Why a request is refused before anybody has looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("an API key is needed: send it as `Authorization: Bearer KEY`")]
    NoKey,
    #[error("the API key is not known")]
    UnknownKey,
    #[error("the limit of {limit} {what} is reached; try again in {} s", whole_seconds(*.wait))]
    Limited {
        limit: u64,
        what: Limited,
        /// Until there is room again.
        wait: Duration,
    },
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limited {
    Requests,
    Tokens,
    DailyTokens,
    Concurrency,
}

impl std::fmt::Display for Limited {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Requests => "requests per minute",
            Self::Tokens => "tokens per minute",
            Self::DailyTokens => "tokens per day",
            Self::Concurrency => "requests at a time",
        })
    }
}

impl Refusal {
    /// Metric label.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::UnknownKey => "unknown_key",
            Self::Limited { what, .. } => match what {
                Limited::Requests => "requests_per_minute",
                Limited::Tokens => "tokens_per_minute",
                Limited::DailyTokens => "tokens_per_day",
                Limited::Concurrency => "concurrent_requests",
            },
        }
    }

    /// Seconds after which the client should try again.
    pub(super) fn retry_after(self) -> Option<u64> {
        match self {
            Self::Limited { wait, .. } => Some(whole_seconds(wait)),
            _ => None,
        }
    }
}

/// At least one.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0).max(u64::from(time.is_zero()))
}

/// A request that was let in. It counts as running until this is dropped.
#[derive(Debug)]
pub(crate) struct Grant {
    name: String,
    groups: Vec<String>,
    limits: UsageLimits,
    meter: Arc<Mutex<Meter>>,
}

impl Grant {
    /// Says who sent the request.
    pub(super) fn identify(&self, client: &mut Client) {
        client.user = Some(self.name.clone());
        client.groups.clone_from(&self.groups);
    }

    /// What the request has cost, in tokens.
    pub(crate) fn charge(&self, tokens: u64) {
        self.meter.lock().charge(tokens);
    }

    /// What is left, as the headers that clients of the `OpenAI` API know.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        self.meter.lock().headers(&self.limits, Instant::now())
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.meter.lock().ended();
    }
}

impl Accounts {
    /// Lets a request in; `None` where no clients are configured, and everybody may come.
    pub(super) fn admit(
        &self,
        access: &Access,
        headers: &HeaderMap,
    ) -> Result<Option<Grant>, Refusal> {
        if access.clients.is_empty() {
            return Ok(None);
        }
        let client = identify(&access.clients, headers)?;
        let limits = client.limits.or(access.limits);
        let meter = self.meter(&client.name);
        meter.lock().admit(&limits, Instant::now())?;
        Ok(Some(Grant {
            name: client.name.clone(),
            groups: client.groups.clone(),
            limits,
            meter,
        }))
    }

    fn meter(&self, name: &str) -> Arc<Mutex<Meter>> {
        let mut meters = self.meters.lock();
        let meter = meters.entry(name.to_owned());
        Arc::clone(meter.or_insert_with(|| Arc::new(Mutex::new(Meter::default()))))
    }
}

fn identify<'a>(clients: &'a [ApiClient], headers: &HeaderMap) -> Result<&'a ApiClient, Refusal> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let bearer = text(AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let key = bearer
        .or_else(|| text(API_KEY))
        .filter(|key| !key.is_empty());
    let key = key.ok_or(Refusal::NoKey)?;
    // All keys are looked at, so that the time says nothing about them.
    let mut found = None;
    for client in clients {
        if bool::from(client.key.expose().as_bytes().ct_eq(key.as_bytes())) {
            found = Some(client);
        }
    }
    found.ok_or(Refusal::UnknownKey)
}

/// Takes out what says who the client is: servers have credentials of their own, and nobody else
/// may say who is asking.
pub(super) fn strip_identity(headers: &mut HeaderMap, identity: &Identity) {
    let names = [AUTHORIZATION.as_str(), API_KEY];
    for name in names
        .into_iter()
        .chain([identity.user_header.as_str(), &identity.groups_header])
    {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use tandem_semantic_router::config::Secret;

    fn access() -> Access {
        let client = |name: &str, key: &str, requests| ApiClient {
            name: name.to_owned(),
            key: Secret::new(key),
            groups: vec!["g".to_owned()],
            limits: UsageLimits {
                requests_per_minute: requests,
                ..UsageLimits::default()
            },
        };
        Access {
            clients: vec![client("a", "key-a", Some(2)), client("b", "key-b", None)],
            limits: UsageLimits::default(),
        }
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )])
    }

    #[test]
    fn clients_are_known_by_their_keys() {
        let check = |name: &'static str, value: &str, want: Result<&str, Refusal>| {
            let grant = Accounts::default().admit(&access(), &headers(name, value));
            let got = grant.map(|grant| grant.unwrap().name.clone());
            assert_eq!(got, want.map(str::to_owned), "{value}");
        };
        check("authorization", "Bearer key-a", Ok("a"));
        check("authorization", "bearer  key-b ", Ok("b"));
        check("x-api-key", "key-b", Ok("b"));
        check("authorization", "Bearer key-c", Err(Refusal::UnknownKey));
        check("authorization", "Bearer ", Err(Refusal::NoKey));
        check("authorization", "Basic key-a", Err(Refusal::NoKey));
        check("x-other", "key-a", Err(Refusal::NoKey));
        let open = Accounts::default().admit(&Access::default(), &HeaderMap::new());
        assert!(open.unwrap().is_none());
    }

    #[test]
    fn limits_are_each_clients_own() {
        let (accounts, access) = (Accounts::default(), access());
        let admit = |key: &str| {
            accounts.admit(&access, &headers("authorization", &format!("Bearer {key}")))
        };
        assert!(admit("key-a").is_ok() && admit("key-a").is_ok());
        let refused = admit("key-a").unwrap_err();
        assert_eq!(refused.reason(), "requests_per_minute");
        assert_eq!(refused.retry_after(), Some(30));
        assert_eq!(
            refused.to_string(),
            "the limit of 2 requests per minute is reached; try again in 30 s"
        );
        assert!(admit("key-b").is_ok());
    }
}
