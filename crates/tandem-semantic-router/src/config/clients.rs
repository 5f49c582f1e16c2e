//! Who may use a gateway, and how much.

use std::fmt;

/// A client that proves who it is with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiClient {
    /// The user's id: for signals, logs and the semantic cache.
    pub name: String,
    /// What it sends as `Authorization: Bearer …`.
    pub key: Secret,
    /// The user's groups.
    pub groups: Vec<String>,
    /// How much it may use; the limits of all clients where it has none of its own.
    pub limits: UsageLimits,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// Most that one client may use; nothing is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageLimits {
    /// Requests in any minute.
    pub requests_per_minute: Option<u64>,
    /// Prompt and generated tokens in any minute. What an answer costs is known at its end, so the
    /// last one may go beyond the limit and is paid for by those after it.
    pub tokens_per_minute: Option<u64>,
    /// Prompt and generated tokens in any day.
    pub tokens_per_day: Option<u64>,
    /// Requests at a time.
    pub concurrent_requests: Option<u64>,
}

impl UsageLimits {
    /// These limits, and those of `all` where there is none.
    #[must_use]
    pub fn or(self, all: Self) -> Self {
        Self {
            requests_per_minute: self.requests_per_minute.or(all.requests_per_minute),
            tokens_per_minute: self.tokens_per_minute.or(all.tokens_per_minute),
            tokens_per_day: self.tokens_per_day.or(all.tokens_per_day),
            concurrent_requests: self.concurrent_requests.or(all.concurrent_requests),
        }
    }
}

/// Who may use a gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The clients. While there are any, a request without the key of one is refused.
    pub clients: Vec<ApiClient>,
    /// Limits of every client that has none of its own.
    pub limits: UsageLimits,
}
