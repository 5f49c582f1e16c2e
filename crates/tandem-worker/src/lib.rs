//! Runs an engine and serves it.
//!
//! [`engine`] is the engine itself, token in and token out, with the embedded transformer engine
//! as the default implementation.

pub mod engine;
