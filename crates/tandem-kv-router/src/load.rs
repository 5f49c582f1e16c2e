//! What each worker is busy with, by the router's own accounting.
//!
//! A request counts from the moment it is routed: its uncached prompt tokens until its first
//! output, its prompt blocks until it ends. Blocks that active requests share count once.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tandem_protocol::kv::SequenceHash;

use crate::Worker;

/// How often [`ActiveLoad::add`] looks for abandoned requests.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Requests in flight and the load they put on their workers.
#[derive(Debug)]
pub(crate) struct ActiveLoad {
    requests: FxHashMap<String, Request>,
    workers: FxHashMap<Worker, WorkerActivity>,
    expire_after: Duration,
    next_sweep: Option<Instant>,
}

/// A request to account for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRequest<'a> {
    /// Names the request in later calls. An active request of the same name is freed first.
    pub(crate) id: &'a str,
    /// Where it was sent.
    pub(crate) worker: Worker,
    /// Chained hashes of *all* full blocks of its prompt, from the first; empty if blocks are not
    /// tracked.
    pub(crate) sequence: &'a [SequenceHash],
    /// Prompt tokens that the worker has to compute.
    pub(crate) uncached_tokens: usize,
}

/// Load of one worker, as it is or as it would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerLoad {
    /// Prompt tokens routed but not yet computed.
    pub prefill_tokens: usize,
    /// Different blocks in use.
    pub active_blocks: usize,
    /// Requests in flight.
    pub requests: usize,
}

#[derive(Debug)]
struct Request {
    worker: Worker,
    sequence: Box<[SequenceHash]>,
    /// Back to 0 once prefill is done.
    prefill_tokens: usize,
    since: Instant,
}

#[derive(Debug, Default)]
struct WorkerActivity {
    prefill_tokens: usize,
    requests: usize,
    /// How many requests use each block.
    uses: FxHashMap<SequenceHash, u32>,
}

impl ActiveLoad {
    /// No requests; those that are neither freed nor added again within `expire_after` are dropped.
    pub(crate) fn new(expire_after: Duration) -> Self {
        Self {
            requests: FxHashMap::default(),
            workers: FxHashMap::default(),
            expire_after,
            next_sweep: None,
        }
    }

    /// Starts to count a request.
    pub(crate) fn add(&mut self, request: NewRequest<'_>, now: Instant) {
        self.free(request.id);
        if self.next_sweep.is_none_or(|at| now >= at) {
            self.expire(now);
        }
        let activity = self.workers.entry(request.worker).or_default();
        activity.prefill_tokens += request.uncached_tokens;
        activity.requests += 1;
        for hash in request.sequence {
            *activity.uses.entry(*hash).or_default() += 1;
        }
        let active = Request {
            worker: request.worker,
            sequence: request.sequence.into(),
            prefill_tokens: request.uncached_tokens,
            since: now,
        };
        self.requests.insert(request.id.to_owned(), active);
    }

    /// Records that a request's prompt is computed; false if the request is unknown.
    pub(crate) fn mark_prefill_completed(&mut self, id: &str) -> bool {
        let Some(request) = self.requests.get_mut(id) else {
            return false;
        };
        let done = std::mem::take(&mut request.prefill_tokens);
        if let Some(activity) = self.workers.get_mut(&request.worker) {
            activity.prefill_tokens -= done;
        }
        true
    }

    /// Stops to count a request; false if it is unknown.
    pub(crate) fn free(&mut self, id: &str) -> bool {
        let Some(request) = self.requests.remove(id) else {
            return false;
        };
        let Some(activity) = self.workers.get_mut(&request.worker) else {
            return true;
        };
        activity.prefill_tokens -= request.prefill_tokens;
        activity.requests -= 1;
        for hash in &request.sequence {
            if let Some(uses) = activity.uses.get_mut(hash) {
                *uses -= 1;
                if *uses == 0 {
                    activity.uses.remove(hash);
                }
            }
        }
        if activity.requests == 0 {
            debug_assert!(activity.uses.is_empty() && activity.prefill_tokens == 0);
            self.workers.remove(&request.worker);
        }
        true
    }

    /// Drops requests whose end was never reported; returns how many.
    pub(crate) fn expire(&mut self, now: Instant) -> usize {
        self.next_sweep = Some(now + SWEEP_INTERVAL);
        let age = |request: &Request| now.saturating_duration_since(request.since);
        let old = self
            .requests
            .iter()
            .filter(|(_, request)| age(request) >= self.expire_after);
        let old: Vec<_> = old.map(|(id, _)| id.clone()).collect();
        old.iter().filter(|id| self.free(id)).count()
    }

    /// Drops all requests of a process that is gone.
    pub(crate) fn remove_worker(&mut self, worker_id: u64) {
        self.requests
            .retain(|_, request| request.worker.worker_id != worker_id);
        self.workers
            .retain(|worker, _| worker.worker_id != worker_id);
    }

    /// Load of `worker` now.
    pub(crate) fn current(&self, worker: Worker) -> WorkerLoad {
        self.potential(worker, &[], 0)
    }

    /// Load of `worker` if it also got a request with this prompt.
    ///
    /// `sequence` is chained and whole, as that of every active request is; so the blocks that
    /// are already in use are a prefix of it, whose end a binary search finds.
    pub(crate) fn potential(
        &self,
        worker: Worker,
        sequence: &[SequenceHash],
        uncached_tokens: usize,
    ) -> WorkerLoad {
        let Some(activity) = self.workers.get(&worker) else {
            return WorkerLoad {
                prefill_tokens: uncached_tokens,
                active_blocks: sequence.len(),
                requests: 0,
            };
        };
        let shared = sequence.partition_point(|hash| activity.uses.contains_key(hash));
        WorkerLoad {
            prefill_tokens: activity.prefill_tokens + uncached_tokens,
            active_blocks: activity.uses.len() + sequence.len() - shared,
            requests: activity.requests,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tandem_protocol::kv::{BlockHash, hash_sequence};

    use super::*;

    const WORKER: Worker = Worker::new(1);
    const EXPIRY: Duration = Duration::from_secs(300);

    fn sequence(tokens: &[u64]) -> Vec<SequenceHash> {
        let blocks: Vec<_> = tokens.iter().copied().map(BlockHash).collect();
        hash_sequence(&blocks)
    }

    fn add(load: &mut ActiveLoad, id: &str, tokens: &[u64], uncached: usize, now: Instant) {
        let request = NewRequest {
            id,
            worker: WORKER,
            sequence: &sequence(tokens),
            uncached_tokens: uncached,
        };
        load.add(request, now);
    }

    #[test]
    fn shared_blocks_count_once_and_prefill_ends_early() {
        let mut load = ActiveLoad::new(EXPIRY);
        let now = Instant::now();
        add(&mut load, "a", &[1, 2, 3], 50, now);
        add(&mut load, "b", &[1, 2, 4], 20, now);
        let expected = WorkerLoad {
            prefill_tokens: 70,
            active_blocks: 4,
            requests: 2,
        };
        assert_eq!(load.current(WORKER), expected);
        let what_if = load.potential(WORKER, &sequence(&[1, 2, 4, 5]), 8);
        assert_eq!((what_if.prefill_tokens, what_if.active_blocks), (78, 5));
        assert!(load.mark_prefill_completed("a") && load.mark_prefill_completed("a"));
        assert_eq!(load.current(WORKER).prefill_tokens, 20);
        assert!(load.free("a") && !load.free("a"));
        assert_eq!(load.current(WORKER).active_blocks, 3);
        assert!(load.free("b") && !load.mark_prefill_completed("b"));
        assert_eq!(load.current(WORKER), WorkerLoad::default());
    }

    #[test]
    fn abandoned_requests_expire() {
        let mut load = ActiveLoad::new(EXPIRY);
        let start = Instant::now();
        add(&mut load, "a", &[1], 5, start);
        add(&mut load, "b", &[2], 5, start + Duration::from_secs(299));
        assert_eq!(load.requests.len(), 2);
        add(&mut load, "c", &[3], 5, start + Duration::from_secs(330));
        assert_eq!(load.requests.len(), 2);
        assert_eq!(load.expire(start + Duration::from_secs(700)), 2);
        assert_eq!(load.current(WORKER), WorkerLoad::default());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u8, u64, Vec<u64>, usize),
        PrefillDone(u8),
        Free(u8),
        RemoveWorker(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let tokens = prop::collection::vec(0..2_u64, 0..6);
        prop_oneof![
            4 => (0..8_u8, 0..3_u64, tokens, 0..100_usize)
                .prop_map(|(id, worker, tokens, uncached)| Step::Add(id, worker, tokens, uncached)),
            2 => (0..8_u8).prop_map(Step::PrefillDone),
            3 => (0..8_u8).prop_map(Step::Free),
            1 => (0..3_u64).prop_map(Step::RemoveWorker),
        ]
    }

    proptest! {
        /// Load equals what the requests in flight add up to, whatever happened before.
        #[test]
        fn load_never_leaks(
            steps in prop::collection::vec(any_step(), 1..60),
            extra in prop::collection::vec(0..2_u64, 0..6),
        ) {
            let mut load = ActiveLoad::new(EXPIRY);
            let mut active = std::collections::BTreeMap::new();
            let now = Instant::now();
            for step in steps {
                match step {
                    Step::Add(id, worker, tokens, uncached_tokens) => {
                        let sequence = sequence(&tokens);
                        let worker = Worker::new(worker);
                        let id_text = id.to_string();
                        let request = NewRequest { id: &id_text, worker, sequence: &sequence, uncached_tokens };
                        load.add(request, now);
                        active.insert(id, (worker, sequence, uncached_tokens));
                    }
                    Step::PrefillDone(id) => {
                        let known = active.get_mut(&id).map(|request| request.2 = 0).is_some();
                        prop_assert_eq!(load.mark_prefill_completed(&id.to_string()), known);
                    }
                    Step::Free(id) => {
                        prop_assert_eq!(load.free(&id.to_string()), active.remove(&id).is_some());
                    }
                    Step::RemoveWorker(id) => {
                        load.remove_worker(id);
                        active.retain(|_, request| request.0.worker_id != id);
                    }
                }
            }
            let extra = sequence(&extra);
            for worker in (0..3).map(Worker::new) {
                let mine = || active.values().filter(|request| request.0 == worker);
                let mut blocks: Vec<_> = mine().flat_map(|request| &request.1).chain(&extra).collect();
                blocks.sort_unstable();
                blocks.dedup();
                let expected = WorkerLoad {
                    prefill_tokens: mine().map(|request| request.2).sum::<usize>() + 7,
                    active_blocks: blocks.len(),
                    requests: mine().count(),
                };
                prop_assert_eq!(load.potential(worker, &extra, 7), expected);
            }
            for id in active.keys() {
                load.free(&id.to_string());
            }
            prop_assert!(load.requests.is_empty() && load.workers.is_empty());
        }
    }
}
