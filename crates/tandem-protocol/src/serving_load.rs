//! What a frontend tells about the load of its models: the answer of `GET /load`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::prefix::PrefixFilter;

/// How busy the models of a frontend are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServingLoad {
    /// Names this state of the prefixes. Whoever sends it back as `?since=` is spared those that
    /// have not changed.
    pub version: String,
    /// By served name.
    pub models: BTreeMap<String, ModelLoad>,
}

/// How busy a model is, over all of its workers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelLoad {
    /// Workers that compute prompts: prefill workers if there are any, else those that answer.
    pub workers: u32,
    /// Requests that wait for their first token.
    pub waiting_requests: u64,
    /// Prompt tokens that were sent to these workers and are not computed yet.
    pub queued_prefill_tokens: u64,
    /// KV blocks that running requests use, on the workers that answer.
    pub active_kv_blocks: u64,
    /// KV blocks of the workers that answer; 0 if that is not known.
    pub total_kv_blocks: u64,
    /// What prompts have cost lately; absent until one was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill: Option<PrefillCost>,
    /// Prompts that should be in the workers' caches; absent if they are as the asker knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<PrefixFilter>,
}

/// The time to a first token is `seconds` and `seconds_per_token` for each token to compute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PrefillCost {
    /// What any prompt costs.
    pub seconds: f64,
    /// What each prompt token costs that is not cached.
    pub seconds_per_token: f64,
    /// Bytes of a prompt's text per token.
    pub bytes_per_token: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_documented_form() {
        let text = r#"{"version":"00000000000000ab-7","models":{"m":{"workers":2,"waiting_requests":3,"queued_prefill_tokens":900,"active_kv_blocks":40,"total_kv_blocks":512,"prefill":{"seconds":0.01,"seconds_per_token":0.0005,"bytes_per_token":4.2},"prefixes":"/wH/"},"n":{"workers":0,"waiting_requests":0,"queued_prefill_tokens":0,"active_kv_blocks":0,"total_kv_blocks":0}}}"#;
        let load: ServingLoad = serde_json::from_str(text).unwrap();
        assert_eq!(load.models["m"].queued_prefill_tokens, 900);
        assert_eq!(serde_json::to_string(&load).unwrap(), text);
    }
}
