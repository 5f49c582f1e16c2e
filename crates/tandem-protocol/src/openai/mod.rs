//! OpenAI request and response bodies, and editing of raw JSON bodies.
//!
//! Typed bodies are for reading; a body that is passed on is edited with [`body::JsonObject`], so
//! that unknown members, key order and number formats survive.

pub mod body;
pub mod chat;
pub mod completion;
pub mod error;
pub mod guided;
pub mod json;
pub mod model;
pub mod sampling;
pub mod usage;

pub use error::{ErrorBody, InvalidParameter};
pub use guided::Guided;
pub use sampling::Sampling;
pub use usage::Usage;
