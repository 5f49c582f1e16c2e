//! The frontend with in-memory planes and scripted workers.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod error_bodies;
mod faults;
mod handover;
mod load;
mod peers;
mod picker;
mod recovery;
mod servers;
mod stage;
