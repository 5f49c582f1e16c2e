use proptest::prelude::*;
use serde_json::json;

use super::*;

fn of(body: &serde_json::Value) -> Vec<PromptPrefixes> {
    PromptPrefixes::of(&JsonObject::parse(body.to_string().as_bytes()).unwrap())
}

fn chat(messages: &serde_json::Value) -> PromptPrefixes {
    let mut prompts = of(&json!({ "model": "m", "messages": messages }));
    assert_eq!(prompts.len(), 1);
    prompts.remove(0)
}

fn filter(hashes: impl ExactSizeIterator<Item = u64>) -> PrefixFilter {
    PrefixFilter::new(hashes.map(PrefixHash))
}

#[test]
fn hashes_and_filters_have_the_documented_form() {
    let prefixes = PromptPrefixes::of_text(&"a".repeat(2 * CHUNK + 1));
    assert_eq!(prefixes.bytes, 1025);
    let first = xxh3_64_with_seed(&[b'a'; CHUNK], 0);
    let second = xxh3_64_with_seed(&[b'a'; CHUNK], first);
    assert_eq!(prefixes.hashes, [PrefixHash(first), PrefixHash(second)]);
    let filter = filter([1, 2 << 32].into_iter());
    let text = serde_json::to_string(&filter).unwrap();
    // 1 sets bits 1 to 8; the other has no lower half and the step 3: bits 0, 3, 6 and so on to 21.
    let bytes = format!("{}{}==", "/5MkAAAA", "A".repeat(78));
    assert_eq!(text, format!("{bytes:?}"));
    assert_eq!(serde_json::from_str::<PrefixFilter>(&text).unwrap(), filter);
}

#[test]
fn only_what_the_model_reads_counts() {
    let long = "The old baker repaired the wooden door. ".repeat(40);
    let plain = chat(&json!([{ "role": "user", "content": long }]));
    assert_eq!(plain.hashes.len(), 3);
    let more = json!([{ "role": "user", "content": long, "name": "x" },
        { "role": "assistant", "content": "Yes." }]);
    assert_eq!(chat(&more).hashes[..3], plain.hashes[..]);
    let check = |other: serde_json::Value| {
        let other = of(&other).remove(0);
        assert_ne!(other.hashes[0], plain.hashes[0]);
    };
    check(json!({ "messages": [{ "role": "system", "content": long }] }));
    let user = json!([{ "role": "user", "content": long }]);
    check(json!({ "messages": user, "tools": [{ "type": "function" }] }));
    check(json!({ "prompt": long }));
    // Text that moves from one message to the next is another prompt.
    let split = |at: usize| {
        let (one, other) = long.split_at(at);
        chat(&json!([{ "role": "user", "content": one }, { "role": "user", "content": other }]))
    };
    assert_ne!(split(100).hashes[0], split(101).hashes[0]);
}

#[test]
fn a_body_may_have_several_prompts_or_none() {
    let check = |body: serde_json::Value, bytes: &[usize]| {
        let found: Vec<usize> = of(&body).iter().map(|prompt| prompt.bytes).collect();
        assert_eq!(found, bytes, "{body}");
    };
    check(json!({ "prompt": "abc" }), &[3]);
    check(json!({ "prompt": ["abc", "\n"] }), &[3, 1]);
    check(json!({ "prompt": [1, 2] }), &[]);
    check(json!({}), &[]);
    check(json!({ "messages": 1 }), &[]);
    check(
        json!({ "messages": [{ "role": "user", "content": 1 }] }),
        &[],
    );
    // A role, a content, and what ends them.
    check(
        json!({ "messages": [{ "role": "user", "content": "abc" }] }),
        &[9],
    );
    check(
        json!({ "messages": [{ "role": "assistant", "content": null }] }),
        &[11],
    );
}

#[test]
fn filters_are_small_and_rarely_wrong() {
    let hash = |i: u64| xxh3_64_with_seed(&i.to_le_bytes(), 7);
    for count in [1, 100, MAX_PREFIXES as u64] {
        let full = filter((0..count).map(hash).collect::<Vec<_>>().into_iter());
        assert!((0..count).all(|i| full.holds(PrefixHash(hash(i)))));
        let strangers = 100_000;
        let wrong = (count..count + strangers).filter(|i| full.holds(PrefixHash(hash(*i))));
        let wrong = wrong.count();
        assert!(wrong < 1000, "{wrong} of {strangers} beside {count}");
        assert!(String::from(full).len() <= 32 * 1024);
    }
    assert!(!PrefixFilter::default().holds(PrefixHash(0)));
    assert_eq!(
        PrefixFilter::try_from("?".to_owned()),
        Err(UndecodableFilter)
    );
    let large = "A".repeat(32 * 1024 + 4);
    assert_eq!(PrefixFilter::try_from(large), Err(UndecodableFilter));
}

proptest! {
    /// What follows, and how a content is cut into parts, does not change a beginning.
    #[test]
    fn equal_beginnings_are_found(
        beginning in ".{0,1500}",
        after in ".{0,700}",
        other in ".{0,700}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let served = format!("{beginning}{after}");
        let asked = format!("{beginning}{other}");
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(asked.len() + 1)).collect();
        at.retain(|at| asked.is_char_boundary(*at));
        at.sort_unstable();
        let ends = at.iter().copied().chain([asked.len()]);
        let parts = ends.scan(0, |start, end| {
            let part = &asked[*start..end];
            *start = end;
            Some(json!({ "type": "text", "text": part }))
        });
        let parts: Vec<_> = parts.collect();
        let whole = chat(&json!([{ "role": "user", "content": asked }]));
        let cut = chat(&json!([{ "role": "user", "content": parts }]));
        prop_assert_eq!(&whole, &cut);
        let served = chat(&json!([{ "role": "user", "content": served }]));
        let filter = PrefixFilter::new(served.hashes.iter().copied());
        let shared = "user".len() + 1 + beginning.len();
        prop_assert!(cut.overlap(&filter) >= shared / CHUNK * CHUNK);
    }
}
