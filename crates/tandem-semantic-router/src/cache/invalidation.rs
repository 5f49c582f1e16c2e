//! Dropping answers, here and in every process that shares a store.

use parking_lot::Mutex;

use super::entry::{Entry, Moment};
use super::key::Key;

/// Most invalidations that are remembered one by one.
const MOST: usize = 1024;

/// Answers to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The one to a request.
    Key(Key),
    /// Those that a model gave.
    Model(String),
    /// Those to requests of a decision.
    Decision(String),
    /// All.
    All,
}

/// Answers that are dropped if they were stored until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalidation {
    pub(super) selector: Selector,
    pub(super) until: Moment,
}

/// What was dropped lately, by this process and others: an answer that is found in a store
/// nevertheless is not served.
#[derive(Debug, Default)]
pub(super) struct Invalidations(Mutex<Vec<Known>>);

#[derive(Debug)]
struct Known {
    invalidation: Invalidation,
    /// Whether the store has been told.
    delivered: bool,
}

impl Selector {
    pub(super) fn selects(&self, entry: &Entry) -> bool {
        match self {
            Self::Key(key) => entry.key == *key,
            Self::Model(model) => entry.model == *model,
            Self::Decision(decision) => entry.decision.as_ref() == Some(decision),
            Self::All => true,
        }
    }
}

impl Invalidation {
    pub(super) fn drops(&self, entry: &Entry) -> bool {
        entry.stored <= self.until && self.selector.selects(entry)
    }

    /// The text by which processes tell each other.
    pub(super) fn write(&self) -> String {
        let until = self.until.0;
        match &self.selector {
            Selector::Key(key) => format!("{until} key {key}"),
            Selector::Model(model) => format!("{until} model {model}"),
            Selector::Decision(decision) => format!("{until} decision {decision}"),
            Selector::All => format!("{until} all"),
        }
    }

    /// Reads what [`Self::write`] writes.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (until, selector) = text.split_once(' ')?;
        let (kind, value) = selector.split_once(' ').unwrap_or((selector, ""));
        let selector = match kind {
            "key" => Selector::Key(Key::parse(value)?),
            "model" => Selector::Model(value.to_owned()),
            "decision" => Selector::Decision(value.to_owned()),
            "all" => Selector::All,
            _ => return None,
        };
        Some(Self {
            selector,
            until: Moment(until.parse().ok()?),
        })
    }
}

impl Invalidations {
    /// One of this process, which the store has yet to be told.
    pub(super) fn begin(&self, invalidation: Invalidation) {
        self.add(invalidation, false);
    }

    /// One that the store has told; whether it is new.
    pub(super) fn learn(&self, invalidation: &Invalidation) -> bool {
        let new = !self.contains(invalidation);
        if new {
            self.add(invalidation.clone(), true);
        }
        new
    }

    /// The store has been told.
    pub(super) fn delivered(&self, invalidation: &Invalidation) {
        let mut known = self.0.lock();
        let same = known
            .iter_mut()
            .filter(|one| one.invalidation == *invalidation);
        same.for_each(|one| one.delivered = true);
    }

    /// Those that the store has yet to be told.
    pub(super) fn undelivered(&self) -> Vec<Invalidation> {
        let known = self.0.lock();
        let waiting = known.iter().filter(|one| !one.delivered);
        waiting.map(|one| one.invalidation.clone()).collect()
    }

    /// Whether an entry must not be served any more.
    pub(super) fn drop_entry(&self, entry: &Entry) -> bool {
        let known = self.0.lock();
        known.iter().any(|one| one.invalidation.drops(entry))
    }

    /// Forgets those of which the store has been told and which are older than `oldest`.
    pub(super) fn forget_before(&self, oldest: Moment) {
        let keep = |one: &Known| !one.delivered || one.invalidation.until >= oldest;
        self.0.lock().retain(keep);
    }

    fn contains(&self, invalidation: &Invalidation) -> bool {
        let known = self.0.lock();
        known.iter().any(|one| one.invalidation == *invalidation)
    }

    /// Too many become one that drops all of theirs, and more.
    fn add(&self, invalidation: Invalidation, delivered: bool) {
        let mut known = self.0.lock();
        known.push(Known {
            invalidation,
            delivered,
        });
        if known.len() > MOST {
            let until = known.iter().map(|one| one.invalidation.until).max();
            let delivered = known.iter().all(|one| one.delivered);
            known.clear();
            known.extend(until.map(|until| Known {
                invalidation: Invalidation {
                    selector: Selector::All,
                    until,
                },
                delivered,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::entry;
    use super::*;

    fn invalidation(selector: Selector, until: u64) -> Invalidation {
        Invalidation {
            selector,
            until: Moment(until),
        }
    }

    #[test]
    fn what_was_stored_until_then_is_dropped() {
        let entry = entry("What is the capital of Peru?");
        let stored = entry.stored.0;
        let check = |selector: Selector, until: u64, want: bool| {
            let one = invalidation(selector, until);
            assert_eq!(one.drops(&entry), want, "{one:?}");
            assert_eq!(Invalidation::read(&one.write()), Some(one));
        };
        check(Selector::All, stored, true);
        check(Selector::All, stored - 1, false);
        check(Selector::Key(entry.key), stored, true);
        check(Selector::Key(Key::of(&[b"x"])), stored, false);
        check(Selector::Model(entry.model.clone()), stored, true);
        check(Selector::Model("an other".to_owned()), stored, false);
        check(
            Selector::Decision(entry.decision.clone().unwrap()),
            stored,
            true,
        );
        check(Selector::Decision(String::new()), stored, false);
        for wrong in ["", "5", "x all", "5 everything", "5 key 12"] {
            assert_eq!(Invalidation::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn one_is_known_until_the_store_knows_it_and_it_is_old() {
        let known = Invalidations::default();
        let one = invalidation(Selector::All, 5);
        known.begin(one.clone());
        assert!(!known.learn(&one));
        known.forget_before(Moment(9));
        assert_eq!(known.undelivered(), std::slice::from_ref(&one));
        known.delivered(&one);
        known.forget_before(Moment(5));
        assert!(known.undelivered().is_empty() && known.contains(&one));
        known.forget_before(Moment(6));
        assert!(!known.contains(&one));
    }

    #[test]
    fn too_many_drop_everything() {
        let known = Invalidations::default();
        let entry = entry("What is the capital of Peru?");
        for until in 0..=MOST as u64 {
            known.learn(&invalidation(Selector::Key(Key::of(&[b"x"])), until));
        }
        assert!(!known.drop_entry(&entry));
        let until = entry.stored.0;
        for model in 0..=MOST {
            known.begin(invalidation(Selector::Model(model.to_string()), until));
        }
        assert!(known.drop_entry(&entry));
        assert!(!known.undelivered().is_empty());
    }
}
