//! What a decision does to a request.

pub(crate) mod reasoning;
pub(crate) mod system_prompt;
