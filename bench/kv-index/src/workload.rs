//! What the indexes have to do: the events of workers that served the requests of a trace, and the
//! prompts of those requests.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use serde::Deserialize;
use tandem_protocol::kv::{
    BlockHash, KvEvent, KvEventData, RouterEvent, SequenceHash, StoredBlock, StoredBlocks,
    hash_sequence,
};

/// Tokens of a block of the trace.
const TRACE_BLOCK: usize = 512;

/// Blocks that a worker names in one removal when it drops everything.
const REMOVED_AT_ONCE: usize = 64;

/// How requests become events.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Workers, which serve the requests in turn.
    pub workers: usize,
    /// Blocks that a worker can hold, in blocks of the trace.
    pub capacity: usize,
    /// Index blocks per block of the trace: 32 makes 16-token blocks of 512-token ones.
    pub expand: usize,
    /// Most requests.
    pub requests: usize,
}

/// Events in the order in which they happen, and the prompts that caused them.
#[derive(Debug)]
pub struct Workload {
    pub name: String,
    pub prompts: Vec<Vec<BlockHash>>,
    /// What workers publish that evict what was not used for longest.
    pub trace: Vec<RouterEvent>,
    /// What they would publish if they had room for everything.
    pub fill: Vec<RouterEvent>,
    /// The removal of everything that `fill` has stored.
    pub drain: Vec<RouterEvent>,
}

/// Blocks that events store and remove.
pub fn blocks(events: &[RouterEvent]) -> usize {
    let count = |event: &RouterEvent| match &event.event.data {
        KvEventData::Stored(stored) => stored.blocks.len(),
        KvEventData::Removed { block_hashes } => block_hashes.len(),
        KvEventData::Cleared => 0,
    };
    events.iter().map(count).sum()
}

impl Workload {
    /// The requests of a file in the form of Mooncake's traces, compressed with gzip.
    pub fn read(path: &Path, shape: Shape) -> Result<Self> {
        #[derive(Deserialize)]
        struct Line {
            input_length: usize,
            hash_ids: Vec<u64>,
        }
        let file =
            File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
        let lines = BufReader::new(GzDecoder::new(file)).lines();
        let mut requests = Vec::new();
        for line in lines.take(shape.requests) {
            let mut line: Line =
                serde_json::from_str(&line?).context("failed to read a request")?;
            // Only full blocks are hashed.
            line.hash_ids.truncate(line.input_length / TRACE_BLOCK);
            requests.push(line.hash_ids);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.trim_end_matches(".jsonl.gz");
        Ok(Self::new(name, &requests, shape))
    }

    /// A prefix forest, for want of a trace: 16 system prompts, 64 conversations after each, and
    /// half of every prompt its own.
    pub fn synthetic(depth: u64, shape: Shape) -> Self {
        let quarter = depth / 4;
        let request = |number: u64| {
            let (system, conversation) = (mix(number) % 16, mix(number + 77) % 64);
            let shared = (0..quarter).map(move |i| 1 + system * 1_000 + i);
            let told =
                (0..quarter).map(move |i| 1_000_000 + (system * 64 + conversation) * 1_000 + i);
            let own = (2 * quarter..depth).map(move |i| 1_000_000_000 + number * 10_000 + i);
            shared.chain(told).chain(own).collect()
        };
        let requests: Vec<Vec<u64>> = (0..shape.requests as u64).map(request).collect();
        Self::new("synthetic forest", &requests, shape)
    }

    fn new(name: &str, requests: &[Vec<u64>], shape: Shape) -> Self {
        let blocks_per_request: usize = requests.iter().map(Vec::len).sum();
        let unlimited = blocks_per_request * shape.expand + 1;
        let expand = shape.expand as u64;
        let prompt = |request: &Vec<u64>| {
            let parts = |&id: &u64| (0..expand).map(move |i| BlockHash(mix(id * expand + i + 1)));
            request.iter().flat_map(parts).collect()
        };
        let prompts: Vec<Vec<BlockHash>> = requests.iter().map(prompt).collect();
        let (trace, _) = replay(&prompts, shape.workers, shape.capacity * shape.expand);
        let (fill, mut caches) = replay(&prompts, shape.workers, unlimited);
        let mut drain = Vec::new();
        for (worker, cache) in caches.iter_mut().enumerate() {
            for hashes in cache.evict_to(0).chunks(REMOVED_AT_ONCE) {
                drain.push(cache.event(worker, removed(hashes.to_vec())));
            }
        }
        Self {
            name: format!("{name}, {} blocks a prompt", average(&prompts)),
            prompts: prompts
                .into_iter()
                .filter(|prompt| !prompt.is_empty())
                .collect(),
            trace,
            fill,
            drain,
        }
    }
}

fn average(prompts: &[Vec<BlockHash>]) -> usize {
    prompts.iter().map(Vec::len).sum::<usize>() / prompts.len().max(1)
}

/// The events of workers that serve `prompts` in turn.
fn replay(
    prompts: &[Vec<BlockHash>],
    workers: usize,
    capacity: usize,
) -> (Vec<RouterEvent>, Vec<Cache>) {
    let mut caches: Vec<_> = (0..workers).map(|_| Cache::default()).collect();
    let mut events = Vec::new();
    for (prompt, worker) in prompts.iter().zip((0..workers).cycle()) {
        let cache = &mut caches[worker];
        let sequence = hash_sequence(prompt);
        let cached = |hash: &&SequenceHash| cache.used_at.contains_key(*hash);
        let known = sequence.iter().take_while(cached).count();
        cache.touch(&sequence);
        if known < prompt.len() {
            let new = sequence[known..].iter().zip(&prompt[known..]);
            let new = new.map(|(&block_hash, &tokens_hash)| StoredBlock {
                block_hash,
                tokens_hash,
            });
            let stored = KvEventData::Stored(StoredBlocks {
                parent_hash: known.checked_sub(1).map(|last| sequence[last]),
                blocks: new.collect(),
            });
            events.push(cache.event(worker, stored));
        }
        let evicted = cache.evict_to(capacity);
        if !evicted.is_empty() {
            events.push(cache.event(worker, removed(evicted)));
        }
    }
    (events, caches)
}

fn removed(block_hashes: Vec<SequenceHash>) -> KvEventData {
    KvEventData::Removed { block_hashes }
}

/// What a worker has cached. What was not used for longest goes first, of one prompt the end.
#[derive(Debug, Default)]
struct Cache {
    clock: u64,
    used_at: HashMap<SequenceHash, u64>,
    order: BTreeMap<u64, SequenceHash>,
    events: u64,
}

impl Cache {
    fn touch(&mut self, sequence: &[SequenceHash]) {
        for &hash in sequence.iter().rev() {
            self.clock += 1;
            if let Some(before) = self.used_at.insert(hash, self.clock) {
                self.order.remove(&before);
            }
            self.order.insert(self.clock, hash);
        }
    }

    fn evict_to(&mut self, capacity: usize) -> Vec<SequenceHash> {
        let mut evicted = Vec::new();
        while self.used_at.len() > capacity
            && let Some((_, hash)) = self.order.pop_first()
        {
            self.used_at.remove(&hash);
            evicted.push(hash);
        }
        evicted
    }

    fn event(&mut self, worker: usize, data: KvEventData) -> RouterEvent {
        self.events += 1;
        let event = KvEvent {
            event_id: self.events,
            data,
            dp_rank: 0,
        };
        RouterEvent::new(worker as u64, event)
    }
}

/// The finalizer of SplitMix64: numbers that look random.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
