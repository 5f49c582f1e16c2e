//! The cache of answers: the global section, and the plugin of a decision.

use std::time::Duration;

use super::cache_store;
use super::reader::Section;
use crate::config::{
    CacheConfig, CacheLimits, CacheMode, CachePolicy, CacheScope, Eviction, Override,
};

const MODES: [(&str, CacheMode); 3] = [
    ("exact", CacheMode::Exact),
    ("semantic", CacheMode::Semantic),
    ("exact_then_semantic", CacheMode::Semantic),
];

const SCOPES: [(&str, CacheScope); 5] = [
    ("client", CacheScope::Client),
    ("user", CacheScope::User),
    ("team", CacheScope::Team),
    ("tenant", CacheScope::Team),
    ("global", CacheScope::Global),
];

/// `semantic_cache` or `response_cache`.
pub(super) fn read(section: &Section<'_>) -> CacheConfig {
    CacheConfig {
        enabled: section.boolean("enabled") == Some(true),
        store: cache_store::read(section),
        limits: limits(section),
        policy: policy(section, &CachePolicy::default()),
    }
}

/// The plugin; what it leaves open is as the global section says.
pub(super) fn plugin(section: &Section<'_>, global: &CachePolicy) -> Override<CachePolicy> {
    match section.boolean("enabled") {
        Some(false) => Override::Off,
        Some(true) | None => Override::On(policy(section, global)),
    }
}

fn policy(section: &Section<'_>, default: &CachePolicy) -> CachePolicy {
    let semantic = section.section("semantic");
    let nested = semantic.and_then(|semantic| semantic.fraction("similarity_threshold"));
    let threshold = section.fraction("similarity_threshold");
    let ttl = section
        .integer("ttl_seconds")
        .and_then(|ttl| u64::try_from(ttl).ok());
    CachePolicy {
        mode: section.choice("mode", &MODES).unwrap_or(default.mode),
        threshold: nested.or(threshold).unwrap_or(default.threshold),
        scope: section.choice("scope", &SCOPES).unwrap_or(default.scope),
        ttl: match ttl {
            None => default.ttl,
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds)),
        },
    }
}

fn limits(section: &Section<'_>) -> CacheLimits {
    let count = |key| {
        let number = section.integer(key)?;
        usize::try_from(number).ok().filter(|number| *number > 0)
    };
    let policies = [
        ("fifo", Eviction::Fifo),
        ("lru", Eviction::Lru),
        ("lfu", Eviction::Lru),
    ];
    let eviction = section.choice("eviction_policy", &policies);
    if let Some(cursor) = section.get("eviction_policy")
        && cursor
            .text()
            .is_some_and(|name| name.eq_ignore_ascii_case("lfu"))
    {
        cursor.warn("accepted, and has no effect because uses are not counted: `lru` applies");
    }
    CacheLimits {
        max_bytes: count("max_bytes").unwrap_or(CacheLimits::DEFAULT_BYTES),
        max_entries: count("max_entries"),
        eviction: eviction.unwrap_or(Eviction::Lru),
    }
}
