//! Moving blocks from one worker to another, over TCP, as checksummed frames.
//!
//! The blocks of a finished prefill: the prefill worker pins them under a lease ([`LeaseTable`]) and
//! answers with a [`Ticket`], with which the decode worker [`fetch`]es them. Blocks that happen to be
//! somewhere: a worker asks for them by what they hold ([`Conversation`]), and gets those that are
//! still there ([`BlockSource`]).
//!
//! Whatever goes wrong is a [`TransferError`]: the worker then computes the prompt itself.

mod client;
mod find;
mod frame;
mod lease;
mod server;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use client::{FetchPlan, fetch, release};
pub use find::{BlockSource, Conversation, Lookup};
pub use lease::LeaseTable;
pub use server::{Offer, serve};

/// What a decode worker needs to fetch a prompt's blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Where the prefill worker serves transfers, `host:port`.
    pub address: String,
    /// Names the lease; not guessable.
    pub handle: String,
    /// Equal for two workers if and only if they can use each other's blocks.
    pub fingerprint: String,
    /// Tokens in the blocks; the last block may be partly filled.
    pub tokens: usize,
    /// Number of blocks.
    pub blocks: usize,
}

/// How long a decode worker waits.
#[derive(Debug, Clone, Copy)]
pub struct FetchTimeouts {
    /// For the connection.
    pub connect: Duration,
    /// For each frame.
    pub frame: Duration,
}

impl Default for FetchTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            frame: Duration::from_secs(5),
        }
    }
}

/// Why blocks did not arrive. The caller recomputes; the variants tell what to look at.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The other worker does not answer.
    #[error("failed to connect to worker {address}: {source}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the other worker went away during a kv transfer: {0}")]
    Disconnected(std::io::Error),
    /// The other side was silent for too long.
    #[error("kv transfer timed out")]
    Timeout,
    /// A frame did not have the announced checksum.
    #[error("kv transfer frame has a wrong checksum")]
    Checksum,
    /// The other side does not keep to the protocol.
    #[error("kv transfer broke the protocol: {0}")]
    Protocol(&'static str),
    /// The lease expired, was used up, or never existed.
    #[error("prefill worker does not hold these kv blocks any more")]
    UnknownHandle,
    /// The workers run different models or block shapes.
    #[error("the other worker's kv blocks are of another model")]
    ModelMismatch,
    /// The other worker gives away only what it holds for somebody.
    #[error("the other worker does not share its kv blocks")]
    NotShared,
}

impl TransferError {
    /// Metric label.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Disconnected(_) => "disconnected",
            Self::Timeout => "timeout",
            Self::Checksum => "checksum",
            Self::Protocol(_) => "protocol",
            Self::UnknownHandle => "unknown_handle",
            Self::ModelMismatch => "model_mismatch",
            Self::NotShared => "not_shared",
        }
    }
}

#[cfg(test)]
mod tests;
