//! What a decision does to a request.

pub(crate) mod reasoning;
pub(crate) mod request_params;
pub(crate) mod system_prompt;
pub(crate) mod tools;
