//! Workers that prefill one request after the other and keep an LRU prefix cache, driven by a
//! router that hears of their blocks through KV events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tandem_kv_router::{KvRouter, Prompt, SelectRequest, Worker, WorkerCandidate};
use tandem_protocol::engine::RouterConfigOverride;
use tandem_protocol::kv::{
    KvEvent, KvEventData, RouterEvent, SequenceHash, StoredBlock, StoredBlocks,
};

/// A request, and when it arrives.
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) prompt: Prompt,
    pub(crate) output_tokens: u32,
}

/// What the workers can do.
pub(crate) struct Fleet {
    pub(crate) workers: usize,
    pub(crate) capacity_blocks: usize,
    pub(crate) prefill_tokens_per_second: f64,
    pub(crate) seconds_per_output_token: f64,
}

/// How well it went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Share of the prompts' blocks that were cached where they were sent.
    pub(crate) hit_ratio: f64,
    /// Mean time to first token in seconds.
    pub(crate) mean: f64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    FirstToken(usize),
    Ends,
}

#[derive(Default)]
struct SimulatedWorker {
    /// When each cached block was last used, and the other way round.
    used: HashMap<SequenceHash, u64>,
    order: BTreeMap<u64, SequenceHash>,
    clock: u64,
    queue: VecDeque<usize>,
    busy: bool,
}

impl SimulatedWorker {
    fn cached_prefix(&self, prompt: &Prompt) -> usize {
        prompt
            .sequence
            .iter()
            .take_while(|hash| self.used.contains_key(hash))
            .count()
    }

    /// Caches a prompt; returns the events.
    fn admit(&mut self, prompt: &Prompt, capacity: usize) -> [KvEventData; 2] {
        let cached = self.cached_prefix(prompt);
        for hash in prompt.sequence.iter().rev() {
            self.clock += 1;
            if let Some(before) = self.used.insert(*hash, self.clock) {
                self.order.remove(&before);
            }
            self.order.insert(self.clock, *hash);
        }
        let mut evicted = Vec::new();
        while self.used.len() > capacity {
            let (_, hash) = self.order.pop_first().unwrap();
            self.used.remove(&hash);
            evicted.push(hash);
        }
        let blocks = prompt.sequence.iter().zip(&prompt.blocks).skip(cached);
        let blocks = blocks.map(|(&block_hash, &tokens_hash)| StoredBlock {
            block_hash,
            tokens_hash,
        });
        let stored = StoredBlocks {
            parent_hash: cached.checked_sub(1).map(|last| prompt.sequence[last]),
            blocks: blocks.collect(),
        };
        let removed = KvEventData::Removed {
            block_hashes: evicted,
        };
        [KvEventData::Stored(stored), removed]
    }
}

/// Plays `arrivals` through the router, which must be new.
pub(crate) fn run(router: &KvRouter, fleet: &Fleet, arrivals: &[Arrival]) -> Outcome {
    let candidate = |id| WorkerCandidate {
        worker: Worker::new(id),
        total_blocks: fleet.capacity_blocks as u64,
    };
    let arrive = |index: usize| Reverse((arrivals[index].at, index, Event::Arrives));
    let mut simulation = Simulation {
        router,
        fleet,
        arrivals,
        candidates: (0..fleet.workers as u64).map(candidate).collect(),
        workers: (0..fleet.workers)
            .map(|_| SimulatedWorker::default())
            .collect(),
        events: (0..arrivals.len()).map(arrive).collect(),
        rng: SmallRng::seed_from_u64(1),
        start: Instant::now(),
        hits: 0,
        waited: 0.0,
    };
    while let Some(Reverse((now, index, event))) = simulation.events.pop() {
        match event {
            Event::Arrives => simulation.arrive(now, index),
            Event::FirstToken(worker) => simulation.first_token(now, index, worker),
            Event::Ends => assert!(router.free(&index.to_string())),
        }
    }
    let blocks: usize = arrivals
        .iter()
        .map(|arrival| arrival.prompt.blocks.len())
        .sum();
    Outcome {
        hit_ratio: simulation.hits as f64 / blocks as f64,
        mean: simulation.waited / arrivals.len() as f64,
    }
}

struct Simulation<'a> {
    router: &'a KvRouter,
    fleet: &'a Fleet,
    arrivals: &'a [Arrival],
    candidates: Vec<WorkerCandidate>,
    workers: Vec<SimulatedWorker>,
    events: BinaryHeap<Reverse<(Duration, usize, Event)>>,
    rng: SmallRng,
    start: Instant,
    hits: usize,
    waited: f64,
}

impl Simulation<'_> {
    fn arrive(&mut self, now: Duration, index: usize) {
        let request = SelectRequest {
            id: &index.to_string(),
            prompt: &self.arrivals[index].prompt,
            overrides: RouterConfigOverride::default(),
            remote_prefill: false,
        };
        let at = self.start + now;
        let selection = self
            .router
            .route(&request, &self.candidates, at, &mut self.rng)
            .unwrap();
        let chosen = selection.chosen.candidate.worker.worker_id;
        let chosen = usize::try_from(chosen).unwrap();
        self.workers[chosen].queue.push_back(index);
        self.start_next(now, chosen);
    }

    fn first_token(&mut self, now: Duration, index: usize, worker: usize) {
        let arrival = &self.arrivals[index];
        self.waited += (now - arrival.at).as_secs_f64();
        self.workers[worker].busy = false;
        let changes = self.workers[worker].admit(&arrival.prompt, self.fleet.capacity_blocks);
        for data in changes {
            let event = KvEvent {
                event_id: 0,
                data,
                dp_rank: 0,
            };
            let worker_id = worker as u64;
            self.router
                .apply(&RouterEvent::new(worker_id, event))
                .unwrap();
        }
        assert!(self.router.mark_prefill_completed(&index.to_string()));
        let decoding = self.fleet.seconds_per_output_token * f64::from(arrival.output_tokens);
        let end = now + Duration::from_secs_f64(decoding);
        self.events.push(Reverse((end, index, Event::Ends)));
        self.start_next(now, worker);
    }

    fn start_next(&mut self, now: Duration, id: usize) {
        let worker = &mut self.workers[id];
        if worker.busy {
            return;
        }
        let Some(next) = worker.queue.pop_front() else {
            return;
        };
        worker.busy = true;
        let prompt = &self.arrivals[next].prompt;
        let cached = worker.cached_prefix(prompt);
        self.hits += cached;
        let uncached = prompt.tokens - cached * self.router.config().block_size;
        let seconds = uncached.max(1) as f64 / self.fleet.prefill_tokens_per_second;
        let done = now + Duration::from_secs_f64(seconds);
        self.events
            .push(Reverse((done, next, Event::FirstToken(id))));
    }
}
