//! Following the traffic: as many workers as keep the times that clients are to get, by what a
//! profile says that one worker can do.
//!
//! The steps are those of Dynamo's SLA planner: predict the next interval, correct the profile by
//! how the measured times compare with it, and divide the expected tokens by what one worker does
//! within the target. That planner's prefill workers may be busy all the time; ours leave as much
//! time free as the time to the first token needs.

use super::{Need, Observation, Policy, Reason, Traffic, known, whole};
use crate::planner::predict::Predictor;
use crate::planner::profile::Profile;
use crate::planner::role::{PerRole, Role};

/// Corrections beyond it say more about a stall than about the workers.
const MOST_CORRECTION: f64 = 10.0;

/// Prefill workers need not be idle for longer: if a prompt has to wait too long even then, the
/// prompt itself takes too long, and more workers would not help.
const LEAST_UTILIZATION: f64 = 0.5;

/// Times that clients are to get, and what workers can do.
#[derive(Debug, Clone)]
pub struct SlaTarget {
    /// Time to the first token, in seconds.
    pub first_token: f64,
    /// Time between tokens, in seconds.
    pub inter_token: f64,
    /// How the next interval is predicted.
    pub predictor: Predictor,
    /// Whether the profile is corrected by measured times.
    pub correct: bool,
    /// What one worker can do.
    pub profile: Profile,
}

impl SlaTarget {
    /// Intervals that the predictor looks back.
    pub(super) fn memory(&self) -> usize {
        self.predictor.memory()
    }

    fn forecast(&self, history: &[Traffic]) -> Option<Traffic> {
        let predict = |figure: fn(&Traffic) -> f64| {
            // An interval without requests has no lengths, which are not 0 for that.
            let lengths = history.iter().map(figure);
            self.predictor.predict(lengths)
        };
        Some(Traffic {
            rate: predict(|traffic| traffic.rate)?,
            prompt_tokens: predict(|traffic| traffic.prompt_tokens).unwrap_or(f64::NAN),
            answer_tokens: predict(|traffic| traffic.answer_tokens).unwrap_or(f64::NAN),
        })
    }

    /// Share of their time that prefill workers may be busy so that a prompt of so many tokens has
    /// its first token in time. Before a worker that takes `s` for each prompt, prompts that come at
    /// random wait for `s * u / (2 * (1 - u))` on average if it is busy for a share `u` of its time
    /// (Pollaczek and Khinchine).
    fn utilization(&self, prompt_tokens: f64, correction: f64) -> f64 {
        let alone = self.profile.prefill.first_token(prompt_tokens) * correction;
        let patience = 2.0 * (self.first_token / alone - 1.0);
        if patience > 0.0 {
            (patience / (1.0 + patience)).max(LEAST_UTILIZATION)
        } else {
            LEAST_UTILIZATION
        }
    }

    /// Measured over expected time to the first token.
    fn prefill_correction(&self, seen: &Observation) -> f64 {
        let ratio = || {
            let prompt = seen.traffic?.prompt_tokens;
            let measured = seen.latency.first_token.and_then(known)?;
            Some(measured / self.profile.prefill.first_token(known(prompt)?))
        };
        self.correction(ratio())
    }

    /// Measured over expected time between tokens.
    fn decode_correction(&self, seen: &Observation) -> f64 {
        let ratio = || {
            let traffic = seen.traffic?;
            let workers = f64::from((*seen.replicas.get(Role::Decode))?.max(1));
            let duration = seen.latency.request.and_then(known)?;
            let concurrency = known(traffic.rate)? * duration / workers;
            let context = known(context(&traffic))?;
            let expected = self
                .profile
                .decode
                .inter_token(concurrency * context, context);
            Some(seen.latency.inter_token.and_then(known)? / expected)
        };
        self.correction(ratio())
    }

    fn correction(&self, ratio: Option<f64>) -> f64 {
        let usable = ratio.filter(|ratio| self.correct && ratio.is_finite() && *ratio > 0.0);
        usable.map_or(1.0, |ratio| {
            ratio.clamp(1.0 / MOST_CORRECTION, MOST_CORRECTION)
        })
    }
}

/// Tokens whose KV a request holds halfway through its answer.
fn context(traffic: &Traffic) -> f64 {
    traffic.prompt_tokens + traffic.answer_tokens / 2.0
}

/// Needs of each role; `history` ends with the traffic of this interval, if that is known.
pub(super) fn needs(
    target: &SlaTarget,
    seen: &Observation,
    history: &[Traffic],
    policy: &Policy,
) -> PerRole<Need> {
    let all = |workers, reason| PerRole::of(|_| Need { workers, reason });
    let rate = seen.traffic.and_then(|traffic| known(traffic.rate));
    let Some(next) = rate.and_then(|_| target.forecast(history)) else {
        return all(None, Reason::NoData { what: "traffic" });
    };
    if next.rate <= 0.0 {
        return all(Some(0), Reason::NoTraffic);
    }
    if known(next.prompt_tokens).is_none() || known(next.answer_tokens).is_none() {
        return all(
            None,
            Reason::NoData {
                what: "lengths of prompts and answers",
            },
        );
    }
    let gpus = |role: Role| {
        policy
            .limits
            .get(role)
            .map_or(1.0, |limits| f64::from(limits.gpus.max(1)))
    };
    let correction = target.prefill_correction(seen);
    // Cached prompts take less than the profile says; a queue does not make prompts longer.
    let tokens = next.rate * next.prompt_tokens * correction.min(1.0);
    let decode_gpus = gpus(Role::Decode);
    let prefill_gpus = policy
        .limits
        .prefill
        .map_or(decode_gpus, |_| gpus(Role::Prefill));
    let utilization = target.utilization(next.prompt_tokens, correction.min(1.0));
    let each = target.profile.prefill.throughput(next.prompt_tokens) * prefill_gpus * utilization;
    let prefill = tokens / each;
    let prefill_reason = Reason::Traffic {
        rate: next.rate,
        tokens,
        each,
        correction,
    };

    let correction = target.decode_correction(seen);
    let within = target.inter_token / correction;
    let tokens = next.rate * next.answer_tokens;
    let each = target
        .profile
        .decode
        .throughput_within(within, context(&next))
        * decode_gpus;
    let decode = tokens / each;
    let decode_reason = Reason::Traffic {
        rate: next.rate,
        tokens,
        each,
        correction,
    };

    let together = if policy.limits.prefill.is_some() {
        decode
    } else {
        prefill + decode
    };
    PerRole {
        prefill: Need {
            workers: Some(whole(prefill)),
            reason: prefill_reason,
        },
        decode: Need {
            workers: Some(whole(together)),
            reason: decode_reason,
        },
    }
}
