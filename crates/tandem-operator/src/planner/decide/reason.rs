//! Why a number of workers was chosen, for people.

use std::fmt;
use std::time::Duration;

/// A step on the way to a number of workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// Nobody says how many workers there are.
    UnknownReplicas,
    /// What the target needs was not measured.
    NoData {
        /// What.
        what: &'static str,
    },
    /// There was no traffic and none is expected.
    NoTraffic,
    /// A figure of load is over its upper threshold.
    Busy {
        /// Which figure.
        what: &'static str,
        /// The figure.
        value: f64,
        /// The threshold.
        over: f64,
    },
    /// The figures of load are low enough for one worker less.
    Idle {
        /// Which figure.
        what: &'static str,
        /// The figure.
        value: f64,
        /// The threshold.
        under: f64,
    },
    /// The figures of load are where they should be.
    Balanced {
        /// Which figure.
        what: &'static str,
        /// The figure.
        value: f64,
    },
    /// The expected traffic takes so much.
    Traffic {
        /// Expected requests per second.
        rate: f64,
        /// Tokens per second of the role's work.
        tokens: f64,
        /// Tokens per second that one worker does within the target.
        each: f64,
        /// Measured time over the profile's.
        correction: f64,
    },
    /// The role's limits.
    Limits {
        /// Fewest workers.
        min: u32,
        /// Most workers.
        max: u32,
    },
    /// So many were needed not long ago.
    Stabilizing {
        /// How many.
        enough: u32,
        /// How long that counts.
        window: Duration,
    },
    /// The last change is too recent.
    Cooldown {
        /// Time until the next one.
        left: Duration,
    },
    /// Not all at once.
    Step {
        /// Most workers at a time.
        most: u32,
    },
    /// All GPUs are given out.
    Budget {
        /// How many there are.
        gpus: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownReplicas => write!(out, "the number of workers is not known"),
            Self::NoData { what } => write!(out, "{what} not known"),
            Self::NoTraffic => write!(out, "no traffic"),
            Self::Busy { what, value, over } => write!(out, "{what} {value:.2} is over {over}"),
            Self::Idle { what, value, under } => write!(out, "{what} {value:.2} is under {under}"),
            Self::Balanced { what, value } => write!(out, "{what} {value:.2} is within bounds"),
            Self::Traffic {
                rate,
                tokens,
                each,
                correction,
            } => write!(
                out,
                "{rate:.2} requests/s need {tokens:.0} tokens/s, a worker does {each:.0} \
                 (correction {correction:.2})"
            ),
            Self::Limits { min, max } if max == u32::MAX => write!(out, "at least {min}"),
            Self::Limits { min, max } => write!(out, "between {min} and {max}"),
            Self::Stabilizing { enough, window } => {
                write!(out, "{enough} needed within {} s", window.as_secs())
            }
            Self::Cooldown { left } => {
                write!(
                    out,
                    "changed not long ago, {:.0} s left",
                    left.as_secs_f64()
                )
            }
            Self::Step { most } => write!(out, "at most {most} at a time"),
            Self::Budget { gpus } => write!(out, "budget of {gpus} GPUs"),
        }
    }
}
