//! Which sequences run, and how many of their tokens the next step computes.
//!
//! First come, first served. Running sequences generate before prompts advance, so that a long
//! prompt costs each of them no more than its share of a step. If the blocks run out, the
//! youngest sequence gives its own back and starts over later.

use std::collections::VecDeque;
use std::sync::Arc;

use tandem_kv_cache::{BlockCache, BlockStore};

use super::disagg::FetchResult;
use super::limits::Limits;
use super::sequence::{Role, Sequence};
use crate::engine::EngineCounters;

/// The sequences of an engine, by state.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) limits: Limits,
    pub(super) cache: Arc<BlockCache>,
    pub(super) store: BlockStore,
    pub(super) waiting: VecDeque<Sequence>,
    /// In order of admission.
    pub(super) running: Vec<Sequence>,
    /// Have their blocks, which are being filled by another worker.
    pub(super) fetching: Vec<Sequence>,
}

/// A part of a step: the next `tokens` tokens of a running sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Index in [`Scheduler::running`].
    pub(super) sequence: usize,
    pub(super) tokens: usize,
}

enum Admission {
    Run,
    Fetch,
    NoRoom,
}

impl Scheduler {
    pub(super) fn idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.fetching.is_empty()
    }

    /// Drops the sequences that nobody listens to, and returns how many of them were waiting.
    pub(super) fn drop_cancelled(&mut self) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|sequence| !sequence.cancelled());
        for sequences in [&mut self.running, &mut self.fetching] {
            for sequence in sequences.extract_if(.., |sequence| sequence.cancelled()) {
                self.cache.update(|pool| pool.release_all(&sequence.blocks));
            }
        }
        before - self.waiting.len()
    }

    /// Decides what the next step computes.
    pub(super) fn plan(&mut self, counters: &mut EngineCounters) -> Vec<Share> {
        self.make_room(counters);
        let mut left = self.limits.max_batched_tokens;
        let mut shares = Vec::new();
        for decoding in [true, false] {
            for (index, sequence) in self.running.iter().enumerate() {
                if sequence.decoding() == decoding {
                    push_share(&mut shares, &mut left, (index, sequence));
                }
            }
        }
        while left > 0 && self.running.len() + self.fetching.len() < self.limits.max_sequences {
            let Some(mut sequence) = self.waiting.pop_front() else {
                break;
            };
            match self.admit(&mut sequence, counters) {
                Admission::Run => {
                    push_share(&mut shares, &mut left, (self.running.len(), &sequence));
                    self.running.push(sequence);
                }
                Admission::Fetch => self.fetching.push(sequence),
                Admission::NoRoom => {
                    self.waiting.push_front(sequence);
                    break;
                }
            }
        }
        shares
    }

    /// Gives every running sequence a block for its next token; takes from the youngest.
    fn make_room(&mut self, counters: &mut EngineCounters) {
        let block_size = self.limits.block_size;
        let mut index = 0;
        while index < self.running.len() {
            let sequence = &mut self.running[index];
            if sequence.tokens.len() <= sequence.blocks.len() * block_size {
                index += 1;
                continue;
            }
            if let Some(block) = self.cache.update(|pool| pool.allocate(1)) {
                sequence.blocks.extend(block);
                continue;
            }
            let Some(mut youngest) = self.running.pop() else {
                return;
            };
            self.cache.update(|pool| pool.release_all(&youngest.blocks));
            youngest.start_over();
            self.waiting.push_front(youngest);
            counters.preemptions += 1;
        }
    }

    /// Gives `sequence` blocks for all its tokens, as far as possible with content.
    fn admit(&mut self, sequence: &mut Sequence, counters: &mut EngineCounters) -> Admission {
        let block_size = self.limits.block_size;
        let hashes = if self.limits.prefix_reuse {
            sequence.reusable_hashes(block_size)
        } else {
            Vec::new()
        };
        let needed = sequence.tokens.len().div_ceil(block_size);
        let blocks = self.cache.update(|pool| {
            let mut blocks = pool.acquire_prefix(&hashes);
            let cached = blocks.len();
            match pool.allocate(needed - cached) {
                Some(fresh) => blocks.extend(fresh),
                None => {
                    pool.release_all(&blocks);
                    return None;
                }
            }
            Some((blocks, cached))
        });
        let Some((blocks, cached)) = blocks else {
            return Admission::NoRoom;
        };
        sequence.blocks = blocks;
        sequence.committed = cached;
        sequence.computed = cached * block_size;
        if !sequence.readmitted {
            sequence.readmitted = true;
            let cached_tokens = sequence.computed.min(sequence.prompt_len);
            counters.requests += 1;
            counters.prompt_tokens += sequence.prompt_len as u64;
            counters.cached_prompt_tokens += cached_tokens as u64;
            if sequence.tokens.len() == sequence.prompt_len {
                sequence.cached = Some(cached_tokens);
            }
        }
        self.ask_for_blocks(sequence, cached)
    }

    fn ask_for_blocks(&self, sequence: &mut Sequence, cached: usize) -> Admission {
        let Role::Decode(ask) = &mut sequence.role else {
            return Admission::Run;
        };
        // Without the sender, the blocks came before and were lost to preemption.
        let Some(ask) = ask.take() else {
            return Admission::Run;
        };
        // A failure means that the stream is gone; the next step drops the sequence.
        ask.send(cached).ok();
        Admission::Fetch
    }

    /// Takes in the blocks of a remote prefill, or goes on without them.
    pub(super) fn fetched(&mut self, id: u64, result: FetchResult, counters: &mut EngineCounters) {
        let Some(index) = self.fetching.iter().position(|sequence| sequence.id == id) else {
            return;
        };
        let mut sequence = self.fetching.remove(index);
        match result {
            Ok(data) => {
                let targets = &sequence.blocks[sequence.committed..];
                for (&block, data) in targets.iter().zip(data) {
                    self.store.install(block, data);
                }
                sequence.computed = sequence.prompt_len;
                counters.remote_prefills += 1;
                commit(&self.limits, &self.cache, &mut sequence);
            }
            Err(reason) => {
                *counters.remote_prefill_fallbacks.entry(reason).or_default() += 1;
            }
        }
        self.running.push(sequence);
    }
}

/// Makes the full blocks of `sequence` reusable.
pub(super) fn commit(limits: &Limits, cache: &BlockCache, sequence: &mut Sequence) {
    let full = sequence.computed / limits.block_size;
    if !limits.prefix_reuse || full <= sequence.committed {
        return;
    }
    let first = sequence.committed;
    let identities = sequence.identities(limits.block_size)[first..full].to_vec();
    cache.update(|pool| {
        for (block, identity) in sequence.blocks[first..].iter_mut().zip(identities) {
            *block = pool.commit(*block, identity);
        }
    });
    sequence.committed = full;
}

fn push_share(shares: &mut Vec<Share>, left: &mut usize, (index, sequence): (usize, &Sequence)) {
    let tokens = sequence.pending().min(*left);
    if tokens > 0 {
        *left -= tokens;
        shares.push(Share {
            sequence: index,
            tokens,
        });
    }
}
