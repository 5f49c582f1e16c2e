//! Headers that only the router writes.

/// Comma-joined names of the keyword rules that matched.
pub(crate) const MATCHED_KEYWORDS: &str = "x-vsr-matched-keywords";
/// `true` when the answer is a decision's fixed text.
pub(crate) const FAST_RESPONSE: &str = "x-vsr-fast-response";
