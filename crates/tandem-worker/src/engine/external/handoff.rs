//! What a prefill worker hands over so that a decode worker finds the prompt's KV blocks.
//!
//! What engines say to each other is passed on as it is. Beside it stands when it ceases to hold:
//! vLLM frees the blocks when its lease ends, and reads what then stands in them without a word, so
//! that nobody but us can prevent it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The `disaggregated_params` of engines outside this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Handoff {
    /// What the engines say to each other, under the name that they use for it.
    #[serde(flatten)]
    pub(super) params: Params,
    /// Milliseconds since 1970 after which the blocks must not be read; `None` if the engines see
    /// to that themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at_ms: Option<u64>,
    /// Prompt tokens that the prefill worker had cached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cached_tokens: Option<u32>,
}

/// What engines say to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Params {
    /// vLLM's connectors.
    KvTransferParams(Value),
    /// TensorRT-LLM's context phase.
    ContextParams(Value),
}

/// Why a prompt is computed once more: metric labels.
pub(super) const INVALID: &str = "invalid_params";
pub(super) const EXPIRED: &str = "lease_expired";
pub(super) const LOAD_FAILED: &str = "load_failed";

impl Handoff {
    /// What may be read for `lease` from `now` on.
    pub(super) fn leased(params: Params, lease: Duration, now: SystemTime) -> Self {
        Self {
            params,
            expires_at_ms: Some(millis(now + lease)),
            cached_tokens: None,
        }
    }

    /// What the engines themselves keep until it is asked for.
    pub(super) const fn unlimited(params: Params) -> Self {
        Self {
            params,
            expires_at_ms: None,
            cached_tokens: None,
        }
    }

    /// Reads what a prefill worker handed over; the error says why it is of no use `now`.
    pub(super) fn read(value: Value, now: SystemTime) -> Result<Self, &'static str> {
        let handoff: Self = serde_json::from_value(value).map_err(|_| INVALID)?;
        let Self {
            params,
            expires_at_ms,
            ..
        } = &handoff;
        match (params, expires_at_ms) {
            // A worker that does not say how long its blocks are there may have lost them already.
            (Params::KvTransferParams(_), None) => Err(EXPIRED),
            (_, Some(at)) if millis(now) >= *at => Err(EXPIRED),
            _ => Ok(handoff),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("plain members with names")
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn params_pass_through_as_they_are() {
        let opaque = json!({"remote_block_ids": [[1, 2]], "do_remote_prefill": true, "x": null});
        let params = Params::KvTransferParams(opaque.clone());
        let handoff = Handoff::leased(params, Duration::from_millis(20), at(1000));
        let wire = handoff.to_json();
        assert_eq!(
            wire,
            json!({"kv_transfer_params": opaque, "expires_at_ms": 1020})
        );
        assert_eq!(Handoff::read(wire, at(1019)), Ok(handoff));
    }

    #[test]
    fn what_says_nothing_of_its_end_has_ended() {
        let wire = json!({"kv_transfer_params": {}});
        assert_eq!(Handoff::read(wire, at(0)), Err(EXPIRED));
        let wire = json!({"context_params": {"ctx_request_id": 1}});
        assert!(
            Handoff::read(wire, at(0)).is_ok(),
            "TensorRT-LLM keeps its blocks until asked"
        );
        for wire in [json!({}), json!(7), json!({"handle": 1})] {
            assert_eq!(Handoff::read(wire, at(0)), Err(INVALID));
        }
    }

    proptest! {
        #[test]
        fn nothing_is_read_after_its_end(
            start in 0_u64..1 << 40, lease in 0_u64..100_000, later in 0_u64..200_000,
        ) {
            let params = Params::KvTransferParams(json!({}));
            let lease = Duration::from_millis(lease);
            let wire = Handoff::leased(params, lease, at(start)).to_json();
            let read = Handoff::read(wire, at(start + later));
            prop_assert_eq!(read.is_ok(), Duration::from_millis(later) < lease);
        }
    }
}
