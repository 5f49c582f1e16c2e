//! The embedded engine against its reference and against itself, the mock engine, and what a worker
//! registers.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod adapters;
mod architectures;
mod disaggregation;
mod equality;
mod guided;
mod lifecycle;
mod mock;
mod models;
mod peers;
mod quantized;
mod registration;
mod speculation;
mod support;
mod tiers;
mod widths;
