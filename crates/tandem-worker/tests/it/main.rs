//! The embedded engine against its reference and against itself.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod disaggregation;
mod equality;
mod lifecycle;
mod models;
mod support;
