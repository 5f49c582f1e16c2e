//! What goes over tandem's wires, and nothing else: OpenAI bodies, engine requests and outputs,
//! KV block hashes and events, load reports, beginnings of prompts, header names and error kinds.
//!
//! This crate must not know about IO, async, or any other tandem crate: every other crate may
//! depend on it. A wire format changes here together with its golden test.

pub mod engine;
pub mod error;
pub mod header;
pub mod kv;
pub mod load;
pub mod openai;
pub mod prefix;
pub mod serving_load;

pub use error::{ErrorKind, Fault};
