//! Which entries are alive, judged by when they are touched.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// What was seen of the entries so far.
///
/// An entry is alive while its time of modification changes. What counts is when this process saw
/// it change, not the time itself, because the clocks of two machines may differ; only of an entry
/// that is new to this process the age has to be believed until it changes.
#[derive(Debug)]
pub(super) struct Census {
    time_to_live: Duration,
    entries: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    touched: SystemTime,
    alive_until: Option<Instant>,
}

impl Census {
    /// Nothing was seen yet; an entry dies when it is not touched for `time_to_live`.
    pub(super) fn new(time_to_live: Duration) -> Self {
        Self {
            time_to_live,
            entries: BTreeMap::new(),
        }
    }

    /// Takes in a listing; returns the keys that are alive, and whether each was touched since the
    /// last one.
    pub(super) fn take(
        &mut self,
        listing: Vec<(String, SystemTime)>,
        (now, today): (Instant, SystemTime),
    ) -> Vec<(String, bool)> {
        let mut before = std::mem::take(&mut self.entries);
        let mut alive = Vec::new();
        for (key, touched) in listing {
            let (changed, alive_until) = match before.remove(&key) {
                Some(seen) if seen.touched == touched => (false, seen.alive_until),
                None if self.is_old(touched, today) => (false, None),
                _ => (true, Some(now + self.time_to_live)),
            };
            if alive_until.is_some_and(|until| now < until) {
                alive.push((key.clone(), changed));
            }
            self.entries.insert(
                key,
                Seen {
                    touched,
                    alive_until,
                },
            );
        }
        alive
    }

    /// Whether an entry that nobody has seen change is to be taken for dead.
    pub(super) fn is_old(&self, touched: SystemTime, today: SystemTime) -> bool {
        let age = today.duration_since(touched).unwrap_or_default();
        age > self.time_to_live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn an_entry_lives_while_it_is_touched_whatever_its_clock_says() {
        let mut census = Census::new(TTL);
        let (start, today) = (Instant::now(), SystemTime::now());
        // The writer's clock is an hour late.
        let mut check = |second: u64, touched: u64, expected: &[(&str, bool)]| {
            let touched = today - Duration::from_secs(3600) + Duration::from_secs(touched);
            let passed = Duration::from_secs(second);
            let listing = vec![("a".to_owned(), touched)];
            let alive = census.take(listing, (start + passed, today + passed));
            let alive: Vec<_> = alive
                .iter()
                .map(|(key, changed)| (&**key, *changed))
                .collect();
            assert_eq!(alive, expected, "after {second} s");
        };
        // It looks dead until it is seen to be touched.
        check(0, 0, &[]);
        check(3, 3, &[("a", true)]);
        check(4, 3, &[("a", false)]);
        check(6, 6, &[("a", true)]);
        check(15, 6, &[("a", false)]);
        check(16, 6, &[]);
        check(30, 30, &[("a", true)]);
    }

    #[test]
    fn an_entry_that_is_not_listed_is_gone() {
        let mut census = Census::new(TTL);
        let now = (Instant::now(), SystemTime::now());
        assert_eq!(census.take(vec![("a".to_owned(), now.1)], now).len(), 1);
        assert_eq!(census.take(Vec::new(), now), []);
        assert_eq!(census.take(vec![("a".to_owned(), now.1)], now).len(), 1);
    }
}
