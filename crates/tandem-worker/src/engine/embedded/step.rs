//! One step: a forward pass over the planned tokens, then the next token of each sequence.

use std::time::Instant;

use rayon::prelude::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use tandem_kv_cache::transfer::LeaseTable;
use tandem_kv_cache::{BlockStore, KvShape};
use tandem_protocol::engine::EngineOutput;

use super::blocks::Blocks;
use super::cuda::CudaDecoder;
use super::disagg;
use super::kernel::Compute;
use super::model::{Batch, Decoder, ModelError, Span};
use super::sampling::Choice;
use super::scheduler::{Committer, Scheduler, Share};
use super::sequence::{Role, Sequence};
use crate::engine::EngineCounters;
use crate::engine::mock::{MockModel, Work};

/// What a step needs beside the sequences.
#[derive(Debug)]
pub(super) enum Model {
    /// A model that is computed here.
    Decoder(Box<Decoder>, Compute),
    /// One that a GPU computes; tokens are chosen here.
    Cuda(Box<CudaDecoder>, Compute),
    /// One that only takes time.
    Mock(MockModel),
}

impl Model {
    /// Computes `shares`, chooses the next token of each sequence that is up to date then, and
    /// returns what each running sequence has to say.
    pub(super) fn step(&mut self, scheduler: &mut Scheduler, shares: &[Share]) -> Said {
        let Scheduler {
            running,
            blocks,
            limits,
            ..
        } = scheduler;
        match (self, blocks) {
            (Self::Decoder(decoder, compute), Blocks::Host(store)) => compute.run(|| {
                let logits = decoder.forward(compute, &batch(running, shares), store);
                sample(running, shares, logits)
            }),
            (Self::Cuda(decoder, compute), Blocks::Device(blocks)) => {
                let logits = decoder.forward(&batch(running, shares), blocks);
                compute.run(|| sample(running, shares, logits))
            }
            (Self::Mock(model), Blocks::Host(store)) => {
                pretend(model, (running, store), shares, limits.block_size)
            }
            _ => unreachable!("blocks are where the model computes"),
        }
    }

    /// Room for `blocks` blocks of `shape`, where the model computes, beside a tier of `host_bytes`
    /// in the host's memory.
    pub(super) fn blocks(
        &self,
        shape: KvShape,
        blocks: usize,
        host_bytes: u64,
    ) -> Result<Blocks, ModelError> {
        match self {
            Self::Cuda(decoder, _) => decoder
                .blocks(shape, blocks, host_bytes)
                .map(Blocks::Device),
            Self::Decoder(..) | Self::Mock(_) => Ok(Blocks::Host(BlockStore::new(shape, blocks))),
        }
    }

    /// Text that differs between machines that may round in other ways.
    pub(super) fn arithmetic(&self) -> String {
        match self {
            Self::Decoder(_, compute) => format!("{:?}", compute.kernel()),
            Self::Cuda(decoder, _) => decoder.arithmetic(),
            Self::Mock(_) => "none".to_owned(),
        }
    }
}

/// What there is to tell of each running sequence.
pub(super) type Said = Vec<Option<EngineOutput>>;

fn batch<'a>(running: &'a [Sequence], shares: &[Share]) -> Batch<'a> {
    let mut batch = Batch::default();
    for share in shares {
        let sequence = &running[share.sequence];
        let start = sequence.computed;
        let tokens = match sequence.draft.tokens() {
            [] => &sequence.tokens[start..start + share.tokens],
            ahead => ahead,
        };
        batch.push(Span {
            tokens,
            start,
            row: 0,
            adapter: sequence.adapter.as_ref().map(|adapter| adapter.index),
            blocks: &sequence.blocks,
            wanted: wanted(share, sequence),
        });
    }
    batch
}

/// Chooses the next tokens of each sequence that is up to date, by its logits.
fn sample(running: &mut [Sequence], shares: &[Share], mut logits: Vec<f32>) -> Said {
    let wanted = |share: &Share| wanted(share, &running[share.sequence]);
    let vocab = logits.len() / shares.iter().map(wanted).sum::<usize>().max(1);
    let mut rest = &mut *logits;
    let mut rows: Vec<&mut [f32]> = running.iter().map(|_| &mut [][..]).collect();
    for share in shares {
        let (own, others) = rest.split_at_mut(wanted(share) * vocab);
        rest = others;
        rows[share.sequence] = own;
    }
    let jobs = running.par_iter_mut().zip(rows);
    let choose = |(sequence, logits): (&mut Sequence, &mut [f32])| {
        let mut rows = logits.chunks_exact_mut(vocab.max(1));
        sequence.advance(|sequence| rows.next().map(|logits| sequence.choose(logits)))
    };
    jobs.map(choose).collect()
}

fn pretend(
    model: &MockModel,
    (running, store): (&mut [Sequence], &mut BlockStore),
    shares: &[Share],
    block_size: usize,
) -> Said {
    let parts = shares.iter().map(|share| (share, &running[share.sequence]));
    for (share, sequence) in parts.clone() {
        let written = sequence.computed..sequence.computed + share.tokens;
        let first = written.start / block_size;
        let end = written.end.div_ceil(block_size);
        // What is in the blocks does not matter, but they must be there to be handed over.
        for block in &sequence.blocks[first..end] {
            store.write(*block);
        }
    }
    model.take_time(parts.map(|(share, sequence)| Work {
        context: sequence.computed,
        tokens: share.tokens,
        decoding: sequence.decoding(),
    }));
    let mut said: Said = running.iter().map(|_| None).collect();
    for share in shares {
        let sequence = &mut running[share.sequence];
        if wanted(share, sequence) > 0 {
            said[share.sequence] = sequence.advance(|sequence| {
                Some(Choice {
                    token: model.next_token(&sequence.tokens),
                    logprob: None,
                    top: None,
                })
            });
        }
    }
    said
}

/// After how many tokens of the share the next one is to be chosen: the sequence's newest, if the
/// share reaches it, and those that are guessed to follow.
fn wanted(share: &Share, sequence: &Sequence) -> usize {
    (share.tokens + 1).saturating_sub(sequence.pending())
}

/// Accounts for a step and tells its tokens.
pub(super) fn finish(
    scheduler: &mut Scheduler,
    (shares, mut said): (&[Share], Said),
    leases: Option<&LeaseTable>,
    counters: &mut EngineCounters,
) {
    counters.steps += 1;
    let mut finished = Vec::new();
    for share in shares {
        let sequence = &mut scheduler.running[share.sequence];
        let of_prompt = sequence.prompt_len.saturating_sub(sequence.computed);
        counters.prefill_tokens_computed += of_prompt.min(share.tokens) as u64;
        let output = said[share.sequence].take();
        let known = output.as_ref().map(|output| output.token_ids.len());
        if let Some(tokens) = known {
            let before = sequence.tokens.len() - tokens;
            counters.draft_tokens += (sequence.computed + share.tokens - before) as u64;
            counters.accepted_draft_tokens += tokens as u64 - 1;
            // What was guessed wrong is as good as not computed.
            sequence.computed = sequence.tokens.len() - 1;
        } else {
            sequence.computed += share.tokens;
        }
        let committer = Committer {
            limits: &scheduler.limits,
            cache: &scheduler.cache,
            blocks: &scheduler.blocks,
            tiers: &scheduler.tiers,
        };
        committer.commit(sequence);
        let Some(mut output) = output else {
            continue;
        };
        counters.generated_tokens += output.token_ids.len() as u64;
        if output.finish_reason.is_some() {
            finished.push(share.sequence);
            if let (Role::Prefill, Some(leases)) = (&sequence.role, leases) {
                let held = std::mem::take(&mut sequence.blocks);
                let data = scheduler.blocks.share_all(&held);
                let held = held.into_iter().zip(data).collect();
                let ticket = leases.grant(held, sequence.prompt_len, Instant::now());
                output.disaggregated_params = Some(disagg::params(ticket, &output, sequence));
            }
            // Before the reader knows, so that it finds the blocks free.
            let blocks = std::mem::take(&mut sequence.blocks);
            scheduler.cache.update(|pool| pool.release_all(&blocks));
        }
        sequence.tell(output);
    }
    finished.sort_unstable();
    for index in finished.into_iter().rev() {
        scheduler.running.remove(index);
    }
}
