//! How many workers of each role there should be: a pure function of what was seen, what is
//! remembered and what is wanted.
//!
//! A target answers how many workers the traffic needs; what follows is the same for all targets.
//! In this order, later ones having the last word: no hasty steps, no worker given up for a
//! moment's lull, the limits of each role, and the GPUs that there are. What is not known changes
//! nothing.

mod budget;
mod load;
mod reason;
mod sla;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::role::{PerRole, Role};

pub use load::LoadTarget;
pub use reason::Reason;
pub use sla::SlaTarget;

/// What was seen in one interval. Figures that are not finite or negative count as not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Observation {
    /// When, from any origin that stays the same.
    pub at: Duration,
    /// Workers asked for now, of each role.
    pub replicas: PerRole<Option<u32>>,
    /// What clients asked for.
    pub traffic: Option<Traffic>,
    /// What they got.
    pub latency: Latency,
    /// How busy the workers are.
    pub pressure: Pressure,
}

/// The requests of one interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Requests per second.
    pub rate: f64,
    /// Mean prompt, in tokens; not a number where there were no requests.
    pub prompt_tokens: f64,
    /// Mean answer, in tokens; likewise.
    pub answer_tokens: f64,
}

/// Mean times of one interval, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    /// Until the first token.
    pub first_token: Option<f64>,
    /// Between tokens.
    pub inter_token: Option<f64>,
    /// Until the last token.
    pub request: Option<f64>,
}

/// How busy the workers are, at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Requests that wait for their first token.
    pub waiting: Option<f64>,
    /// Share of the decode workers' KV blocks in use.
    pub kv_usage: Option<f64>,
}

/// What decides, and within which bounds.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What the number of workers follows.
    pub target: Target,
    /// Bounds of each role; a role without is not planned. Without prefill workers, the decode
    /// workers compute the prompts.
    pub limits: PerRole<Option<Limits>>,
    /// GPUs that all workers together may have.
    pub gpu_budget: Option<u32>,
    /// How fast things may change.
    pub pace: Pace,
}

/// What the number of workers follows.
#[derive(Debug, Clone)]
pub enum Target {
    /// The workers' load, within thresholds.
    Load(LoadTarget),
    /// The times that clients are to get.
    Sla(Box<SlaTarget>),
}

/// Bounds of one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fewest workers.
    pub min: u32,
    /// Most workers.
    pub max: u32,
    /// GPUs that one worker takes.
    pub gpus: u32,
}

/// How fast things may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Most workers to add or remove at a time.
    pub max_step: u32,
    /// Least time between two changes of a role.
    pub cooldown: Duration,
    /// How long fewer workers have to be enough before some are given up.
    pub stabilization: Duration,
}

/// What is remembered from one decision to the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    traffic: VecDeque<Traffic>,
    roles: PerRole<Memory>,
}

/// What is remembered of one role.
#[derive(Debug, Clone, Default, PartialEq)]
struct Memory {
    changed_at: Option<Duration>,
    /// How many workers would have been enough, and when.
    needed: VecDeque<(Duration, u32)>,
}

/// What should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// For each role that is planned.
    pub roles: PerRole<Option<RoleDecision>>,
    /// To be passed to the next decision.
    pub state: State,
}

/// What should be of one role.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleDecision {
    /// Workers asked for now, if that is known.
    pub current: Option<u32>,
    /// Workers to ask for; as now if that is not known.
    pub target: Option<u32>,
    /// Why, the first cause first.
    pub reasons: Vec<Reason>,
}

/// How many workers a target asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Need {
    /// `None` if what that takes is not known.
    workers: Option<u32>,
    reason: Reason,
}

impl Decision {
    /// The roles that should change, with the number of workers to ask for.
    pub fn changes(&self) -> impl Iterator<Item = (Role, u32)> {
        Role::ALL.into_iter().filter_map(|role| {
            let decision = self.roles.get(role).as_ref()?;
            let target = decision.target?;
            (Some(target) != decision.current).then_some((role, target))
        })
    }
}

impl fmt::Display for Decision {
    /// `prefill 1 -> 2 (why); decode 3 (why)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let planned = Role::ALL.into_iter().filter_map(|role| {
            let decision = self.roles.get(role).as_ref()?;
            Some((role, decision))
        });
        for (index, (role, decision)) in planned.enumerate() {
            let between = if index > 0 { "; " } else { "" };
            write!(out, "{between}{role} {decision}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RoleDecision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.current, self.target) {
            (Some(current), Some(target)) if current != target => {
                write!(out, "{current} -> {target}")?;
            }
            (Some(current), _) => write!(out, "{current}")?,
            (None, _) => write!(out, "?")?,
        }
        for (index, reason) in self.reasons.iter().enumerate() {
            write!(out, "{}{reason}", if index > 0 { ", " } else { " (" })?;
        }
        write!(out, "{}", if self.reasons.is_empty() { "" } else { ")" })
    }
}

impl Policy {
    fn planned(&self) -> impl Iterator<Item = (Role, Limits)> {
        let limits = |role: Role| self.limits.get(role).map(|limits| (role, limits));
        Role::ALL.into_iter().filter_map(limits)
    }
}

/// Decides how many workers there should be.
pub fn decide(seen: &Observation, state: &State, policy: &Policy) -> Decision {
    let mut state = state.clone();
    let needs = match &policy.target {
        Target::Load(target) => load::needs(target, seen, policy),
        Target::Sla(target) => {
            remember_traffic(&mut state, seen, target.memory());
            sla::needs(target, seen, state.traffic.make_contiguous(), policy)
        }
    };
    let unknown = |(role, _): (Role, Limits)| seen.replicas.get(role).is_none();
    if policy.planned().any(unknown) {
        return keep(seen, policy, state);
    }
    let mut roles = PerRole::of(|role| {
        let (limits, current) = (
            policy.limits.get(role).as_ref()?,
            (*seen.replicas.get(role))?,
        );
        let (need, memory) = (needs.get(role), state.roles.get_mut(role));
        Some(settle(
            current,
            *need,
            (seen.at, policy.pace),
            *limits,
            memory,
        ))
    });
    budget::fit(&mut roles, policy);
    for (role, _) in policy.planned() {
        let Some(decision) = roles.get(role) else {
            continue;
        };
        if decision.target != decision.current {
            state.roles.get_mut(role).changed_at = Some(seen.at);
        }
    }
    Decision { roles, state }
}

/// Nothing changes, because nobody knows how many workers there are.
fn keep(seen: &Observation, policy: &Policy, state: State) -> Decision {
    let decision = |role: Role| {
        policy.limits.get(role).map(|_| RoleDecision {
            current: *seen.replicas.get(role),
            target: *seen.replicas.get(role),
            reasons: vec![Reason::UnknownReplicas],
        })
    };
    Decision {
        roles: PerRole::of(decision),
        state,
    }
}

fn remember_traffic(state: &mut State, seen: &Observation, memory: usize) {
    let Some(traffic) = seen.traffic.filter(|traffic| known(traffic.rate).is_some()) else {
        return;
    };
    state.traffic.push_back(traffic);
    let excess = state.traffic.len().saturating_sub(memory.max(1));
    state.traffic.drain(..excess);
}

/// How far a role goes towards what it needs, now.
fn settle(
    current: u32,
    need: Need,
    (now, pace): (Duration, Pace),
    limits: Limits,
    memory: &mut Memory,
) -> RoleDecision {
    let mut reasons = vec![need.reason];
    let Some(workers) = need.workers else {
        return RoleDecision {
            current: Some(current),
            target: Some(current),
            reasons,
        };
    };
    let bounded = limits.bound(workers);
    if bounded != workers {
        reasons.push(Reason::Limits {
            min: limits.min,
            max: limits.max,
        });
    }
    let enough = memory.enough(current, bounded, now, pace.stabilization);
    let mut target = bounded;
    if target < current && enough > target {
        target = enough.min(current);
        reasons.push(Reason::Stabilizing {
            enough,
            window: pace.stabilization,
        });
    }
    let cooling = memory.changed_at.and_then(|changed_at| {
        (changed_at + pace.cooldown)
            .checked_sub(now)
            .filter(|left| !left.is_zero())
    });
    if let Some(left) = cooling.filter(|_| target != current) {
        target = current;
        reasons.push(Reason::Cooldown { left });
    }
    let step = pace.max_step.max(1);
    let near = target.clamp(current.saturating_sub(step), current.saturating_add(step));
    if near != target {
        target = near;
        reasons.push(Reason::Step { most: step });
    }
    RoleDecision {
        current: Some(current),
        // Limits hold however many there are, and at once.
        target: Some(limits.bound(target)),
        reasons,
    }
}

impl Limits {
    fn bound(&self, workers: u32) -> u32 {
        workers.min(self.max).max(self.min)
    }
}

impl Memory {
    /// How many workers were enough all the time since `window` ago.
    fn enough(&mut self, current: u32, needed: u32, now: Duration, window: Duration) -> u32 {
        if self.needed.is_empty() {
            // What was needed before is not known, but that was not more than there was.
            self.needed.push_back((now, current));
        }
        self.needed.push_back((now, needed));
        let old = |&(at, _): &(Duration, u32)| at + window <= now;
        let first = self.needed.iter().take_while(|entry| old(entry)).count();
        // The last one stays even if the window is empty.
        self.needed.drain(..first.min(self.needed.len() - 1));
        self.needed
            .iter()
            .map(|entry| entry.1)
            .max()
            .unwrap_or(needed)
    }
}

/// A figure that says something.
fn known(figure: f64) -> Option<f64> {
    (figure.is_finite() && figure >= 0.0).then_some(figure)
}

/// Whole workers that do the work of `share` of one.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and nobody has that many"
)]
fn whole(share: f64) -> u32 {
    // What is a hair over a whole number comes from rounding.
    (share - 1e-9).ceil().max(0.0) as u32
}

#[cfg(test)]
mod tests;
