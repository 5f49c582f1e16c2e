use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use tandem_protocol::kv::{KvEvent, StoredBlocks};

fn event(worker_id: u64, data: KvEventData) -> RouterEvent {
    RouterEvent {
        worker_id,
        event: KvEvent {
            event_id: 0,
            data,
            dp_rank: 0,
        },
    }
}

fn blocks(pairs: &[(u64, u64)]) -> Vec<StoredBlock> {
    let block = |&(engine, tokens): &(u64, u64)| StoredBlock {
        block_hash: SequenceHash(engine),
        tokens_hash: BlockHash(tokens),
    };
    pairs.iter().map(block).collect()
}

fn stored(worker: u64, parent: Option<u64>, pairs: &[(u64, u64)]) -> RouterEvent {
    let data = KvEventData::Stored(StoredBlocks {
        parent_hash: parent.map(SequenceHash),
        blocks: blocks(pairs),
    });
    event(worker, data)
}

fn removed(worker: u64, engine: &[u64]) -> RouterEvent {
    let block_hashes = engine.iter().copied().map(SequenceHash).collect();
    event(worker, KvEventData::Removed { block_hashes })
}

fn check(index: &RadixIndex, prompt: &[u64], expected: &[(u64, u32)]) {
    let prompt: Vec<_> = prompt.iter().copied().map(BlockHash).collect();
    let expected = expected.iter().map(|&(id, depth)| (Worker::new(id), depth));
    assert_eq!(index.find_matches(&prompt), expected.collect());
}

#[test]
fn forks_extensions_and_partial_matches() {
    let mut index = RadixIndex::default();
    index
        .apply(&stored(1, None, &[(11, 1), (12, 2), (13, 3)]))
        .unwrap();
    index.apply(&stored(2, None, &[(21, 1), (22, 2)])).unwrap();
    index
        .apply(&stored(2, Some(22), &[(24, 4), (25, 5)]))
        .unwrap();
    index.apply(&stored(1, Some(13), &[(16, 6)])).unwrap();
    check(&index, &[1, 2, 3, 6, 7], &[(1, 4), (2, 2)]);
    check(&index, &[1, 2, 4, 5], &[(1, 2), (2, 4)]);
    check(&index, &[1, 9], &[(1, 1), (2, 1)]);
    check(&index, &[9], &[]);
    check(&index, &[], &[]);
    assert_eq!(index.len(), 8);
}

#[test]
fn blocks_after_a_hole_are_not_credited_until_it_is_filled() {
    let mut index = RadixIndex::default();
    index
        .apply(&stored(1, None, &[(11, 1), (12, 2), (13, 3)]))
        .unwrap();
    index
        .apply(&stored(2, None, &[(21, 1), (22, 2), (23, 3)]))
        .unwrap();
    index.apply(&removed(1, &[12])).unwrap();
    check(&index, &[1, 2, 3], &[(1, 1), (2, 3)]);
    index.apply(&stored(1, Some(11), &[(14, 2)])).unwrap();
    check(&index, &[1, 2, 3], &[(1, 3), (2, 3)]);
}

#[test]
fn an_unknown_parent_is_rejected_and_counted() {
    let mut index = RadixIndex::default();
    let result = index.apply(&stored(1, Some(9), &[(11, 1)]));
    let error = ApplyError::UnknownParent {
        worker: Worker::new(1),
        parent: SequenceHash(9),
    };
    assert_eq!(result, Err(error));
    index.apply(&removed(1, &[4, 5])).unwrap();
    let counts = index.counts();
    assert_eq!((counts.unknown_parent, counts.unknown_blocks), (1, 2));
    assert!(index.is_empty());
}

#[test]
fn the_cap_stops_a_worker_that_reports_more_than_it_can_hold() {
    let mut index = RadixIndex::new(2);
    index
        .apply(&stored(1, None, &[(11, 1), (12, 2), (13, 3)]))
        .unwrap();
    check(&index, &[1, 2, 3], &[(1, 2)]);
    index.apply(&stored(1, None, &[(11, 1), (12, 2)])).unwrap();
    assert_eq!(index.counts().over_cap, 1);
    assert_eq!(index.blocks(Worker::new(1)), 2);
}

#[test]
fn ranks_are_separate_and_leave_together() {
    let mut index = RadixIndex::default();
    let rank = |dp_rank| Worker {
        worker_id: 1,
        dp_rank,
    };
    index.store(rank(0), None, &blocks(&[(11, 1)])).unwrap();
    index
        .store(rank(1), None, &blocks(&[(12, 1), (13, 2)]))
        .unwrap();
    index
        .store(Worker::new(2), None, &blocks(&[(14, 1)]))
        .unwrap();
    let overlaps = index.find_matches(&[BlockHash(1), BlockHash(2)]);
    assert_eq!((overlaps.get(rank(0)), overlaps.get(rank(1))), (1, 2));
    index.remove_worker(1);
    check(&index, &[1, 2], &[(2, 1)]);
}

#[test]
fn sweeping_drops_only_what_no_match_can_reach() {
    let mut index = RadixIndex::default();
    index
        .apply(&stored(1, None, &[(11, 1), (12, 2), (13, 3), (14, 4)]))
        .unwrap();
    index.apply(&stored(1, Some(13), &[(15, 5)])).unwrap();
    index.apply(&stored(2, None, &[(21, 1), (22, 2)])).unwrap();
    index.apply(&removed(1, &[11, 13])).unwrap();
    index.sweep();
    check(&index, &[1, 2, 3, 4], &[(2, 2)]);
    assert_eq!(index.blocks(Worker::new(1)), 1);
    assert_eq!(index.tree.positions(), 2);
}

#[test]
fn gaps_do_not_accumulate() {
    let mut index = RadixIndex::default();
    for chain in 0..400_u64 {
        let base = chain * 1000;
        let path: Vec<_> = (0..100).map(|i| (base + i, base + i)).collect();
        index.apply(&stored(1, None, &path)).unwrap();
        let all_but_last: Vec<_> = (0..99).map(|i| base + i).collect();
        index.apply(&removed(1, &all_but_last)).unwrap();
    }
    assert!(index.tree.positions() <= 2 * index.len() + SWEEP_SLACK);
}

/// The obvious implementation: per worker, every engine hash with the whole path it names.
#[derive(Default)]
struct Naive(HashMap<u64, HashMap<u64, Vec<u64>>>);

impl Naive {
    fn apply(&mut self, event: &RouterEvent) -> bool {
        let held = self.0.entry(event.worker_id).or_default();
        match &event.event.data {
            KvEventData::Stored(stored) => {
                let mut path = match stored.parent_hash {
                    None => Vec::new(),
                    Some(parent) => match held.get(&parent.0) {
                        None => return false,
                        Some(path) => path.clone(),
                    },
                };
                for block in &stored.blocks {
                    path.push(block.tokens_hash.0);
                    held.insert(block.block_hash.0, path.clone());
                }
            }
            KvEventData::Removed { block_hashes } => {
                for hash in block_hashes {
                    held.remove(&hash.0);
                }
            }
            KvEventData::Cleared => held.clear(),
        }
        true
    }

    fn find(&self, prompt: &[u64]) -> Overlaps {
        let depth = |held: &HashMap<u64, Vec<u64>>| {
            let paths: HashSet<&[u64]> = held.values().map(Vec::as_slice).collect();
            let lengths = 1..=prompt.len();
            lengths
                .take_while(|&n| paths.contains(&prompt[..n]))
                .count()
        };
        let depths = self
            .0
            .iter()
            .map(|(&id, held)| (Worker::new(id), index32(depth(held))));
        depths.collect()
    }
}

fn any_event() -> impl Strategy<Value = RouterEvent> {
    // Few engine hashes and few tokens, so that parents exist, paths are shared and hashes recur.
    let engine = 0..24_u64;
    let path = prop::collection::vec((engine.clone(), 0..3_u64), 1..6);
    let data = prop_oneof![
        6 => (prop::option::of(engine.clone()), path).prop_map(|(parent, pairs)| {
            KvEventData::Stored(StoredBlocks {
                parent_hash: parent.map(SequenceHash),
                blocks: blocks(&pairs),
            })
        }),
        4 => prop::collection::vec(engine.prop_map(SequenceHash), 1..4)
            .prop_map(|block_hashes| KvEventData::Removed { block_hashes }),
        1 => Just(KvEventData::Cleared),
    ];
    (0..4_u64, data).prop_map(|(worker, data)| event(worker, data))
}

proptest! {
    #[test]
    fn index_equals_naive_map(
        events in prop::collection::vec(any_event(), 1..120),
        prompts in prop::collection::vec(prop::collection::vec(0..3_u64, 0..10), 1..20),
        leaving in prop::option::of(0..4_u64),
    ) {
        let (mut index, mut naive) = (RadixIndex::default(), Naive::default());
        for event in &events {
            prop_assert_eq!(index.apply(event).is_ok(), naive.apply(event));
        }
        if let Some(worker) = leaving {
            index.remove_worker(worker);
            naive.0.remove(&worker);
        }
        prop_assert_eq!(index.len(), naive.0.values().map(HashMap::len).sum::<usize>());
        for prompt in &prompts {
            let hashes: Vec<_> = prompt.iter().copied().map(BlockHash).collect();
            prop_assert_eq!(index.find_matches(&hashes), naive.find(prompt));
        }
        for worker in 0..4 {
            index.remove_worker(worker);
        }
        prop_assert_eq!((index.len(), index.tree.positions()), (0, 0));
        prop_assert!(index.aliases.is_empty());
    }

    #[test]
    fn sweeping_never_changes_a_match(
        events in prop::collection::vec(any_event(), 1..80),
        prompt in prop::collection::vec(0..3_u64, 0..10),
    ) {
        let mut index = RadixIndex::default();
        for event in &events {
            let _rejected = index.apply(event);
        }
        let prompt: Vec<_> = prompt.into_iter().map(BlockHash).collect();
        let before = index.find_matches(&prompt);
        index.sweep();
        prop_assert_eq!(index.find_matches(&prompt), before);
        prop_assert!(index.tree.positions() <= index.len());
    }
}

#[test]
fn memory_per_block_is_bounded() {
    let check = |depth: u64, most: usize| {
        let mut index = RadixIndex::default();
        for chain in 0..100_000 / depth {
            let path = (0..depth).map(|i| (chain * depth + i) * 7 + 1);
            let path: Vec<_> = path.map(|hash| (hash, hash)).collect();
            index.apply(&stored(chain % 4, None, &path)).unwrap();
        }
        let bytes = index.heap_bytes() / index.len();
        assert!(
            bytes <= most,
            "{bytes} bytes per block in chains of {depth}"
        );
    };
    check(1, 300);
    check(23, 80);
    check(1000, 64);
}
