//! Token-level requests and outputs between the frontend and the workers.
//!
//! The JSON forms are Dynamo 0.6.1's `PreprocessedRequest` and `LLMEngineOutput`; decoding is
//! liberal (missing members take their defaults, unknown ones are ignored).

pub mod compact;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ErrorKind;

/// A tokenized request, as a worker receives it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineRequest {
    /// Served model name.
    pub model: String,
    /// The prompt.
    pub token_ids: Vec<u32>,
    /// When to stop.
    pub stop_conditions: StopConditions,
    /// How to choose tokens.
    pub sampling_options: SamplingOptions,
    /// What to report beside tokens.
    pub output_options: OutputOptions,
    /// End-of-sequence ids of the model.
    pub eos_token_ids: Vec<u32>,
    /// Checksum of the model card that the frontend used.
    pub mdc_sum: Option<String>,
    /// Extra events that the caller asks for.
    pub annotations: Vec<String>,
    /// Blocks that the router expects to be cached on the chosen worker.
    pub estimated_prefix_hit_num_blocks: Option<u32>,
    /// Instance that the caller insists on.
    pub backend_instance_id: Option<u64>,
    /// Overrides of the router's settings for this request.
    pub router_config_override: Option<RouterConfigOverride>,
    /// What the decode worker needs to fetch the prompt's KV blocks; `None` for aggregated
    /// serving. Opaque to everyone but the two workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disaggregated_params: Option<Value>,
    /// Where the two parts of a request meet that are started at the same time; `None` unless they
    /// are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_info: Option<BootstrapInfo>,
    /// Data-parallel rank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dp_rank: Option<u32>,
    /// Requests with different salts do not share cached blocks. Not known to Dynamo 0.6.1, which
    /// ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_salt: Option<String>,
    /// LoRA adapter that answers. Not known to Dynamo 0.6.1, which ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_name: Option<String>,
    /// Which requests go first, the lower ones, for engines that know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// How many tokens at the end of the prompt were generated before, by a worker that was lost.
    /// Not known to Dynamo, which ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_tokens: Option<u32>,
    /// Another worker that has the prompt's first blocks, if more of them than this one. Not known
    /// to Dynamo, which ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_peer: Option<KvPeer>,
    /// Engine-specific extras.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_args: Option<Value>,
}

/// A worker that can be asked for a prompt's KV blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvPeer {
    /// Where it gives blocks away, `host:port`.
    pub address: String,
    /// How many blocks it should have, from the prompt's first on.
    pub blocks: u32,
}

/// Where a decode worker finds the prompt's KV blocks while a prefill worker still computes them, as
/// SGLang has it. Known to Dynamo from version 1.6.1 on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BootstrapInfo {
    /// Host of the prefill worker's engine.
    pub bootstrap_host: String,
    /// Port of the prefill worker's engine.
    pub bootstrap_port: u16,
    /// Number that both parts of the request know, and no other request does.
    pub bootstrap_room: u64,
}

/// Per-request overrides of the KV router's settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouterConfigOverride {
    /// Weight of the prefill term.
    pub overlap_score_weight: Option<f64>,
    /// Softmax temperature.
    pub router_temperature: Option<f64>,
}

/// When generation ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StopConditions {
    /// Most tokens to generate.
    pub max_tokens: Option<u32>,
    /// Stop strings; matched by the frontend, which sees text.
    pub stop: Option<Vec<String>>,
    /// Stop tokens that are not shown to the client.
    pub stop_token_ids_hidden: Option<Vec<u32>>,
    /// Fewest tokens before a stop token counts.
    pub min_tokens: Option<u32>,
    /// Whether end-of-sequence tokens are ordinary tokens.
    pub ignore_eos: Option<bool>,
    /// Limit on reasoning tokens.
    pub max_thinking_tokens: Option<u32>,
}

/// How tokens are chosen. Members that are `None` are off.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SamplingOptions {
    /// Number of sequences.
    pub n: Option<u32>,
    /// Candidates of which the best `n` are returned.
    pub best_of: Option<u32>,
    /// OpenAI presence penalty, -2 to 2.
    pub presence_penalty: Option<f32>,
    /// OpenAI frequency penalty, -2 to 2.
    pub frequency_penalty: Option<f32>,
    /// Multiplicative penalty on tokens seen in prompt or output (CTRL, Keskar et al. 2019).
    pub repetition_penalty: Option<f32>,
    /// Softmax temperature; 0 is greedy.
    pub temperature: Option<f32>,
    /// Nucleus mass.
    pub top_p: Option<f32>,
    /// Number of candidates; -1 or 0 is all.
    pub top_k: Option<i32>,
    /// Least probability relative to the best token.
    pub min_p: Option<f32>,
    /// Beam search instead of sampling.
    pub use_beam_search: Option<bool>,
    /// Beam search length penalty.
    pub length_penalty: Option<f32>,
    /// Seed of the random choice: equal seeds give equal tokens.
    pub seed: Option<i64>,
    /// Whether the stop string is part of the answer.
    pub include_stop_str_in_output: Option<bool>,
    /// Grammar-constrained decoding: one of the members `json`, `regex`, `choice` and `grammar`.
    pub guided_decoding: Option<Value>,
}

/// What a worker reports beside tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputOptions {
    /// Alternatives per generated token; `Some(0)` reports the chosen token only.
    pub logprobs: Option<u32>,
    /// Alternatives per prompt token.
    pub prompt_logprobs: Option<u32>,
    /// Whether special tokens are left out of the text.
    pub skip_special_tokens: Option<bool>,
    /// Whether the rendered prompt is wanted as an annotation.
    pub formatted_prompt: Option<bool>,
}

/// One delta of a worker's answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineOutput {
    /// New tokens since the last delta.
    pub token_ids: Vec<u32>,
    /// Sum of the log probabilities so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cum_log_probs: Option<f64>,
    /// Natural logarithm of each new token's probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_probs: Option<Vec<f64>>,
    /// Best alternatives of each new token, best first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<Vec<Vec<TopLogprob>>>,
    /// Set on the last delta.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// Which of the `n` sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// What a decode worker needs to fetch the KV blocks; only from prefill workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disaggregated_params: Option<Value>,
    /// Prompt tokens whose KV was reused; on the first delta.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
}

/// Envelope of everything that a worker sends back, as Dynamo's response plane has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Annotated<T> {
    /// The payload.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub data: Option<T>,
    /// Id of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `error`, or the name of an annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Text of the error or annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Vec<String>>,
    /// What a caller can do about the error. Our own addition: other readers skip it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<ErrorKind>,
}

/// A failure that a worker reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFailure {
    /// What a caller can do about it.
    pub kind: ErrorKind,
    /// What went wrong.
    pub message: String,
}

const fn none<T>() -> Option<T> {
    None
}

impl<T> Annotated<T> {
    /// An envelope with a payload only.
    pub const fn data(data: T) -> Self {
        Self {
            data: Some(data),
            id: None,
            event: None,
            comment: None,
            error_kind: None,
        }
    }

    /// An envelope with an error only.
    pub fn error(failure: WorkerFailure) -> Self {
        Self {
            data: None,
            id: None,
            event: Some("error".to_owned()),
            comment: Some(vec![failure.message]),
            error_kind: Some(failure.kind),
        }
    }

    /// The error that the envelope carries, if it does.
    pub fn failure(&self) -> Option<WorkerFailure> {
        (self.event.as_deref() == Some("error")).then(|| WorkerFailure {
            kind: self
                .error_kind
                .unwrap_or(ErrorKind::Upstream { retryable: false }),
            message: self.comment.as_deref().unwrap_or(&[]).join("; "),
        })
    }
}

/// An alternative token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TopLogprob {
    /// The token.
    pub token_id: u32,
    /// Natural logarithm of its probability.
    pub logprob: f64,
}

/// Why a sequence ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended the sequence.
    Eos,
    /// A limit was reached.
    Length,
    /// A stop string or stop token was produced.
    Stop,
    /// The request was cancelled.
    #[serde(alias = "abort")]
    Cancelled,
    /// A policy cut the answer.
    ContentFilter,
    /// The engine failed.
    Error(String),
}

impl FinishReason {
    /// The value of `finish_reason` in an OpenAI answer.
    pub const fn openai(&self) -> &'static str {
        match self {
            Self::Eos | Self::Stop | Self::Cancelled => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::Error(_) => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_request_decodes_and_keeps_its_names() {
        let json = serde_json::json!({
            "model": "tiny", "token_ids": [1, 2, 3],
            "stop_conditions": {"max_tokens": 5, "stop": null, "stop_token_ids_hidden": [2],
                "min_tokens": null, "ignore_eos": null, "max_thinking_tokens": null},
            "sampling_options": {"n": 1, "temperature": 0.5, "seed": 7, "guided_decoding": null},
            "output_options": {"logprobs": null, "skip_special_tokens": null},
            "eos_token_ids": [2], "mdc_sum": "ab", "annotations": [],
            "estimated_prefix_hit_num_blocks": 6, "backend_instance_id": null,
            "router_config_override": {"overlap_score_weight": 0.0, "router_temperature": null},
            "a_member_of_a_later_version": {}
        });
        let request: EngineRequest = serde_json::from_value(json).unwrap();
        assert_eq!(request.stop_conditions.max_tokens, Some(5));
        assert_eq!(request.estimated_prefix_hit_num_blocks, Some(6));
        let back = serde_json::to_value(&request).unwrap();
        assert_eq!(back["router_config_override"]["overlap_score_weight"], 0.0);
        assert!(back.get("disaggregated_params").is_none());
    }

    #[test]
    fn envelopes_have_the_wire_form() {
        let output = EngineOutput {
            token_ids: vec![5],
            ..EngineOutput::default()
        };
        let json = serde_json::to_string(&Annotated::data(output)).unwrap();
        assert_eq!(json, r#"{"data":{"token_ids":[5]}}"#);
        let error = r#"{"event":"error","comment":["out of","memory"]}"#;
        let error: Annotated<EngineOutput> = serde_json::from_str(error).unwrap();
        let failure = error.failure().unwrap();
        assert_eq!(failure.message, "out of; memory");
        assert_eq!(error.data, None);
        let own: Annotated<EngineOutput> = Annotated::error(failure.clone());
        assert_eq!(own.failure(), Some(failure));
    }

    #[test]
    fn finish_reasons_have_the_wire_form() {
        let check = |reason: FinishReason, json: &str| {
            assert_eq!(serde_json::to_string(&reason).unwrap(), json);
            assert_eq!(serde_json::from_str::<FinishReason>(json).unwrap(), reason);
        };
        check(FinishReason::Eos, r#""eos""#);
        check(FinishReason::Length, r#""length""#);
        check(FinishReason::ContentFilter, r#""content_filter""#);
        check(FinishReason::Error("x".to_owned()), r#"{"error":"x"}"#);
    }
}
