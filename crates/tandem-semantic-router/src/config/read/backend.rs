//! Where models are served, and who may use them.

use std::time::Duration;

use super::provider::bearer;
use super::reader::{Cursor, Section};
use crate::config::{
    Access, Address, ApiClient, Backend, Balance, Credential, Ejection, HealthCheck, Reliability,
    RetryOn, Secret, UsageLimits,
};

const BALANCES: [(&str, Balance); 3] = [
    ("least_request", Balance::LeastRequest),
    ("round_robin", Balance::RoundRobin),
    ("random", Balance::Random),
];

/// Time between two health checks, and the longest wait for one, when none is configured.
const HEALTH_INTERVAL: Duration = Duration::from_secs(10);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// `backend_refs` of a model, and the first credential that they hold: one without an address is
/// for the server that the proxy in front chooses.
pub(super) fn backends(list: Vec<Cursor<'_>>) -> (Vec<Backend>, Option<Credential>) {
    let (mut backends, mut first) = (Vec::new(), None);
    for section in list.into_iter().filter_map(Cursor::section) {
        let credential = credential(&section);
        first = first.or_else(|| credential.clone());
        backends.extend(backend(&section, credential));
    }
    (backends, first)
}

fn backend(section: &Section<'_>, credential: Option<Credential>) -> Option<Backend> {
    let address = address(section)?;
    let name = section.text("name").filter(|name| !name.is_empty());
    let weight = section.get("weight").and_then(|cursor| cursor.number());
    let headers = section.get("extra_headers").map(Cursor::entries);
    let headers = headers.unwrap_or_default().into_iter();
    let headers = headers.filter_map(|(name, value)| {
        let text = value.text()?;
        Some((name.to_ascii_lowercase(), text))
    });
    Some(Backend {
        name: name.unwrap_or_else(|| address.authority.clone()),
        address,
        weight: weight.unwrap_or(1.0),
        credential,
        headers: headers.collect(),
    })
}

fn credential(section: &Section<'_>) -> Option<Credential> {
    let from_env = section.get("api_key_env").and_then(|cursor| {
        let name = cursor.text()?;
        let key = cursor.variable(&name);
        if key.is_none() {
            cursor.warn(format!("environment variable `{name}` is not set"));
        }
        key
    });
    let key = section.text("api_key").or(from_env);
    let key = key.filter(|key| !key.is_empty())?;
    let prefix = section.text("auth_prefix");
    Some(match section.text("auth_header") {
        None => bearer(&key),
        Some(header) => Credential {
            header: header.to_ascii_lowercase(),
            value: match prefix.as_deref() {
                None | Some("") => key,
                Some(prefix) => format!("{prefix} {key}"),
            },
        },
    })
}

/// `base_url`, or `endpoint` with `protocol`.
fn address(section: &Section<'_>) -> Option<Address> {
    if let Some(cursor) = section.get("base_url") {
        let text = cursor.text().filter(|text| !text.is_empty())?;
        let address = parse_url(&text);
        if address.is_none() {
            cursor.error(format!(
                "`{text}` is not an address like https://example.com/v1"
            ));
        }
        return address;
    }
    let endpoint = section.text("endpoint").filter(|text| !text.is_empty())?;
    let protocols = [("http", false), ("https", true)];
    let tls = section.choice("protocol", &protocols).unwrap_or(false);
    Some(Address {
        tls,
        authority: endpoint,
        path: String::new(),
    })
}

/// An absolute URL. A path that ends in `/v1` is that of the API, as clients of the API write it.
fn parse_url(text: &str) -> Option<Address> {
    let (tls, rest) = match text.split_once("://")? {
        ("http", rest) => (false, rest),
        ("https", rest) => (true, rest),
        _ => return None,
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let plain = |text: &str| !text.contains(['@', '?', '#', ' ']);
    if host.is_empty() || !plain(rest) {
        return None;
    }
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path);
    let named = |host: &str| {
        host.rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    };
    let authority = if named(host) {
        host.to_owned()
    } else {
        format!("{host}:{}", if tls { 443 } else { 80 })
    };
    Some(Address {
        tls,
        authority,
        path: path.to_owned(),
    })
}

/// `reliability`; what it does not say is as in `default`.
pub(super) fn reliability(section: &Section<'_>, default: &Reliability) -> Reliability {
    let whole = |key| {
        section
            .integer(key)
            .and_then(|number| u32::try_from(number).ok())
    };
    let number = |key| {
        section
            .get(key)
            .and_then(|cursor: Cursor<'_>| cursor.number())
    };
    let ejection = default.ejection;
    Reliability {
        balance: section
            .choice("lb_policy", &BALANCES)
            .unwrap_or(default.balance),
        retries: whole("retry_count").unwrap_or(default.retries),
        retry_on: section
            .get("retry_on")
            .and_then(|cursor| retry_on(&cursor))
            .unwrap_or(default.retry_on),
        timeout: section.duration("timeout").or(default.timeout),
        ejection: Ejection {
            consecutive_5xx: whole("consecutive_5xx").unwrap_or(ejection.consecutive_5xx),
            base_time: section
                .duration("base_ejection_time")
                .unwrap_or(ejection.base_time),
            max_percent: number("max_ejection_percent").unwrap_or(ejection.max_percent),
        },
        health_check: health_check(section).or_else(|| default.health_check.clone()),
    }
}

/// Envoy's words, separated by commas.
fn retry_on(cursor: &Cursor<'_>) -> Option<RetryOn> {
    let text = cursor.text()?;
    let mut on = RetryOn {
        connect_failure: false,
        reset: false,
        gateway_error: false,
        server_error: false,
        rate_limited: false,
    };
    for word in text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        match word {
            "connect-failure" | "refused-stream" => on.connect_failure = true,
            "reset" | "reset-before-request" => on.reset = true,
            "gateway-error" => on.gateway_error = true,
            // As in Envoy, a server that does not answer at all counts as well.
            "5xx" => {
                on.server_error = true;
                on.connect_failure = true;
                on.reset = true;
            }
            "retriable-4xx" | "envoy-ratelimited" | "429" => on.rate_limited = true,
            unknown => {
                let known = "connect-failure, reset, gateway-error, 5xx, 429";
                cursor.error(format!(
                    "unknown condition `{unknown}`; use some of: {known}"
                ));
                return None;
            }
        }
    }
    Some(on)
}

fn health_check(section: &Section<'_>) -> Option<HealthCheck> {
    let cursor = section.get("health_check_path");
    let interval = section.duration("health_check_interval");
    let timeout = section.duration("health_check_timeout");
    let path = cursor?.text().filter(|path| !path.is_empty())?;
    Some(HealthCheck {
        path: format!("/{}", path.trim_start_matches('/')),
        interval: interval.unwrap_or(HEALTH_INTERVAL),
        timeout: timeout.unwrap_or(HEALTH_TIMEOUT),
    })
}

/// `clients` and `limits`.
pub(super) fn access(section: &Section<'_>) -> Access {
    let mut access = Access {
        clients: Vec::new(),
        limits: section
            .section("limits")
            .map(|limits| usage_limits(&limits))
            .unwrap_or_default(),
    };
    for cursor in section.list("clients") {
        let at = cursor.clone();
        let Some(client) = client(cursor) else {
            continue;
        };
        // Two clients of one name would share their limits; one key for two says nothing.
        if access.clients.iter().any(|known| known.name == client.name) {
            at.error(format!("there are two clients `{}`", client.name));
        }
        if access.clients.iter().any(|known| known.key == client.key) {
            at.error(format!(
                "client `{}` has the key of another one",
                client.name
            ));
        }
        access.clients.push(client);
    }
    access
}

fn client(cursor: Cursor<'_>) -> Option<ApiClient> {
    let section = cursor.section()?;
    let name = section.required("name");
    let key = section.required("key");
    let limits = section
        .section("limits")
        .map(|limits| usage_limits(&limits));
    Some(ApiClient {
        name: name?,
        key: Secret::new(key?.trim()),
        groups: section.texts("groups"),
        limits: limits.unwrap_or_default(),
    })
}

fn usage_limits(section: &Section<'_>) -> UsageLimits {
    let limit = |key| {
        section
            .integer(key)
            .and_then(|number| u64::try_from(number).ok())
    };
    UsageLimits {
        requests_per_minute: limit("requests_per_minute"),
        tokens_per_minute: limit("tokens_per_minute"),
        tokens_per_day: limit("tokens_per_day"),
        concurrent_requests: limit("concurrent_requests"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_become_addresses() {
        let check = |text: &str, want: Option<&str>| {
            let address = parse_url(text).map(|address| address.to_string());
            assert_eq!(address.as_deref(), want, "{text}");
        };
        check(
            "https://api.example.com/v1",
            Some("https://api.example.com:443"),
        );
        check("http://[::1]:9/a/v1/", Some("http://[::1]:9/a"));
        check("http://[::1]", Some("http://[::1]:80"));
        check("https://h:1/openai", Some("https://h:1/openai"));
        check("h:1", None);
        check("ftp://h", None);
        check("https://", None);
        check("https://user:secret@h/v1", None);
        check("https://h/v1?key=1", None);
    }
}
