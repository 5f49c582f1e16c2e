//! The gateway between real sockets: a client, the proxy, and an upstream that the test controls.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod caching;
mod errors;
mod harness;
mod load;
mod routing;
mod servers;
mod spans;
mod streaming;
