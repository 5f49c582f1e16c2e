//! Choosing the next token.

use std::cmp::Ordering;

use rustc_hash::{FxHashMap, FxHashSet};
use tandem_protocol::engine::{EngineRequest, TopLogprob};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::guided::Allowed;
use super::model::SamplingDefaults;

/// How one request's tokens are chosen.
///
/// The choice depends on the logits, the tokens so far, the seed and the number of the token, and
/// on nothing else: not on what else runs, nor on where earlier tokens were chosen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    repetition: f32,
    presence: f32,
    frequency: f32,
    seed: u64,
    /// Alternatives to report; `None` reports nothing.
    logprobs: Option<usize>,
}

/// The tokens so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct History<'a> {
    pub(super) prompt: &'a [u32],
    pub(super) output: &'a [u32],
    /// Tokens that must not come next.
    pub(super) banned: &'a [u32],
    /// The only ones that may, if not all. What is banned may if nothing else is left of them.
    pub(super) allowed: Option<&'a Allowed>,
}

/// A chosen token.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub(super) token: u32,
    pub(super) logprob: Option<f64>,
    pub(super) top: Option<Vec<TopLogprob>>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    token: u32,
    logit: f32,
}

impl Sampler {
    pub(super) fn new(request: &EngineRequest, defaults: &SamplingDefaults) -> Self {
        let options = &request.sampling_options;
        let top_k = options.top_k.or(defaults.top_k).unwrap_or(0);
        Self {
            temperature: options.temperature.or(defaults.temperature).unwrap_or(1.0),
            top_k: usize::try_from(top_k).unwrap_or(0),
            top_p: options.top_p.or(defaults.top_p).unwrap_or(1.0),
            min_p: options.min_p.unwrap_or(0.0),
            repetition: options
                .repetition_penalty
                .or(defaults.repetition_penalty)
                .unwrap_or(1.0),
            presence: options.presence_penalty.unwrap_or(0.0),
            frequency: options.frequency_penalty.unwrap_or(0.0),
            seed: options.seed.map_or_else(rand::random, i64::cast_unsigned),
            logprobs: request.output_options.logprobs.map(|count| count as usize),
        }
    }

    /// Chooses a token; `logits` are overwritten.
    pub(super) fn choose(&self, logits: &mut [f32], history: History<'_>) -> Choice {
        let raw = self.logprobs.map(|_| log_total(logits));
        let top = self
            .logprobs
            .zip(raw)
            .map(|(count, total)| best(logits, count, total));
        let mut chosen_raw = None;
        let pick = |logits: &[f32]| {
            if self.temperature <= 0.0 {
                return argmax(logits);
            }
            self.sample(logits, history.output.len())
        };
        let token = if self.leaves_logits(history) {
            pick(logits)
        } else {
            let untouched = raw.map(|_| logits.to_vec());
            self.penalise(logits, history);
            let token = pick(logits);
            chosen_raw = untouched.map(|untouched| untouched[token as usize]);
            token
        };
        let logit = chosen_raw.unwrap_or(logits[token as usize]);
        Choice {
            token,
            logprob: raw.map(|total| f64::from(logit) - total),
            top,
        }
    }

    fn leaves_logits(&self, history: History<'_>) -> bool {
        let plain = self.repetition == 1.0 && self.presence == 0.0 && self.frequency == 0.0;
        plain && history.banned.is_empty() && history.allowed.is_none()
    }

    fn penalise(&self, logits: &mut [f32], history: History<'_>) {
        if self.repetition != 1.0 {
            let seen: FxHashSet<_> = history.prompt.iter().chain(history.output).collect();
            for &token in seen {
                let Some(logit) = logits.get_mut(token as usize) else {
                    continue;
                };
                *logit = if *logit > 0.0 {
                    *logit / self.repetition
                } else {
                    *logit * self.repetition
                };
            }
        }
        if self.presence != 0.0 || self.frequency != 0.0 {
            let mut counts = FxHashMap::<u32, f32>::default();
            for &token in history.output {
                *counts.entry(token).or_default() += 1.0;
            }
            for (token, count) in counts {
                if let Some(logit) = logits.get_mut(token as usize) {
                    *logit -= self.presence + self.frequency * count;
                }
            }
        }
        if let Some(allowed) = history.allowed {
            allowed.apply(logits);
        }
        if history
            .allowed
            .is_some_and(|allowed| allowed.is_among(history.banned))
        {
            return;
        }
        for &token in history.banned {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    fn sample(&self, logits: &[f32], index: usize) -> u32 {
        let best = argmax(logits);
        let max = logits[best as usize];
        // Also drops what cannot be chosen anyway and NaN.
        let floor = max + self.temperature * self.min_p.ln().max(-80.0);
        let mut candidates: Vec<_> = (0_u32..)
            .zip(logits)
            .filter(|&(_, &logit)| logit >= floor)
            .map(|(token, &logit)| Candidate { token, logit })
            .collect();
        if self.top_k > 0 && self.top_k < candidates.len() {
            candidates.select_nth_unstable_by(self.top_k - 1, better);
            candidates.truncate(self.top_k);
            candidates.sort_unstable_by_key(|candidate| candidate.token);
        }
        let weight = |candidate: &Candidate| {
            (f64::from(candidate.logit - max) / f64::from(self.temperature)).exp()
        };
        if self.top_p < 1.0 {
            nucleus(&mut candidates, f64::from(self.top_p), weight);
        }
        let total: f64 = candidates.iter().map(weight).sum();
        let mut left = uniform(self.seed, index) * total;
        for candidate in &candidates {
            left -= weight(candidate);
            if left < 0.0 {
                return candidate.token;
            }
        }
        // Rounding may leave a crumb.
        candidates.last().map_or(best, |candidate| candidate.token)
    }
}

/// Keeps the fewest best candidates whose weights make up `mass` of the whole.
fn nucleus(candidates: &mut Vec<Candidate>, mass: f64, weight: impl Fn(&Candidate) -> f64) {
    let wanted = mass * candidates.iter().map(&weight).sum::<f64>();
    let mut head = 64;
    loop {
        let whole = head >= candidates.len();
        if !whole {
            candidates.select_nth_unstable_by(head, better);
        }
        let head_len = head.min(candidates.len());
        candidates[..head_len].sort_unstable_by(better);
        let mut sum = 0.0;
        for (index, candidate) in candidates[..head_len].iter().enumerate() {
            sum += weight(candidate);
            if sum >= wanted {
                candidates.truncate(index + 1);
                return;
            }
        }
        if whole {
            return;
        }
        head *= 8;
    }
}

fn better(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// The first of the largest.
fn argmax(logits: &[f32]) -> u32 {
    let (mut best, mut max) = (0, f32::NEG_INFINITY);
    for (token, &logit) in (0_u32..).zip(logits) {
        if logit > max {
            (best, max) = (token, logit);
        }
    }
    best
}

/// Logarithm of the sum of exponentials.
fn log_total(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|&logit| f64::from((logit - max).exp()))
        .sum();
    f64::from(max) + sum.ln()
}

fn best(logits: &[f32], count: usize, total: f64) -> Vec<TopLogprob> {
    let mut candidates: Vec<_> = (0_u32..)
        .zip(logits)
        .map(|(token, &logit)| Candidate { token, logit })
        .collect();
    let count = count.min(candidates.len());
    if count > 0 && count < candidates.len() {
        candidates.select_nth_unstable_by(count, better);
    }
    candidates.truncate(count);
    candidates.sort_unstable_by(better);
    let report = |candidate: Candidate| TopLogprob {
        token_id: candidate.token,
        logprob: f64::from(candidate.logit) - total,
    };
    candidates.into_iter().map(report).collect()
}

/// A number in 0..1 that only seed and index decide.
fn uniform(seed: u64, index: usize) -> f64 {
    let bits = xxh3_64_with_seed(&index.to_le_bytes(), seed) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
