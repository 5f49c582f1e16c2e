//! The planes over real etcd and NATS servers.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod credentials;
mod discovery;
mod faults;
mod file_discovery;
mod messaging;
mod requests;
mod servers;
