//! Names of the HTTP headers that tandem reads or writes.

/// Category of the matched decision.
pub const SELECTED_CATEGORY: &str = "x-vsr-selected-category";
/// Name of the matched decision.
pub const SELECTED_DECISION: &str = "x-vsr-selected-decision";
/// `on` or `off`.
pub const SELECTED_REASONING: &str = "x-vsr-selected-reasoning";
/// Model that serves the request.
pub const SELECTED_MODEL: &str = "x-vsr-selected-model";
/// `true` or `false`: whether a system prompt was injected.
pub const INJECTED_SYSTEM_PROMPT: &str = "x-vsr-injected-system-prompt";
/// Comma-joined names of the domain rules that matched.
pub const MATCHED_DOMAINS: &str = "x-vsr-matched-domains";
/// `true` when the answer was refused for personal data.
pub const PII_VIOLATION: &str = "x-vsr-pii-violation";
/// Comma-joined types that were refused.
pub const PII_TYPES: &str = "x-vsr-pii-types";
/// `true` when the prompt was refused as a jailbreak.
pub const JAILBREAK_BLOCKED: &str = "x-vsr-jailbreak-blocked";
/// Label of the jailbreak classifier.
pub const JAILBREAK_TYPE: &str = "x-vsr-jailbreak-type";
/// Confidence of the jailbreak classifier, three decimals.
pub const JAILBREAK_CONFIDENCE: &str = "x-vsr-jailbreak-confidence";
/// Model chosen by the router, on the request to the upstream.
pub const SELECTED_MODEL_UPSTREAM: &str = "x-selected-model";
/// Correlation id, read and echoed.
pub const REQUEST_ID: &str = "x-request-id";

/// Prefix of all router headers: a client must never be able to send one of them through.
pub const ROUTER_PREFIX: &str = "x-vsr-";
