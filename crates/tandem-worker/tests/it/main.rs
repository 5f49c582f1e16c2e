//! The embedded engine against its reference and against itself, and the mock engine.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod disaggregation;
mod equality;
mod lifecycle;
mod mock;
mod models;
mod support;
