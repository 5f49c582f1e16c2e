//! One request on its way through the engine.

use std::sync::Arc;

use tandem_kv_cache::tier::{Onboarding, Peer};
use tandem_kv_cache::{BlockId, BlockIdentity};
use tandem_protocol::engine::{EngineOutput, EngineRequest, FinishReason};
use tandem_protocol::kv::{HashScope, hash_blocks};
use tokio::sync::{mpsc, oneshot};

use super::adapters::LoadedAdapter;
use super::guided::Guide;
use super::limits::Limits;
use super::model::SamplingDefaults;
use super::sampling::{Choice, History, Sampler};
use super::speculation::Draft;
use crate::engine::{EngineCounters, EngineError};

/// What is to become of a sequence's blocks.
#[derive(Debug)]
pub(super) enum Role {
    /// Prompt and answer are computed here.
    Serve,
    /// Only the prompt is computed here; its blocks are held for another worker.
    Prefill,
    /// The prompt was computed elsewhere. The sender asks for its blocks, from the given one on;
    /// it is used when the sequence is admitted.
    Decode(Option<oneshot::Sender<usize>>),
}

/// A request with its state.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) id: u64,
    pub(super) role: Role,
    /// The prompt, then what was generated.
    pub(super) tokens: Vec<u32>,
    pub(super) prompt_len: usize,
    /// Tokens whose keys and values are in the blocks.
    pub(super) computed: usize,
    pub(super) blocks: Vec<BlockId>,
    /// Full blocks that are committed to the pool.
    pub(super) committed: usize,
    /// Whether it was preempted: it is counted and told about once.
    pub(super) readmitted: bool,
    /// Prompt tokens that were in a cache; told with the first output.
    pub(super) cached: Option<usize>,
    /// Blocks on their way from slower tiers: read ahead while it waits, awaited once it is
    /// admitted.
    pub(super) onboarding: Onboarding,
    /// Another worker that has its first blocks.
    pub(super) peer: Option<Peer>,
    identities: Vec<BlockIdentity>,
    /// What answers, if not the model by itself.
    pub(super) adapter: Option<Arc<LoadedAdapter>>,
    /// Keeps its blocks apart from those of other salts.
    cache_salt: Option<String>,
    /// What may come next, computed ahead.
    pub(super) draft: Draft,
    sampler: Sampler,
    /// What the answer has to look like.
    pub(super) guide: Option<Guide>,
    stop: StopRules,
    total_logprob: f64,
    outlet: mpsc::Sender<EngineOutput>,
}

#[derive(Debug)]
struct StopRules {
    eos: Vec<u32>,
    stops: Vec<u32>,
    min_tokens: usize,
    max_tokens: usize,
    /// What must not be chosen before `min_tokens`.
    early: Vec<u32>,
}

impl Sequence {
    /// Checks `request` and makes it a sequence, with the channel on which its outputs come.
    pub(super) fn new(
        id: u64,
        request: EngineRequest,
        limits: &Limits,
        defaults: &SamplingDefaults,
    ) -> Result<(Self, mpsc::Receiver<EngineOutput>), EngineError> {
        check(&request, limits)?;
        let adapter = limits.adapters.of(&request)?.cloned();
        let sampler = Sampler::new(&request, defaults);
        let prompt_len = request.token_ids.len();
        let stop = StopRules::new(&request, limits);
        // Every token fits, so the engine never waits for a slow reader.
        let (outlet, outputs) = mpsc::channel(stop.max_tokens + 1);
        let sequence = Self {
            id,
            role: Role::Serve,
            tokens: request.token_ids,
            prompt_len,
            computed: 0,
            blocks: Vec::new(),
            committed: 0,
            readmitted: false,
            cached: None,
            onboarding: Onboarding::default(),
            peer: None,
            identities: Vec::new(),
            adapter,
            cache_salt: request.cache_salt,
            draft: Draft::new(limits.speculation),
            sampler,
            guide: None,
            stop,
            total_logprob: 0.0,
            outlet,
        };
        Ok((sequence, outputs))
    }

    /// Whether nobody listens any more.
    pub(super) fn cancelled(&self) -> bool {
        self.outlet.is_closed()
    }

    /// Tokens still to compute before the next one can be chosen.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Whether it generates: only its newest token is to be computed.
    pub(super) fn decoding(&self) -> bool {
        self.pending() == 1 && self.tokens.len() > self.prompt_len
    }

    /// Tokens that may be generated.
    pub(super) fn max_tokens(&self) -> usize {
        self.stop.max_tokens
    }

    /// Most tokens that may be guessed: whatever comes, one more is chosen.
    pub(super) fn may_guess(&self) -> usize {
        if !self.decoding() {
            return 0;
        }
        let generated = self.tokens.len() - self.prompt_len;
        let left = self.stop.max_tokens.saturating_sub(generated + 1);
        self.draft.depth().min(left)
    }

    /// Guesses up to `most` tokens, and returns how many were guessed.
    pub(super) fn guess(&mut self, most: usize) -> usize {
        self.draft.guess(&self.tokens, most)
    }

    /// Forgets what was computed; its blocks are already given back.
    pub(super) fn start_over(&mut self) {
        self.computed = 0;
        self.committed = 0;
        self.blocks.clear();
    }

    /// Counts it, once, when it is known how much of its prompt need not be computed.
    pub(super) fn count_admission(&mut self, counters: &mut EngineCounters) {
        if self.readmitted {
            return;
        }
        self.readmitted = true;
        let cached_tokens = self.computed.min(self.prompt_len);
        counters.requests += 1;
        counters.prompt_tokens += self.prompt_len as u64;
        counters.cached_prompt_tokens += cached_tokens as u64;
        if self.tokens.len() == self.prompt_len {
            self.cached = Some(cached_tokens);
        }
    }

    /// Limits the answer to one token, as for a prefill.
    pub(super) fn only_first_token(&mut self) {
        self.role = Role::Prefill;
        self.stop.max_tokens = self.stop.max_tokens.min(1);
    }

    /// Identity of each full block of the tokens so far.
    pub(super) fn identities(&mut self, block_size: usize) -> &[BlockIdentity] {
        let known = self.identities.len() * block_size;
        let rest = &self.tokens[known..];
        let scope = HashScope {
            lora: self.adapter.as_ref().map(|adapter| &*adapter.name),
            cache_salt: self.cache_salt.as_deref(),
        };
        for local in hash_blocks(rest, block_size, scope) {
            let parent = self.identities.last().map(|identity| identity.sequence);
            self.identities.push(BlockIdentity::after(parent, local));
        }
        &self.identities
    }

    /// The full blocks whose content may be reused: at least one token must be computed to know
    /// what comes next.
    pub(super) fn reusable(&mut self, block_size: usize) -> Vec<BlockIdentity> {
        let most = (self.tokens.len() - 1) / block_size;
        let identities = self.identities(block_size);
        identities[..most.min(identities.len())].to_vec()
    }

    /// Chooses the next token; `logits` are overwritten.
    pub(super) fn choose(&self, logits: &mut [f32]) -> Choice {
        let (prompt, output) = self.tokens.split_at(self.prompt_len);
        let early = output.len() < self.stop.min_tokens;
        let banned = if early { &*self.stop.early } else { &[] };
        let allowed = self.guide.as_ref().map(|guide| guide.allowed());
        let history = History {
            prompt,
            output,
            banned,
            allowed: allowed.as_ref(),
        };
        self.sampler.choose(logits, history)
    }

    /// Goes on by the token that `choose` returns and, as long as it was guessed right, by those
    /// after it.
    pub(super) fn advance(
        &mut self,
        mut choose: impl FnMut(&Self) -> Option<Choice>,
    ) -> Option<EngineOutput> {
        let guesses = self.draft.take();
        let choice = choose(self)?;
        let mut output = self.accept(choice);
        let mut right = 0;
        for guess in &guesses {
            if output.finish_reason.is_some() || self.tokens.last() != Some(guess) {
                break;
            }
            right += 1;
            let choice = choose(self)?;
            append(&mut output, self.accept(choice));
        }
        self.draft.learn(right, guesses.len());
        Some(output)
    }

    /// Appends a chosen token and says what to tell about it.
    pub(super) fn accept(&mut self, choice: Choice) -> EngineOutput {
        self.tokens.push(choice.token);
        self.total_logprob += choice.logprob.unwrap_or(0.0);
        let generated = self.tokens.len() - self.prompt_len;
        let cached = self.cached.take();
        let finish = self.stop.finish(choice.token, generated);
        let guided = self.guide.as_ref();
        let guided = guided.and_then(|guide| guide.accept(choice.token));
        EngineOutput {
            token_ids: vec![choice.token],
            cum_log_probs: choice.logprob.map(|_| self.total_logprob),
            log_probs: choice.logprob.map(|logprob| vec![logprob]),
            top_logprobs: choice
                .top
                .filter(|top| !top.is_empty())
                .map(|top| vec![top]),
            finish_reason: guided.or(finish),
            cached_tokens: cached.and_then(|tokens| u32::try_from(tokens).ok()),
            ..EngineOutput::default()
        }
    }

    /// Sends an output. A reader that is gone is noticed by the next step.
    pub(super) fn tell(&self, output: EngineOutput) {
        self.outlet.try_send(output).ok();
    }
}

/// Appends what is told of one more token.
fn append(output: &mut EngineOutput, next: EngineOutput) {
    fn extend<T>(all: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
        if let (Some(all), Some(more)) = (all, more) {
            all.extend(more);
        }
    }
    output.token_ids.extend(next.token_ids);
    extend(&mut output.log_probs, next.log_probs);
    extend(&mut output.top_logprobs, next.top_logprobs);
    output.cum_log_probs = next.cum_log_probs;
    output.finish_reason = next.finish_reason;
}

impl StopRules {
    fn new(request: &EngineRequest, limits: &Limits) -> Self {
        let conditions = &request.stop_conditions;
        let eos = match (conditions.ignore_eos, &*request.eos_token_ids) {
            (Some(true), _) => Vec::new(),
            (_, []) => limits.eos_token_ids.clone(),
            (_, named) => named.to_vec(),
        };
        let stops = match conditions.ignore_eos {
            Some(true) => Vec::new(),
            _ => conditions.stop_token_ids_hidden.clone().unwrap_or_default(),
        };
        let room = limits.context_length - request.token_ids.len();
        let asked = conditions.max_tokens.map_or(room, |tokens| tokens as usize);
        Self {
            early: eos.iter().chain(&stops).copied().collect(),
            eos,
            stops,
            min_tokens: conditions.min_tokens.unwrap_or(0) as usize,
            max_tokens: asked.min(room),
        }
    }

    fn finish(&self, token: u32, generated: usize) -> Option<FinishReason> {
        let may_stop = generated >= self.min_tokens;
        if may_stop && self.eos.contains(&token) {
            return Some(FinishReason::Eos);
        }
        if may_stop && self.stops.contains(&token) {
            return Some(FinishReason::Stop);
        }
        (generated >= self.max_tokens).then_some(FinishReason::Length)
    }
}

/// Whether this engine can take `request`.
pub(super) fn check(request: &EngineRequest, limits: &Limits) -> Result<(), EngineError> {
    let tokens = request.token_ids.len();
    if tokens == 0 {
        return Err(EngineError::Invalid("prompt is empty".to_owned()));
    }
    if tokens >= limits.context_length {
        let limit = limits.context_length;
        return Err(EngineError::PromptTooLong { tokens, limit });
    }
    let unknown = |&&token: &&u32| token as usize >= limits.vocab_size;
    if let Some(token) = request.token_ids.iter().find(unknown) {
        let size = limits.vocab_size;
        let message = format!("token {token} is outside the vocabulary of {size}");
        return Err(EngineError::Invalid(message));
    }
    if request.sampling_options.use_beam_search == Some(true) {
        return Err(EngineError::Unsupported("beam search"));
    }
    limits.adapters.of(request).map(drop)
}
