//! Which sequences run, and how many of their tokens the next step computes.
//!
//! First come, first served. Running sequences generate before prompts advance, so that a long
//! prompt costs each of them no more than its share of a step. If the blocks run out, the
//! youngest sequence gives its own back and starts over later.

use std::collections::VecDeque;
use std::sync::Arc;

use tandem_kv_cache::BlockCache;
use tandem_kv_cache::tier::KvTiers;

use super::blocks::Blocks;
use super::disagg::FetchResult;
use super::limits::Limits;
use super::pace::Pace;
use super::sequence::{Role, Sequence};
use crate::engine::EngineCounters;

/// The sequences of an engine, by state.
#[derive(Debug)]
pub(super) struct Scheduler {
    pub(super) limits: Limits,
    pub(super) cache: Arc<BlockCache>,
    pub(super) blocks: Blocks,
    pub(super) tiers: Arc<KvTiers>,
    pub(super) waiting: VecDeque<Sequence>,
    /// In order of admission.
    pub(super) running: Vec<Sequence>,
    /// Have their blocks, which are being filled by another worker or a slower tier.
    pub(super) fetching: Vec<Sequence>,
    pub(super) pace: Pace,
}

/// A part of a step: the next tokens of a running sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Index in [`Scheduler::running`].
    pub(super) sequence: usize,
    /// With those that are guessed, after the newest one.
    pub(super) tokens: usize,
}

/// Makes full blocks reusable, and known to the tiers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Committer<'a> {
    pub(super) limits: &'a Limits,
    pub(super) cache: &'a BlockCache,
    pub(super) blocks: &'a Blocks,
    pub(super) tiers: &'a KvTiers,
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
        self.land_ready(counters);
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
        self.guess(&mut shares, left);
        shares
    }

    /// Tokens of prompts in a step.
    pub(super) fn prompt_tokens(&self, shares: &[Share]) -> usize {
        let of_prompts = shares
            .iter()
            .filter(|share| !self.running[share.sequence].decoding());
        of_prompts.map(|share| share.tokens).sum()
    }

    /// Adds guesses to the shares, with what nothing else needs: `left` tokens of the step, and
    /// blocks beyond one for each sequence.
    fn guess(&mut self, shares: &mut [Share], mut left: usize) {
        let block_size = self.limits.block_size;
        for share in shares {
            let room =
                |sequence: &Sequence| sequence.blocks.len() * block_size - sequence.tokens.len();
            let sequence = &self.running[share.sequence];
            let most = sequence.may_guess().min(left);
            let spare = || self.cache.update(|pool| pool.available()) > self.running.len();
            if most > room(sequence)
                && spare()
                && let Some(block) = self.allocate(1)
            {
                self.running[share.sequence].blocks.extend(block);
            }
            let sequence = &mut self.running[share.sequence];
            let guessed = sequence.guess(most.min(room(sequence)));
            share.tokens += guessed;
            left -= guessed;
        }
    }

    /// Gives every running sequence a block for its next token; takes from the youngest.
    fn make_room(&mut self, counters: &mut EngineCounters) {
        let block_size = self.limits.block_size;
        let mut index = 0;
        while index < self.running.len() {
            let sequence = &self.running[index];
            if sequence.tokens.len() <= sequence.blocks.len() * block_size {
                index += 1;
                continue;
            }
            if let Some(block) = self.allocate(1) {
                self.running[index].blocks.extend(block);
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
        let reusable = if self.limits.prefix_reuse {
            sequence.reusable(block_size)
        } else {
            Vec::new()
        };
        let hashes: Vec<_> = reusable.iter().map(|block| block.sequence).collect();
        let needed = sequence.tokens.len().div_ceil(block_size);
        let held = self.cache.update(|pool| {
            let held = pool.acquire_prefix(&hashes);
            if needed - held.len() > pool.available() {
                pool.release_all(&held);
                return None;
            }
            Some(held)
        });
        let Some(held) = held else {
            return Admission::NoRoom;
        };
        let cached = held.len();
        for (&block, &identity) in held.iter().zip(&reusable) {
            self.tiers.saw(identity, || self.blocks.share(block));
        }
        // Before others give way to this sequence: that may drive out what it looks for.
        sequence.onboarding = self.look_below(sequence, &reusable, cached);
        let Some(fresh) = self.allocate(needed - cached) else {
            self.cache.update(|pool| pool.release_all(&held));
            return Admission::NoRoom;
        };
        sequence.blocks = held;
        sequence.blocks.extend(fresh);
        sequence.committed = cached;
        sequence.computed = cached * block_size;
        if !sequence.onboarding.is_ready() {
            return Admission::Fetch;
        }
        self.land(sequence);
        sequence.count_admission(counters);
        self.ask_for_blocks(sequence)
    }

    /// What makes full blocks reusable.
    pub(super) fn committer(&self) -> Committer<'_> {
        Committer {
            limits: &self.limits,
            cache: &self.cache,
            blocks: &self.blocks,
            tiers: &self.tiers,
        }
    }

    fn ask_for_blocks(&self, sequence: &mut Sequence) -> Admission {
        let Role::Decode(ask) = &mut sequence.role else {
            return Admission::Run;
        };
        // Without the sender, the blocks came before and were lost to preemption.
        let Some(ask) = ask.take() else {
            return Admission::Run;
        };
        // A failure means that the stream is gone; the next step drops the sequence.
        ask.send(sequence.committed).ok();
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
                self.blocks.install_all(targets, data);
                sequence.computed = sequence.prompt_len;
                counters.remote_prefills += 1;
                self.committer().commit(&mut sequence);
            }
            Err(reason) => {
                *counters.remote_prefill_fallbacks.entry(reason).or_default() += 1;
            }
        }
        self.running.push(sequence);
    }
}

impl Committer<'_> {
    /// Makes the full blocks of `sequence` reusable.
    pub(super) fn commit(&self, sequence: &mut Sequence) {
        let block_size = self.limits.block_size;
        let full = sequence.computed / block_size;
        if !self.limits.prefix_reuse || full <= sequence.committed {
            return;
        }
        let first = sequence.committed;
        let identities = sequence.identities(block_size)[first..full].to_vec();
        let blocks = &mut sequence.blocks[first..full];
        self.cache.update(|pool| {
            for (block, identity) in blocks.iter_mut().zip(&identities) {
                *block = pool.commit(*block, *identity);
            }
        });
        for (&block, identity) in blocks.iter().zip(identities) {
            self.tiers.saw(identity, || self.blocks.share(block));
        }
        sequence.committed = full;
    }
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
