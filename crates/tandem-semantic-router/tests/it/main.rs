//! The router with the encoder that is shipped, and with the files that people have.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::print_stdout,
    reason = "a test says what it got, or why it did nothing"
)]

mod caching;
mod encoder;
mod examples;
mod files;
