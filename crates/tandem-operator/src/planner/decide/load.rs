//! Following the workers' load within thresholds: one more when it is high, one less when it is low
//! and the others can take it over.

use super::{Need, Observation, Policy, Reason, known};
use crate::planner::role::{PerRole, Role};

/// Thresholds of load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadTarget {
    /// Waiting requests per prefill worker.
    pub queue: Thresholds,
    /// Share of the decode workers' KV blocks in use.
    pub kv_usage: Thresholds,
}

/// When there are too few or too many workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Over it, there are too few.
    pub up: f64,
    /// Under it, there are too many, unless one less would be over the other.
    pub down: f64,
}

impl Default for LoadTarget {
    /// The thresholds of Dynamo's load-based planner.
    fn default() -> Self {
        Self {
            queue: Thresholds { up: 5.0, down: 0.2 },
            kv_usage: Thresholds { up: 0.9, down: 0.5 },
        }
    }
}

/// One figure of a role's load, of which every worker has its part.
#[derive(Debug, Clone, Copy)]
struct Figure {
    what: &'static str,
    /// Per worker.
    value: Option<f64>,
    thresholds: Thresholds,
}

pub(super) fn needs(target: &LoadTarget, seen: &Observation, policy: &Policy) -> PerRole<Need> {
    PerRole::of(|role| {
        let current = seen.replicas.get(role).unwrap_or(0);
        let queue = Figure {
            what: "waiting requests per worker",
            value: seen
                .pressure
                .waiting
                .and_then(known)
                .map(|waiting| waiting / f64::from(current.max(1))),
            thresholds: target.queue,
        };
        let kv_usage = Figure {
            what: "KV usage",
            value: seen.pressure.kv_usage.and_then(known),
            thresholds: target.kv_usage,
        };
        match role {
            Role::Prefill => need(&[queue], current),
            Role::Decode if policy.limits.prefill.is_some() => need(&[kv_usage], current),
            Role::Decode => need(&[kv_usage, queue], current),
        }
    })
}

/// Any figure that is high asks for more; all have to be low to ask for less.
fn need(figures: &[Figure], current: u32) -> Need {
    let mut low = None;
    let mut balanced = None;
    for figure in figures {
        let Figure {
            what,
            thresholds: Thresholds { up, down },
            ..
        } = *figure;
        let Some(value) = figure.value else {
            balanced.get_or_insert(Reason::NoData { what });
            continue;
        };
        if value > up {
            let over = up;
            return Need {
                workers: Some(current.saturating_add(1)),
                reason: Reason::Busy { what, value, over },
            };
        }
        let others = f64::from(current.saturating_sub(1));
        let taken_over = value * f64::from(current) / others;
        // Without others, what is under way stays where it is.
        let fits = if others > 0.0 {
            taken_over <= up
        } else {
            value <= 0.0
        };
        if value < down && fits {
            let under = down;
            low.get_or_insert(Reason::Idle { what, value, under });
        } else {
            balanced = Some(Reason::Balanced { what, value });
        }
    }
    match (balanced, low) {
        (Some(reason @ Reason::NoData { .. }), _) => Need {
            workers: None,
            reason,
        },
        (None, Some(reason)) => Need {
            workers: Some(current.saturating_sub(1)),
            reason,
        },
        (Some(reason), _) => Need {
            workers: Some(current),
            reason,
        },
        (None, None) => Need {
            workers: None,
            reason: Reason::NoData { what: "load" },
        },
    }
}
