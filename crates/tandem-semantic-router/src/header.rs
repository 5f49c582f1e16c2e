//! Headers that only the router writes.

use crate::config::Family;

/// `true` when the answer is a decision's fixed text.
pub(crate) const FAST_RESPONSE: &str = "x-vsr-fast-response";
/// Comma-joined types of personal data that were taken out of the request.
pub(crate) const PII_REDACTED: &str = "x-vsr-pii-redacted";
/// Comma-joined names of what was found in the answer and let pass.
pub(crate) const RESPONSE_WARNINGS: &str = "x-vsr-response-warnings";
/// Estimated tokens of the request, if a rule asked.
pub(crate) const CONTEXT_TOKENS: &str = "x-vsr-context-token-count";

/// What a client says about caching, for clients whose proxies read `cache-control` themselves.
pub(crate) const CACHE_CONTROL: &str = "x-vsr-cache-control";
/// `true` when the answer was given before.
pub(crate) const CACHE_HIT: &str = "x-vsr-cache-hit";
/// Names the answer, for the API that drops answers.
pub(crate) const CACHE_KEY: &str = "x-vsr-cache-key";
/// Cosine similarity of the two questions, three decimals; absent for the same request.
pub(crate) const CACHE_SIMILARITY: &str = "x-vsr-cache-similarity";

/// Comma-joined names of the rules of a family that matched.
pub(crate) const fn matched(family: Family) -> &'static str {
    match family {
        Family::Keyword => "x-vsr-matched-keywords",
        Family::Embedding => "x-vsr-matched-embeddings",
        Family::Domain => tandem_protocol::header::MATCHED_DOMAINS,
        Family::FactCheck => "x-vsr-matched-fact-check",
        Family::UserFeedback => "x-vsr-matched-user-feedback",
        Family::Preference => "x-vsr-matched-preference",
        Family::Language => "x-vsr-matched-language",
        Family::Context => "x-vsr-matched-context",
        Family::Complexity => "x-vsr-matched-complexity",
        Family::Structure => "x-vsr-matched-structure",
        Family::Conversation => "x-vsr-matched-conversation",
        Family::Reask => "x-vsr-matched-reask",
        Family::Authz => "x-vsr-matched-authz",
        Family::Jailbreak => "x-vsr-matched-jailbreak",
        Family::Pii => "x-vsr-matched-pii",
    }
}

/// Families in the order of the headers.
pub(crate) const MATCHED: [Family; 15] = [
    Family::Keyword,
    Family::Embedding,
    Family::Domain,
    Family::FactCheck,
    Family::UserFeedback,
    Family::Preference,
    Family::Reask,
    Family::Language,
    Family::Context,
    Family::Structure,
    Family::Complexity,
    Family::Conversation,
    Family::Authz,
    Family::Jailbreak,
    Family::Pii,
];
