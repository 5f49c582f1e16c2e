//! The HTTP handlers.

mod generate;
mod status;

pub(crate) use generate::{chat, completions};
pub(crate) use status::{health, live, load, metrics, model, models};
