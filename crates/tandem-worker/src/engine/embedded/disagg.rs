//! Handing a prompt from a prefill worker to a decode worker.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tandem_kv_cache::transfer::{FetchPlan, FetchTimeouts, Ticket, fetch, release};
use tandem_kv_cache::{BlockData, KvShape};
use tandem_protocol::engine::{EngineOutput, TopLogprob};
use tokio::sync::oneshot;

use super::adapters::LoadedAdapter;
use super::sampling::Choice;
use super::sequence::Sequence;

/// Blocks that came, or the metric label of why they did not.
pub(super) type FetchResult = Result<Vec<BlockData>, &'static str>;

/// The `disaggregated_params` of an embedded engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Handoff {
    #[serde(flatten)]
    pub(super) ticket: Ticket,
    first_token: FirstToken,
    pub(super) cached_tokens: usize,
    /// Digest of the adapter that computed the blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adapter: Option<String>,
}

/// The first token, so that the decode worker need not compute it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FirstToken {
    token_id: u32,
    log_prob: Option<f64>,
    top_logprobs: Option<Vec<TopLogprob>>,
}

/// What identifies the blocks of this engine to others.
#[derive(Debug, Clone)]
pub(super) struct KvIdentity {
    pub(super) fingerprint: String,
    /// Differs between machines that may round in other ways.
    pub(super) arithmetic: String,
    pub(super) shape: KvShape,
}

/// What a prefill worker answers beside its one token.
pub(super) fn params(ticket: Ticket, output: &EngineOutput, sequence: &Sequence) -> Value {
    let adapter = sequence.adapter.as_ref();
    let first = |logprobs: &Option<Vec<f64>>| logprobs.as_ref()?.first().copied();
    let top = output.top_logprobs.as_ref().and_then(|all| all.first());
    let handoff = Handoff {
        ticket,
        first_token: FirstToken {
            token_id: output.token_ids[0],
            log_prob: first(&output.log_probs),
            top_logprobs: top.cloned(),
        },
        cached_tokens: output.cached_tokens.unwrap_or(0) as usize,
        adapter: adapter.map(|adapter| adapter.digest.clone()),
    };
    serde_json::to_value(handoff).expect("plain structs of strings and numbers")
}

impl Handoff {
    /// Reads what a prefill worker answered about a prompt of `tokens` tokens for `adapter`. The
    /// error is the metric label of why it is of no use.
    pub(super) fn parse(
        params: Value,
        kv: &KvIdentity,
        (tokens, adapter): (usize, Option<&LoadedAdapter>),
        vocab_size: usize,
    ) -> Result<Self, &'static str> {
        let handoff: Self = serde_json::from_value(params).map_err(|_| "invalid_params")?;
        let ticket = &handoff.ticket;
        let same_adapter = handoff.adapter.as_ref() == adapter.map(|adapter| &adapter.digest);
        if ticket.fingerprint != kv.fingerprint || !same_adapter {
            return Err("model_mismatch");
        }
        let sizes_match = ticket.tokens == tokens && ticket.blocks == kv.shape.blocks_for(tokens);
        if !sizes_match || handoff.first_token.token_id as usize >= vocab_size {
            return Err("invalid_params");
        }
        Ok(handoff)
    }

    /// The token that the prefill worker chose.
    pub(super) fn first_choice(&self) -> Choice {
        let first = self.first_token.clone();
        Choice {
            token: first.token_id,
            logprob: first.log_prob,
            top: first.top_logprobs,
        }
    }
}

/// Waits until the engine says from which block on it needs the blocks of `ticket`, and fetches
/// them; releases them if none is needed, or if the request ends before that.
pub(super) async fn bring(
    ticket: Ticket,
    kv: KvIdentity,
    timeouts: FetchTimeouts,
    wanted: oneshot::Receiver<usize>,
) -> FetchResult {
    let first_block = wanted.await.unwrap_or(ticket.blocks);
    if first_block >= ticket.blocks {
        // If it fails, the lease ends by itself.
        release(&ticket, timeouts).await.ok();
        return Ok(Vec::new());
    }
    let plan = FetchPlan {
        fingerprint: &kv.fingerprint,
        block_len: kv.shape.block_len(),
        first_block,
        timeouts,
    };
    let blocks = fetch(&ticket, plan).await;
    blocks.map_err(|error| {
        tracing::warn!(%error, handle = ticket.handle, "failed to fetch kv blocks, computing the prompt here");
        error.reason()
    })
}
