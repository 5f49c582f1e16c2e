use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::index::Overlap;
use tandem_protocol::kv::{KvEvent, StorageTier, StoredBlocks};

fn event(worker_id: u64, data: KvEventData) -> RouterEvent {
    let event = KvEvent {
        event_id: 0,
        data,
        dp_rank: 0,
    };
    RouterEvent::new(worker_id, event)
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
    let expected = expected
        .iter()
        .map(|&(id, depth)| (Worker::new(id), Overlap::on_device(depth)));
    assert_eq!(index.find_matches(&prompt), expected.collect());
}

#[test]
fn forks_extensions_and_partial_matches() {
    let index = RadixIndex::default();
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
    let index = RadixIndex::default();
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
    let index = RadixIndex::default();
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
fn a_worker_that_never_removes_loses_what_is_oldest() {
    let index = RadixIndex::new(64);
    let system: Vec<_> = (0..8).map(|i| (i, i)).collect();
    index.apply(&stored(1, None, &system)).unwrap();
    let tail = |chat: u64| (0..8).map(move |i| (chat * 100 + i, chat * 100 + i));
    for chat in 1..100 {
        let tail: Vec<_> = tail(chat).collect();
        index.apply(&stored(1, Some(7), &tail)).unwrap();
        assert!(index.blocks(Worker::new(1)) <= 64);
    }
    let prompt = |chat| (0..8).chain(tail(chat).map(|block| block.1));
    // What all of them begin with was stored first, but is in use.
    check(&index, &prompt(99).collect::<Vec<_>>(), &[(1, 16)]);
    check(&index, &prompt(98).collect::<Vec<_>>(), &[(1, 16)]);
    check(&index, &prompt(1).collect::<Vec<_>>(), &[(1, 8)]);
    assert!(index.counts().over_cap > 0);
    assert_eq!(index.len(), index.blocks(Worker::new(1)));
}

#[test]
fn an_event_beyond_the_cap_keeps_its_start() {
    let index = RadixIndex::new(16);
    let path: Vec<_> = (0..100).map(|i| (i, i)).collect();
    index.apply(&stored(1, None, &path)).unwrap();
    check(&index, &(0..100).collect::<Vec<_>>(), &[(1, 14)]);
    assert_eq!((index.len(), index.tree.positions()), (14, 14));
}

#[test]
fn blocks_count_where_they_are() {
    let index = RadixIndex::default();
    let on = |storage_tier, event: RouterEvent| RouterEvent {
        storage_tier,
        ..event
    };
    let overlap = |prompt: &[u64]| {
        let prompt: Vec<_> = prompt.iter().copied().map(BlockHash).collect();
        let Overlap { device, host, disk } = index.find_matches(&prompt).get(Worker::new(1));
        (device, host, disk)
    };
    let path = [(11, 1), (12, 2), (13, 3)];
    index.apply(&stored(1, None, &path)).unwrap();
    let host = on(StorageTier::HostPinned, stored(1, Some(11), &path[1..]));
    index.apply(&host).unwrap();
    let disk = on(StorageTier::Disk, stored(1, Some(13), &[(14, 4)]));
    index.apply(&disk).unwrap();
    let elsewhere = on(StorageTier::External, stored(1, Some(14), &[(15, 5)]));
    index.apply(&elsewhere).unwrap();
    assert_eq!(overlap(&[1, 2, 3, 4, 5]), (3, 0, 1));
    index.apply(&removed(1, &[13, 12])).unwrap();
    assert_eq!(overlap(&[1, 2, 3, 4, 5]), (1, 2, 1));
    let gone = on(StorageTier::HostPinned, removed(1, &[13]));
    index.apply(&gone).unwrap();
    assert_eq!(overlap(&[1, 2, 3, 4, 5]), (1, 1, 0));
    index.clear(Worker::new(1));
    assert_eq!((index.len(), index.tree.positions()), (0, 0));
}

#[test]
fn ranks_are_separate_and_leave_together() {
    let index = RadixIndex::default();
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
    assert_eq!(overlaps.get(rank(0)).blocks(), 1);
    assert_eq!(overlaps.get(rank(1)).blocks(), 2);
    index.remove_worker(1);
    check(&index, &[1, 2], &[(2, 1)]);
}

#[test]
fn sweeping_drops_only_what_no_match_can_reach() {
    let index = RadixIndex::default();
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
    let index = RadixIndex::default();
    for chain in 0..400_u64 {
        let base = chain * 1000;
        let path: Vec<_> = (0..100).map(|i| (base + i, base + i)).collect();
        index.apply(&stored(1, None, &path)).unwrap();
        let all_but_last: Vec<_> = (0..99).map(|i| base + i).collect();
        index.apply(&removed(1, &all_but_last)).unwrap();
    }
    assert!(index.tree.positions() <= 2 * index.len() + SWEEP_SLACK);
}

/// The obvious implementation: per worker and tier, every engine hash with the whole path it names.
#[derive(Default)]
struct Naive(HashMap<u64, [HashMap<u64, Vec<u64>>; 3]>);

impl Naive {
    fn apply(&mut self, event: &RouterEvent) -> bool {
        let tiers = self.0.entry(event.worker_id).or_default();
        let tier = Tier::of(event.storage_tier).unwrap() as usize;
        match &event.event.data {
            KvEventData::Stored(stored) => {
                let mut order = [tier, 0, 1, 2].into_iter();
                let mut path = match stored.parent_hash {
                    None => Vec::new(),
                    Some(parent) => match order.find_map(|tier| tiers[tier].get(&parent.0)) {
                        None => return false,
                        Some(path) => path.clone(),
                    },
                };
                for block in &stored.blocks {
                    path.push(block.tokens_hash.0);
                    tiers[tier].insert(block.block_hash.0, path.clone());
                }
            }
            KvEventData::Removed { block_hashes } => {
                for hash in block_hashes {
                    tiers[tier].remove(&hash.0);
                }
            }
            KvEventData::Cleared => *tiers = Default::default(),
        }
        true
    }

    fn len(&self) -> usize {
        self.0.values().flatten().map(HashMap::len).sum()
    }

    fn find(&self, prompt: &[u64]) -> Overlaps {
        let overlap = |tiers: &[HashMap<u64, Vec<u64>>; 3]| {
            let paths = tiers.each_ref().map(|held| {
                let paths = held.values().map(Vec::as_slice);
                paths.collect::<HashSet<&[u64]>>()
            });
            let mut overlap = Overlap::default();
            for length in 1..=prompt.len() {
                match paths
                    .iter()
                    .position(|paths| paths.contains(&prompt[..length]))
                {
                    Some(0) => overlap.device += 1,
                    Some(1) => overlap.host += 1,
                    Some(_) => overlap.disk += 1,
                    None => break,
                }
            }
            overlap
        };
        let workers = self.0.iter();
        workers
            .map(|(&id, tiers)| (Worker::new(id), overlap(tiers)))
            .collect()
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
    let tier = prop_oneof![
        6 => Just(StorageTier::Device),
        1 => Just(StorageTier::HostPinned),
        1 => Just(StorageTier::Disk),
    ];
    (0..4_u64, tier, data).prop_map(|(worker, storage_tier, data)| RouterEvent {
        storage_tier,
        ..event(worker, data)
    })
}

fn any_prompts() -> impl Strategy<Value = Vec<Vec<u64>>> {
    prop::collection::vec(prop::collection::vec(0..3_u64, 0..10), 1..20)
}

fn find(index: &RadixIndex, prompt: &[u64]) -> Overlaps {
    let prompt: Vec<_> = prompt.iter().copied().map(BlockHash).collect();
    index.find_matches(&prompt)
}

/// Forgets all workers; nothing may be left.
fn check_empties(index: &RadixIndex) {
    for worker in 0..4 {
        index.remove_worker(worker);
    }
    assert_eq!((index.len(), index.tree.positions()), (0, 0));
}

proptest! {
    #[test]
    fn index_equals_naive_map(
        events in prop::collection::vec(any_event(), 1..120),
        prompts in any_prompts(),
        leaving in prop::option::of(0..4_u64),
    ) {
        let (index, mut naive) = (RadixIndex::default(), Naive::default());
        for event in &events {
            prop_assert_eq!(index.apply(event).is_ok(), naive.apply(event));
        }
        if let Some(worker) = leaving {
            index.remove_worker(worker);
            naive.0.remove(&worker);
        }
        prop_assert_eq!(index.len(), naive.len());
        for prompt in &prompts {
            prop_assert_eq!(find(&index, prompt), naive.find(prompt));
        }
        check_empties(&index);
    }

    /// Workers do not hold up or disturb each other, whoever is first at a place of the tree.
    #[test]
    fn threads_leave_what_one_thread_would(
        events in prop::collection::vec(any_event(), 100..400),
        prompts in any_prompts(),
    ) {
        let (index, mut naive) = (RadixIndex::default(), Naive::default());
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (events, index) = (&events, &index);
                scope.spawn(move || {
                    for event in events.iter().filter(|event| event.worker_id == worker) {
                        let _rejected = index.apply(event);
                    }
                });
            }
        });
        for event in &events {
            naive.apply(event);
        }
        prop_assert_eq!(index.len(), naive.len());
        for prompt in &prompts {
            prop_assert_eq!(find(&index, prompt), naive.find(prompt));
        }
        check_empties(&index);
    }

    #[test]
    fn sweeping_never_changes_a_match(
        events in prop::collection::vec(any_event(), 1..80),
        prompt in prop::collection::vec(0..3_u64, 0..10),
    ) {
        let index = RadixIndex::default();
        for event in &events {
            let _rejected = index.apply(event);
        }
        let before = find(&index, &prompt);
        index.sweep();
        prop_assert_eq!(find(&index, &prompt), before);
        prop_assert!(index.tree.positions() <= index.len());
    }
}

/// What a worker holds all the time is found all the time, while others come, store along the same
/// paths, fork off from them, remove and leave.
#[test]
fn what_stays_is_found_while_everything_else_changes() {
    let index = RadixIndex::default();
    let paths: Vec<Vec<u64>> = (0..8)
        .map(|path| vec![0, 1, 2, 3 + path % 2, 10 + path])
        .collect();
    for path in &paths {
        let mut name = 0;
        let named = path.iter().map(|&tokens| {
            name = name * 31 + tokens + 1;
            (name, tokens)
        });
        let named: Vec<_> = named.collect();
        index.apply(&stored(0, None, &named)).unwrap();
    }
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (index, paths, done) = (&index, &paths, &done);
        for worker in 1..3 {
            scope.spawn(move || {
                for round in 0..3_000_u64 {
                    let path = &paths[usize::try_from(round % 8).unwrap()];
                    let fork = usize::try_from(round % 5).unwrap();
                    let own = path[..fork].iter().copied().chain([90 + round % 3, 91]);
                    let own: Vec<_> = own
                        .map(|tokens| (tokens + 1_000 * (round % 2), tokens))
                        .collect();
                    index.apply(&stored(worker, None, &own)).unwrap();
                    let names: Vec<_> = own.iter().rev().map(|block| block.0).collect();
                    index
                        .apply(&removed(worker, &names[..names.len() / 2]))
                        .unwrap();
                    if round % 100 == 99 {
                        index.remove_worker(worker);
                    }
                }
                index.remove_worker(worker);
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        scope.spawn(move || {
            while done.load(Ordering::Relaxed) < 2 {
                for path in paths {
                    let found = find(index, path).get(Worker::new(0));
                    assert_eq!(found.blocks() as usize, path.len());
                }
            }
        });
    });
    let held = index.blocks(Worker::new(0));
    assert_eq!((index.len(), index.tree.positions()), (held, held));
    check_empties(&index);
}

#[test]
fn memory_per_block_is_bounded() {
    let check = |depth: u64, most: usize| {
        let index = RadixIndex::default();
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
