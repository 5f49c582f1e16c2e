//! Which answers are kept, for whom and how long.

use std::time::Duration;

use super::cache_store::CacheStore;

/// The cache of answers.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheConfig {
    /// Whether answers are cached where a decision says nothing.
    pub enabled: bool,
    /// Where answers are kept beside this process.
    pub store: CacheStore,
    /// What this process keeps.
    pub limits: CacheLimits,
    /// How requests use it where their decision says nothing.
    pub policy: CachePolicy,
}

/// Most that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of answers, questions and vectors.
    pub max_bytes: usize,
    /// Answers; as many as there is room for if `None`.
    pub max_entries: Option<usize>,
    /// Which answers make room for others.
    pub eviction: Eviction,
}

/// Which answers make room for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// The oldest.
    Fifo,
    /// The least recently used.
    Lru,
}

/// How requests use the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct CachePolicy {
    /// Which requests are the same.
    pub mode: CacheMode,
    /// Least cosine similarity of two questions.
    pub threshold: f32,
    /// Who shares answers.
    pub scope: CacheScope,
    /// How long an answer is served; for ever if `None`.
    pub ttl: Option<Duration>,
}

/// Which requests are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMode {
    /// Those that are equal.
    Exact,
    /// Those whose last questions ask for the same, too.
    Semantic,
}

/// Who shares answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Each client has its own: the user, else the bearer of a credential, else all who show
    /// neither.
    Client,
    /// Each user has its own; nothing is cached for others.
    User,
    /// Those with the same groups; nothing is cached for others.
    Team,
    /// Everyone.
    Global,
}

impl CachePolicy {
    /// Threshold when none is configured. It only spares the comparison of questions that have
    /// nothing in common: their words decide.
    pub const DEFAULT_THRESHOLD: f32 = 0.75;
    /// Time when none is configured.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            mode: CacheMode::Semantic,
            threshold: Self::DEFAULT_THRESHOLD,
            scope: CacheScope::Client,
            ttl: Some(Self::DEFAULT_TTL),
        }
    }
}

impl CacheLimits {
    /// Bytes when no number is configured.
    pub const DEFAULT_BYTES: usize = 128 << 20;
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            max_bytes: Self::DEFAULT_BYTES,
            max_entries: None,
            eviction: Eviction::Lru,
        }
    }
}

impl Default for CacheConfig {
    /// Off.
    fn default() -> Self {
        Self {
            enabled: false,
            store: CacheStore::Memory,
            limits: CacheLimits::default(),
            policy: CachePolicy::default(),
        }
    }
}
