//! What an engine tells about itself.

use std::collections::BTreeMap;

use tandem_kv_cache::tier::TierFigures;

/// What does not change while an engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Tokens per KV block.
    pub block_size: usize,
    /// KV blocks.
    pub total_blocks: usize,
    /// Sequences that run at a time.
    pub max_sequences: usize,
    /// Longest sequence, prompt and answer together.
    pub context_length: usize,
    /// Tokens per step.
    pub max_batched_tokens: usize,
    /// Tokens that end a sequence if the request names none.
    pub eos_token_ids: Vec<u32>,
    /// Names of its LoRA adapters.
    pub adapters: Vec<String>,
}

/// How busy an engine is, or one of its data-parallel ranks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineLoad {
    /// Sequences that are computed or whose blocks are being fetched.
    pub running: usize,
    /// Requests that wait to run.
    pub waiting: usize,
    /// KV blocks in use, by sequences or for transfers to other workers.
    pub active_blocks: usize,
    /// KV blocks that are not in use but can be reused.
    pub cached_blocks: usize,
    /// KV blocks.
    pub total_blocks: usize,
    /// What happened since the start.
    pub counters: EngineCounters,
    /// The tiers below the KV blocks.
    pub tiers: Vec<TierFigures>,
}

impl EngineLoad {
    /// Share of the KV blocks in use.
    pub fn kv_usage(&self) -> f64 {
        ratio(self.active_blocks as u64, self.total_blocks as u64)
    }

    /// Share of the prompt tokens whose KV was reused.
    pub fn prefix_hit_rate(&self) -> f64 {
        ratio(
            self.counters.cached_prompt_tokens,
            self.counters.prompt_tokens,
        )
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// What happened since an engine started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineCounters {
    /// Requests admitted to run, not counting readmissions after preemption.
    pub requests: u64,
    /// Tokens in the prompts of admitted requests.
    pub prompt_tokens: u64,
    /// Of those, tokens whose KV was in this engine's prefix cache.
    pub cached_prompt_tokens: u64,
    /// Prompt tokens that went through the model, again after preemption.
    pub prefill_tokens_computed: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Tokens that were guessed, and computed ahead.
    pub draft_tokens: u64,
    /// Of those, the ones that were right.
    pub accepted_draft_tokens: u64,
    /// Forward passes.
    pub steps: u64,
    /// Sequences put back because the KV blocks ran out.
    pub preemptions: u64,
    /// Prompts whose KV blocks came from another worker, or needed not to.
    pub remote_prefills: u64,
    /// Blocks given to other workers that would have had to compute them.
    pub peer_blocks_served: u64,
    /// Prompts computed here because their blocks did not come, by reason.
    pub remote_prefill_fallbacks: BTreeMap<&'static str, u64>,
}
