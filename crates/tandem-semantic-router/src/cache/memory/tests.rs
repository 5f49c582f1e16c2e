use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const START: Moment = Moment(1_000_000);

fn limits(max_bytes: usize) -> CacheLimits {
    CacheLimits {
        max_bytes,
        max_entries: None,
        eviction: Eviction::Lru,
    }
}

fn key(name: &str) -> Key {
    Key::of(&[name.as_bytes()])
}

fn entry(name: &str, size: usize) -> Entry {
    Entry {
        key: key(name),
        question: None,
        answer: Bytes::from(vec![b'x'; size]),
        model: "m".to_owned(),
        decision: None,
        stored: START,
        expires: None,
    }
}

fn asked(name: &str, terms: &[u64]) -> Entry {
    Entry {
        question: Some(Asked {
            rest: key("rest"),
            text: name.to_owned(),
            embedding: Arc::from([1.0_f32].as_slice()),
            terms: terms.to_vec(),
        }),
        ..entry(name, 10)
    }
}

fn has(store: &MemoryStore, name: &str) -> bool {
    store.get(key(name), START).is_some()
}

#[test]
fn the_least_recently_used_goes_first() {
    let size = entry("a", 1000).bytes();
    let store = MemoryStore::new(limits(3 * size));
    for name in ["a", "b", "c"] {
        store.insert(Arc::new(entry(name, 1000)), START);
    }
    assert!(has(&store, "a"));
    store.insert(Arc::new(entry("d", 1000)), START);
    assert!(store.entries.get(key("b")).is_none());
    assert!(has(&store, "a") && has(&store, "c") && has(&store, "d"));
    assert_eq!(store.occupancy().evicted, 1);
}

#[test]
fn first_in_first_out_does_not_look_at_use() {
    let limits = CacheLimits {
        max_entries: Some(2),
        eviction: Eviction::Fifo,
        ..limits(1 << 20)
    };
    let store = MemoryStore::new(limits);
    store.insert(Arc::new(entry("a", 1)), START);
    store.insert(Arc::new(entry("b", 1)), START);
    assert!(has(&store, "a"));
    store.insert(Arc::new(entry("c", 1)), START);
    assert!(!has(&store, "a") && has(&store, "b") && has(&store, "c"));
}

#[test]
fn what_does_not_fit_at_all_is_not_stored() {
    let store = MemoryStore::new(limits(2000));
    assert!(store.insert(Arc::new(entry("small", 10)), START));
    assert!(!store.insert(Arc::new(entry("big", 5000)), START));
    assert!(has(&store, "small"));
}

#[test]
fn time_runs_from_the_storing_whatever_is_used() {
    let store = MemoryStore::new(limits(1 << 20));
    let mut one = entry("a", 10);
    one.expires = Some(Moment(START.0 + 10));
    store.insert(Arc::new(one), START);
    assert!(store.get(key("a"), Moment(START.0 + 9)).is_some());
    assert!(store.get(key("a"), Moment(START.0 + 10)).is_none());
    assert_eq!(store.occupancy().entries, 0);
    assert_eq!(store.occupancy().bytes, 0);
}

#[test]
fn expired_answers_make_room_without_being_asked_for() {
    let store = MemoryStore::new(limits(1 << 20));
    let mut one = entry("a", 10);
    one.expires = Some(Moment(START.0 + 10));
    store.insert(Arc::new(one), START);
    store.insert(Arc::new(entry("b", 10)), Moment(START.0 + 11));
    assert_eq!(store.occupancy().entries, 1);
    assert_eq!(store.occupancy().expired, 1);
}

#[test]
fn candidates_share_the_most_words_first() {
    let store = MemoryStore::new(limits(1 << 20));
    store.insert(Arc::new(asked("one", &[1])), START);
    store.insert(Arc::new(asked("both", &[1, 2])), START);
    store.insert(Arc::new(asked("none", &[3])), START);
    let found = |rest: &str, terms: &[u64]| -> Vec<String> {
        let found = store.candidates(key(rest), terms, START);
        found
            .iter()
            .map(|entry| entry.question.as_ref().unwrap().text.clone())
            .collect()
    };
    assert_eq!(found("rest", &[1, 2]), ["both", "one"]);
    assert_eq!(found("rest", &[4]), [""; 0]);
    assert_eq!(found("another rest", &[1, 2]), [""; 0]);
    store.remove(&Selector::Key(key("both")), Moment::MAX);
    assert_eq!(found("rest", &[1, 2]), ["one"]);
    store.remove(&Selector::All, Moment::MAX);
    assert!(store.state.lock().postings.is_empty());
}

#[test]
fn selected_answers_are_dropped() {
    let store = MemoryStore::new(limits(1 << 20));
    let of = |name: &str, model: &str, decision: Option<&str>| Entry {
        model: model.to_owned(),
        decision: decision.map(str::to_owned),
        ..entry(name, 1)
    };
    for one in [
        of("a", "m", Some("d")),
        of("b", "m", None),
        of("c", "n", Some("d")),
    ] {
        store.insert(Arc::new(one), START);
    }
    assert_eq!(
        store.remove(&Selector::Decision("other".to_owned()), Moment::MAX),
        0
    );
    assert_eq!(
        store.remove(&Selector::Model("n".to_owned()), Moment::MAX),
        1
    );
    assert_eq!(
        store.remove(&Selector::Decision("d".to_owned()), Moment::MAX),
        1
    );
    assert!(has(&store, "b"));
}

proptest! {
    #[test]
    fn the_budget_is_never_exceeded(
        budget in 0_usize..20_000,
        steps in prop::collection::vec((0_u8..12, 0_usize..6_000, 0_u8..6), 1..80),
    ) {
        let store = MemoryStore::new(limits(budget));
        for (at, (name, size, action)) in steps.into_iter().enumerate() {
            let now = Moment(START.0 + at as u64);
            let name = name.to_string();
            match action {
                0 => drop(store.get(key(&name), now)),
                1 => drop(store.remove(&Selector::Key(key(&name)), Moment::MAX)),
                2 => drop(store.candidates(key("rest"), &[size as u64 % 5], now)),
                _ => {
                    let mut one = asked(&name, &[size as u64 % 5, size as u64 % 7]);
                    one.answer = Bytes::from(vec![0; size]);
                    one.expires = (action == 3).then_some(Moment(now.0 + 5));
                    store.insert(Arc::new(one), now);
                }
            }
            let state = store.state.lock();
            let all = store.entries.all();
            let held: usize = all.iter().map(|held| held.entry.bytes()).sum();
            prop_assert!(held <= budget, "{held} of {budget}");
            prop_assert_eq!(held, state.occupancy.bytes);
            prop_assert_eq!(all.len(), state.occupancy.entries);
            prop_assert_eq!(all.len(), state.order.len());
            let posted: usize = state.postings.values().map(BTreeMap::len).sum();
            let terms: usize = all.iter().map(|held| {
                let mut places = places(&held.entry);
                places.sort_unstable();
                places.dedup();
                places.len()
            }).sum();
            prop_assert_eq!(posted, terms);
        }
    }

    #[test]
    fn what_stays_is_what_was_used_last(
        room in 1_usize..6,
        steps in prop::collection::vec((0_u8..10, any::<bool>()), 1..120),
    ) {
        let store = MemoryStore::new(CacheLimits {
            max_entries: Some(room),
            ..limits(1 << 20)
        });
        let mut newest_last: Vec<String> = Vec::new();
        for (name, stores) in steps {
            let name = name.to_string();
            let known = newest_last.contains(&name);
            if stores {
                store.insert(Arc::new(entry(&name, 1)), START);
            } else {
                prop_assert_eq!(has(&store, &name), known);
            }
            if stores || known {
                newest_last.retain(|other| *other != name);
                newest_last.push(name);
            }
            let excess = newest_last.len().saturating_sub(room);
            newest_last.drain(..excess);
            let mut held: Vec<Key> = store.entries.all().iter().map(|held| held.entry.key).collect();
            let mut expected: Vec<Key> = newest_last.iter().map(|name| key(name)).collect();
            held.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(held, expected);
        }
    }
}
