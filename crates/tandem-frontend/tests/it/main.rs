//! The frontend with in-memory planes and scripted workers.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod faults;
mod load;
mod picker;
mod recovery;
mod servers;
mod stage;
