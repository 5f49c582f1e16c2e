//! Tiers on a real disk, whose writer is killed.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod crash;
