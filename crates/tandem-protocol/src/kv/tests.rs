use super::*;
use proptest::prelude::*;

fn check(tokens: &[u32], block_size: usize, scope: HashScope<'_>, blocks: &[u64]) {
    let expected: Vec<_> = blocks.iter().copied().map(BlockHash).collect();
    assert_eq!(hash_blocks(tokens, block_size, scope), expected);
}

#[test]
fn golden_block_hashes() {
    let none = HashScope::default();
    let lora = HashScope {
        lora: Some("my-lora"),
        cache_salt: None,
    };
    let salt = HashScope {
        lora: None,
        cache_salt: Some("tenant-a"),
    };
    let both = HashScope {
        lora: Some("my-lora"),
        cache_salt: Some("tenant-a"),
    };
    let empty = HashScope {
        lora: Some(""),
        cache_salt: Some(""),
    };
    check(&[1, 2, 3, 4], 4, none, &[14_643_705_804_678_351_452]);
    check(&[1, 2, 3, 4], 4, empty, &[14_643_705_804_678_351_452]);
    check(&[1, 2, 3, 4], 4, lora, &[15_671_544_057_904_749_233]);
    check(&[1, 2, 3, 4], 4, salt, &[5_738_685_477_468_498_325]);
    check(&[1, 2, 3, 4], 4, both, &[6_157_910_915_076_630_503]);
    check(&[1, 2, 3], 4, none, &[]);
}

#[test]
fn golden_sequence_hashes() {
    let tokens: Vec<u32> = (0..32).collect();
    let blocks = hash_blocks(&tokens, 16, HashScope::default());
    assert_eq!(
        blocks,
        [
            BlockHash(15_310_707_395_893_867_146),
            BlockHash(15_292_316_782_987_903_195)
        ]
    );
    assert_eq!(
        hash_sequence(&blocks),
        [
            SequenceHash(15_310_707_395_893_867_146),
            SequenceHash(13_769_157_705_258_532_664)
        ]
    );
}

#[test]
fn events_have_the_captured_json_form() {
    let stored = r#"{"worker_id":7,"event":{"event_id":1,"data":{"stored":{"parent_hash":null,"blocks":[{"block_hash":2,"tokens_hash":3}]}},"dp_rank":0}}"#;
    let removed = r#"{"worker_id":7,"event":{"event_id":2,"data":{"removed":{"block_hashes":[2]}},"dp_rank":0}}"#;
    let cleared = r#"{"worker_id":7,"event":{"event_id":3,"data":"cleared","dp_rank":0}}"#;
    for json in [stored, removed, cleared] {
        let event: RouterEvent = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
    }
}

proptest! {
    #[test]
    fn sequence_hashes_are_prefix_stable(
        tokens in prop::collection::vec(any::<u32>(), 0..200),
        cut in 0_usize..200,
        block_size in 1_usize..20,
    ) {
        let whole = hash_sequence(&hash_blocks(&tokens, block_size, HashScope::default()));
        let prefix = &tokens[..cut.min(tokens.len())];
        let part = hash_sequence(&hash_blocks(prefix, block_size, HashScope::default()));
        prop_assert_eq!(&whole[..part.len()], &part[..]);
    }

    #[test]
    fn a_changed_token_changes_every_later_hash(
        mut tokens in prop::collection::vec(any::<u32>(), 16..200),
        at in any::<prop::sample::Index>(),
    ) {
        let before = hash_sequence(&hash_blocks(&tokens, 8, HashScope::default()));
        let at = at.index(tokens.len());
        tokens[at] = tokens[at].wrapping_add(1);
        let after = hash_sequence(&hash_blocks(&tokens, 8, HashScope::default()));
        for (i, (a, b)) in before.iter().zip(&after).enumerate() {
            prop_assert_eq!(a == b, i < at / 8);
        }
    }
}

#[test]
fn a_tier_is_named_unless_it_is_the_device() {
    let event = KvEvent {
        event_id: 3,
        data: KvEventData::Cleared,
        dp_rank: 0,
    };
    let check = |storage_tier, json: &str| {
        let event = RouterEvent {
            storage_tier,
            ..RouterEvent::new(7, event.clone())
        };
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::from_str::<RouterEvent>(json).unwrap(), event);
    };
    check(
        StorageTier::Device,
        r#"{"worker_id":7,"event":{"event_id":3,"data":"cleared","dp_rank":0}}"#,
    );
    check(
        StorageTier::HostPinned,
        r#"{"worker_id":7,"storage_tier":"host_pinned","event":{"event_id":3,"data":"cleared","dp_rank":0}}"#,
    );
    let explicit =
        r#"{"worker_id":7,"storage_tier":"device","event":{"event_id":3,"data":"cleared"}}"#;
    let decoded: RouterEvent = serde_json::from_str(explicit).unwrap();
    assert_eq!(decoded, RouterEvent::new(7, event));
}
