//! How fast the index takes events and answers matches.
//!
//! The workload is a prefix forest over eight workers: 16 system prompts, 64 conversations under
//! each, and a tail of its own per request; every worker evicts its oldest blocks at its capacity.
//! Throughput of `events` is in blocks.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tandem_kv_router::RadixIndex;
use tandem_protocol::kv::{
    BlockHash, KvEvent, KvEventData, RouterEvent, SequenceHash, StoredBlock, StoredBlocks,
    hash_sequence,
};

const WORKERS: u64 = 8;

struct Workload {
    prompts: Vec<Vec<BlockHash>>,
    events: Vec<RouterEvent>,
    blocks: u64,
}

/// A worker's cache: evicts the blocks that were not used for longest, deepest first.
struct Cache {
    capacity: usize,
    clock: u64,
    used_at: HashMap<SequenceHash, u64>,
    queue: VecDeque<(SequenceHash, u64)>,
}

impl Cache {
    fn touch(&mut self, sequence: &[SequenceHash]) -> Vec<SequenceHash> {
        for &hash in sequence.iter().rev() {
            self.clock += 1;
            self.used_at.insert(hash, self.clock);
            self.queue.push_back((hash, self.clock));
        }
        let mut evicted = Vec::new();
        while self.used_at.len() > self.capacity
            && let Some((hash, at)) = self.queue.pop_front()
        {
            if self.used_at.get(&hash) == Some(&at) {
                self.used_at.remove(&hash);
                evicted.push(hash);
            }
        }
        evicted
    }
}

fn workload(requests: u64, depth: u64, capacity: usize) -> Workload {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut hashes = HashMap::new();
    let mut hash = |kind: u64, a: u64, b: u64| {
        *hashes
            .entry((kind, a, b))
            .or_insert_with(|| BlockHash(rng.random()))
    };
    let mut caches: Vec<_> = (0..WORKERS)
        .map(|_| Cache {
            capacity,
            clock: 0,
            used_at: HashMap::new(),
            queue: VecDeque::new(),
        })
        .collect();
    let mut out = Workload {
        prompts: Vec::new(),
        events: Vec::new(),
        blocks: 0,
    };
    for request in 0..requests {
        let (system, conversation) = (request * 7 % 16, request * 13 % 1024);
        let quarter = depth / 4;
        let prompt: Vec<_> = (0..depth)
            .map(|i| match i / quarter {
                0 => hash(0, system, i),
                1 => hash(1, system * 1024 + conversation, i),
                _ => hash(2, request, i),
            })
            .collect();
        let sequence = hash_sequence(&prompt);
        let worker = request % WORKERS;
        let cache = &mut caches[usize::try_from(worker).expect("eight workers")];
        let known = sequence
            .iter()
            .take_while(|hash| cache.used_at.contains_key(hash))
            .count();
        let stored: Vec<_> = (known..prompt.len())
            .map(|i| StoredBlock {
                block_hash: sequence[i],
                tokens_hash: prompt[i],
            })
            .collect();
        let evicted = cache.touch(&sequence);
        out.blocks += (stored.len() + evicted.len()) as u64;
        let parent_hash = known.checked_sub(1).map(|i| sequence[i]);
        let stored = StoredBlocks {
            parent_hash,
            blocks: stored,
        };
        let removed = KvEventData::Removed {
            block_hashes: evicted,
        };
        for data in [KvEventData::Stored(stored), removed] {
            let event = KvEvent {
                event_id: request,
                data,
                dp_rank: 0,
            };
            out.events.push(RouterEvent {
                worker_id: worker,
                event,
            });
        }
        out.prompts.push(prompt);
    }
    out
}

fn filled(workload: &Workload) -> RadixIndex {
    let mut index = RadixIndex::default();
    for event in &workload.events {
        index.apply(event).expect("events are complete");
    }
    index
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("events");
    for (requests, depth, capacity) in [
        (12_000, 23, 10_000),
        (4_000, 64, 100_000),
        (2_000, 1_000, 320_000),
    ] {
        let workload = workload(requests, depth, capacity);
        group.throughput(Throughput::Elements(workload.blocks));
        group.sample_size(10);
        group.bench_function(format!("{requests}x{depth}"), |b| {
            b.iter_batched(|| (), |()| filled(&workload), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn matches(c: &mut Criterion) {
    let mut group = c.benchmark_group("match");
    for (requests, depth, capacity) in [
        (12_000, 23, 10_000),
        (4_000, 64, 100_000),
        (2_000, 2_000, 320_000),
    ] {
        let workload = workload(requests, depth, capacity);
        let index = filled(&workload);
        let mut prompts = workload.prompts.iter().cycle();
        group.bench_function(format!("{depth}_blocks"), |b| {
            b.iter(|| index.find_matches(black_box(prompts.next().expect("endless"))));
        });
    }
    group.finish();
}

criterion_group!(benches, events, matches);
criterion_main!(benches);
