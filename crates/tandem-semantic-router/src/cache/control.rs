//! What a client says about caching.

use std::time::Duration;

/// What a client allows (RFC 9111, 5.2.1, as far as it concerns a shared cache).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// Whether only a fresh answer will do.
    pub no_cache: bool,
    /// Whether the answer must not be kept.
    pub no_store: bool,
    /// Oldest answer that will do.
    pub max_age: Option<Duration>,
    /// Longest time that the answer may be kept.
    pub ttl: Option<Duration>,
}

impl CacheControl {
    /// Reads the values of `cache-control` headers. What is unknown or malformed is passed over.
    pub fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut control = Self::default();
        for directive in values.flat_map(|value| value.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = || value.trim().parse().ok().map(Duration::from_secs);
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => control.no_cache = true,
                "no-store" => control.no_store = true,
                "bypass" => (control.no_cache, control.no_store) = (true, true),
                "max-age" => control.max_age = seconds().or(control.max_age),
                "ttl" => control.ttl = seconds().or(control.ttl),
                _ => {}
            }
        }
        control
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_of_all_headers_count() {
        let parse = |values: &[&str]| CacheControl::parse(values.iter().copied());
        assert_eq!(parse(&[]), CacheControl::default());
        assert_eq!(parse(&["public, max-age=x"]), CacheControl::default());
        let both = parse(&["No-Cache , max-age=5", "ttl=7"]);
        assert!(both.no_cache && !both.no_store);
        assert_eq!(both.max_age, Some(Duration::from_secs(5)));
        assert_eq!(both.ttl, Some(Duration::from_secs(7)));
        let bypass = parse(&["bypass"]);
        assert!(bypass.no_cache && bypass.no_store);
    }
}
