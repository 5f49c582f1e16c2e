use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

const BLOCK: usize = 2;
const DEVICE: Place = Place {
    tier: StorageTier::Device,
    group: 0,
};

/// Blocks of a sequence with the tokens `0, 1, 2, …`, from `hashes`.
fn stored(parent: Option<u64>, hashes: &[u64], first_token: u32) -> Stored {
    let count = u32::try_from(hashes.len() * BLOCK).unwrap();
    Stored {
        hashes: hashes.to_vec(),
        parent,
        tokens: (first_token..first_token + count).collect(),
        block_size: BLOCK,
        place: DEVICE,
        lora: None,
        keys: vec![BlockKey::None; hashes.len()],
        full_attention: true,
    }
}

fn removed(hashes: &[u64]) -> Change {
    Change::Removed {
        hashes: hashes.to_vec(),
        place: DEVICE,
    }
}

/// The events that `changes` cause on rank 0.
async fn told(mirror: &BlockMirror, changes: Vec<Change>) -> Vec<KvEventData> {
    let mut events = mirror.subscribe();
    events.take_snapshot();
    mirror.apply(0, changes);
    let mut told = Vec::new();
    while let Ok(event) = tokio::time::timeout(std::time::Duration::ZERO, events.next()).await {
        told.push(event.unwrap().unwrap().event.data);
    }
    told
}

fn hashes_of(events: &[KvEventData]) -> Vec<u64> {
    let mut hashes = Vec::new();
    for event in events {
        if let KvEventData::Stored(run) = event {
            hashes.extend(run.blocks.iter().map(|block| block.block_hash.0));
        }
    }
    hashes
}

#[tokio::test]
async fn a_router_can_compute_the_hashes() {
    let mirror = BlockMirror::new(1, BLOCK);
    let events = told(&mirror, vec![Change::Stored(stored(None, &[7, 8], 0))]).await;
    let [KvEventData::Stored(run)] = &*events else {
        panic!("{events:?}");
    };
    assert_eq!(run.parent_hash, None);
    let local: Vec<BlockHash> = run.blocks.iter().map(|block| block.tokens_hash).collect();
    assert_eq!(
        local,
        hash_blocks(&[0, 1, 2, 3], BLOCK, HashScope::default())
    );

    let mut salted = stored(None, &[17, 18], 0);
    salted.keys[0] = BlockKey::Salt("tenant".to_owned());
    salted.lora = Some("adapter".to_owned());
    // A later event of the same sequence says neither.
    let rest = stored(Some(18), &[19], 4);
    let events = told(&mirror, vec![Change::Stored(salted), Change::Stored(rest)]).await;
    let local: Vec<BlockHash> = events
        .iter()
        .flat_map(|event| match event {
            KvEventData::Stored(run) => run.blocks.clone(),
            other => panic!("{other:?}"),
        })
        .map(|block| block.tokens_hash)
        .collect();
    let scope = HashScope {
        lora: Some("adapter"),
        cache_salt: Some("tenant"),
    };
    assert_eq!(local, hash_blocks(&[0, 1, 2, 3, 4, 5], BLOCK, scope));
}

#[tokio::test]
async fn a_block_is_there_until_its_last_copy_is_gone() {
    let mirror = BlockMirror::new(1, BLOCK);
    let once = || Change::Stored(stored(None, &[7, 8], 0));
    assert_eq!(hashes_of(&told(&mirror, vec![once()]).await), [7, 8]);
    // An aligned prompt that comes again stores its last block a second time.
    let again = Change::Stored(stored(Some(7), &[8], 2));
    assert_eq!(told(&mirror, vec![again]).await, []);
    assert_eq!(told(&mirror, vec![removed(&[8])]).await, []);
    let gone = KvEventData::Removed {
        block_hashes: vec![SequenceHash(8)],
    };
    assert_eq!(told(&mirror, vec![removed(&[8])]).await, [gone]);
    assert_eq!(told(&mirror, vec![removed(&[8])]).await, []);
    assert_eq!(mirror.cached(0), 1);
}

#[tokio::test]
async fn copies_count_by_group_and_tier() {
    let mirror = BlockMirror::new(1, BLOCK);
    let in_place = |tier, group| {
        Change::Stored(Stored {
            place: Place { tier, group },
            ..stored(None, &[7], 0)
        })
    };
    assert_eq!(
        hashes_of(&told(&mirror, vec![in_place(StorageTier::Device, 0)]).await),
        [7]
    );
    assert_eq!(
        told(&mirror, vec![in_place(StorageTier::Device, 1)]).await,
        []
    );
    // What the host has does not keep it on the device.
    let in_host = told(&mirror, vec![in_place(StorageTier::HostPinned, 0)]).await;
    assert_eq!(hashes_of(&in_host), [7]);
    assert_eq!(told(&mirror, vec![removed(&[7])]).await, []);
    let other_group = Change::Removed {
        hashes: vec![7],
        place: Place { group: 1, ..DEVICE },
    };
    assert_eq!(told(&mirror, vec![other_group]).await.len(), 1);
    let window = Change::Stored(Stored {
        full_attention: false,
        ..stored(None, &[9], 0)
    });
    assert_eq!(told(&mirror, vec![window]).await, []);
}

#[tokio::test]
async fn slower_tiers_follow_faster_ones() {
    let mirror = BlockMirror::new(1, BLOCK);
    let on_host = Stored {
        place: Place {
            tier: StorageTier::HostPinned,
            group: 0,
        },
        ..stored(Some(7), &[8, 9], 2)
    };
    let changes = vec![
        Change::Stored(stored(None, &[7], 0)),
        Change::Stored(on_host),
    ];
    mirror.apply(0, changes);
    assert_eq!(mirror.cached(0), 1);
    let snapshot = mirror.subscribe().take_snapshot();
    let tiers: Vec<StorageTier> = snapshot.iter().map(|change| change.storage_tier).collect();
    let expected = [
        StorageTier::Device,
        StorageTier::Device,
        StorageTier::HostPinned,
    ];
    assert_eq!(tiers, expected);
    let KvEventData::Stored(run) = &snapshot[2].event.data else {
        panic!("{snapshot:?}");
    };
    assert_eq!(
        (run.parent_hash, run.blocks.len()),
        (Some(SequenceHash(7)), 2)
    );
}

#[tokio::test]
async fn a_cache_is_cleared_once() {
    let mirror = BlockMirror::new(2, BLOCK);
    mirror.apply(1, vec![Change::Stored(stored(None, &[1], 0))]);
    assert_eq!(told(&mirror, vec![Change::Cleared]).await, []);
    mirror.apply(0, vec![Change::Stored(stored(None, &[1], 0))]);
    let cleared = told(&mirror, vec![Change::Cleared, Change::Cleared]).await;
    assert_eq!(cleared, [KvEventData::Cleared]);
    assert_eq!(
        (mirror.cached(0), mirror.cached(1)),
        (0, 1),
        "ranks are apart"
    );
}

#[tokio::test]
async fn what_a_router_cannot_find_is_not_told() {
    let mirror = BlockMirror::new(1, BLOCK);
    let orphan = Change::Stored(stored(Some(99), &[7], 0));
    assert_eq!(told(&mirror, vec![orphan]).await, []);
    let mut picture = stored(None, &[1, 2, 3], 0);
    picture.keys[1] = BlockKey::Opaque;
    assert_eq!(
        hashes_of(&told(&mirror, vec![Change::Stored(picture)]).await),
        [1]
    );
    let other_size = Stored {
        block_size: 4,
        ..stored(None, &[5], 0)
    };
    assert_eq!(told(&mirror, vec![Change::Stored(other_size)]).await, []);
    mirror.apply(
        5,
        vec![Change::Stored(stored(None, &[1], 0)), Change::Cleared],
    );
}

#[tokio::test]
async fn a_snapshot_has_parents_before_children_and_no_orphans() {
    let mirror = BlockMirror::new(1, BLOCK);
    mirror.apply(
        0,
        vec![
            Change::Stored(stored(None, &[1, 2, 3], 0)),
            Change::Stored(stored(Some(2), &[4, 5], 9)),
            Change::Stored(stored(None, &[6, 7], 20)),
            removed(&[6]),
        ],
    );
    let snapshot = mirror.subscribe().take_snapshot();
    assert!(snapshot.iter().all(|change| change.event.event_id == 4));
    let mut known = HashSet::new();
    for event in &snapshot[1..] {
        let KvEventData::Stored(run) = &event.event.data else {
            panic!("{event:?}");
        };
        assert!(
            run.parent_hash
                .is_none_or(|parent| known.contains(&parent.0))
        );
        known.extend(run.blocks.iter().map(|block| block.block_hash.0));
    }
    assert_eq!(snapshot[0].event.data, KvEventData::Cleared);
    assert_eq!(known, HashSet::from([1, 2, 3, 4, 5]));
}

proptest! {
    /// Whatever comes, subscribers know those blocks of which more copies came than went.
    #[test]
    fn subscribers_know_what_is_there(
        steps in prop::collection::vec((0_u8..8, 1_u64..6), 1..200),
    ) {
        let mirror = BlockMirror::new(1, BLOCK);
        let mut events = mirror.subscribe();
        events.take_snapshot();
        let mut copies: HashMap<u64, u32> = HashMap::new();
        for (kind, hash) in steps {
            let change = match kind {
                0..4 => {
                    *copies.entry(hash).or_default() += 1;
                    Change::Stored(stored(None, &[hash], 0))
                }
                4..7 => {
                    let left = copies.entry(hash).or_default();
                    *left = left.saturating_sub(1);
                    removed(&[hash])
                }
                _ => {
                    copies.clear();
                    Change::Cleared
                }
            };
            mirror.apply(0, vec![change]);
        }
        let expected: HashSet<u64> = copies
            .into_iter()
            .filter_map(|(hash, copies)| (copies > 0).then_some(hash))
            .collect();
        let mut known = HashSet::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        drop(mirror);
        let mut last = 0;
        while let Some(event) = runtime.block_on(events.next()) {
            let event = event.unwrap().event;
            prop_assert_eq!(event.event_id, last + 1);
            last = event.event_id;
            match event.data {
                KvEventData::Stored(run) => {
                    for block in run.blocks {
                        prop_assert!(known.insert(block.block_hash.0), "stored twice");
                    }
                }
                KvEventData::Removed { block_hashes } => {
                    for hash in block_hashes {
                        prop_assert!(known.remove(&hash.0), "removed twice");
                    }
                }
                KvEventData::Cleared => known.clear(),
            }
        }
        prop_assert_eq!(known, expected);
    }
}
