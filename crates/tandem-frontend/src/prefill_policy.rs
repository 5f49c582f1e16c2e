//! Whether a prefill worker computes a prompt, or the decode worker itself.

use crate::prefill_cost::PrefillLine;

/// When prefill workers are passed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrefillPolicy {
    /// Prompts with at most this many uncached tokens stay with the decode worker.
    pub max_local_prefill: usize,
    /// Requests at a prefill worker from which on it gets no more; `None` for any number.
    pub max_queue: Option<usize>,
    /// Times longer that a prompt may take by way of a prefill worker's queue.
    pub max_slowdown: f64,
    /// Whether only short prompts may be computed by decode workers.
    pub enforced: bool,
}

/// What a worker would have to do before a prompt is computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backlog {
    /// Requests that were there before.
    pub requests_ahead: usize,
    /// Tokens to compute, those of the prompt and of the requests ahead.
    pub tokens: usize,
    /// What tokens cost workers of its kind; `None` if that was not observed yet.
    pub cost: Option<PrefillLine>,
}

impl PrefillPolicy {
    /// Whether a prompt with so many `uncached` tokens is not worth a prefill worker.
    pub(crate) const fn is_short(&self, uncached: usize) -> bool {
        uncached <= self.max_local_prefill
    }

    /// Whether a prompt should rather be computed by a decode worker with the backlog `decode`
    /// than wait at a prefill worker with the backlog `prefill`.
    pub(crate) fn passes_over(&self, prefill: &Backlog, decode: &Backlog) -> bool {
        if self.enforced {
            return false;
        }
        let full = self
            .max_queue
            .is_some_and(|max| prefill.requests_ahead >= max);
        full || prefill.requests_ahead > 0 && self.is_too_late(prefill, decode)
    }

    /// Without a queue, this is never asked: prompts go to prefill workers to keep them from running
    /// answers, not to be faster.
    fn is_too_late(&self, prefill: &Backlog, decode: &Backlog) -> bool {
        let Some(prefill_cost) = prefill.cost else {
            return false;
        };
        let handover = decode.cost.map_or(0.0, |cost| cost.floor);
        let remote = prefill_cost.seconds(prefill.tokens) + handover;
        // Of decode workers, often only handed-over prompts are known, which cost them nothing: they
        // are not taken for faster than prefill workers.
        let local = decode
            .cost
            .map_or(0.0, |cost| cost.seconds(decode.tokens))
            .max(prefill_cost.seconds(decode.tokens));
        remote > self.max_slowdown * local
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: PrefillPolicy = PrefillPolicy {
        max_local_prefill: 32,
        max_queue: None,
        max_slowdown: 2.0,
        enforced: false,
    };
    /// 10 ms and 0.1 ms a token.
    const COST: PrefillLine = PrefillLine {
        floor: 0.01,
        slope: 0.0001,
    };
    /// What is known of workers that were handed every prompt.
    const HANDED_OVER: PrefillLine = PrefillLine {
        floor: 0.005,
        slope: 0.0,
    };

    const fn backlog(requests_ahead: usize, tokens: usize, cost: Option<PrefillLine>) -> Backlog {
        Backlog {
            requests_ahead,
            tokens,
            cost,
        }
    }

    #[test]
    fn short_prompts_stay() {
        for (uncached, short) in [(0, true), (32, true), (33, false), (4000, false)] {
            assert_eq!(POLICY.is_short(uncached), short, "{uncached}");
        }
    }

    #[test]
    fn a_queue_is_too_long_when_the_decode_worker_is_done_much_sooner() {
        let check = |prefill: Backlog, decode: Backlog, want: bool| {
            let passed = POLICY.passes_over(&prefill, &decode);
            assert_eq!(passed, want, "{prefill:?} {decode:?}");
        };
        let idle = backlog(0, 1000, Some(HANDED_OVER));
        // 110 ms here, and there 115 with nobody ahead, 215 and 235 behind one, 315 behind two.
        check(backlog(0, 1000, Some(COST)), idle, false);
        check(backlog(1, 2000, Some(COST)), idle, false);
        check(backlog(1, 2200, Some(COST)), idle, true);
        check(backlog(2, 3000, Some(COST)), idle, true);
        // The decode worker has prompts to compute, too, or is known to be slow.
        check(
            backlog(2, 3000, Some(COST)),
            backlog(1, 2000, Some(COST)),
            false,
        );
        let slow = PrefillLine {
            floor: 0.02,
            slope: 0.0004,
        };
        check(
            backlog(2, 3000, Some(COST)),
            backlog(0, 1000, Some(slow)),
            false,
        );
        // Nothing is known of prefill workers, or nothing of decode workers.
        check(backlog(9, 9000, None), backlog(0, 1000, Some(COST)), false);
        check(backlog(9, 9000, Some(COST)), backlog(0, 1000, None), true);
    }

    #[test]
    fn a_queue_may_have_a_limit() {
        let limited = |max, requests_ahead| {
            let policy = PrefillPolicy {
                max_queue: Some(max),
                ..POLICY
            };
            let idle = backlog(0, 100, None);
            policy.passes_over(&backlog(requests_ahead, 100, None), &idle)
        };
        for (max, ahead, want) in [(2, 1, false), (2, 2, true), (2, 9, true), (0, 0, true)] {
            assert_eq!(limited(max, ahead), want, "{max} {ahead}");
        }
    }

    prop_compose! {
        fn any_cost()(floor in 0.0..1.0, slope in 0.0..0.01) -> PrefillLine {
            PrefillLine { floor, slope }
        }
    }

    prop_compose! {
        fn any_backlog()(
            requests_ahead in 0_usize..50,
            tokens in 1_usize..100_000,
            cost in proptest::option::of(any_cost()),
        ) -> Backlog {
            Backlog { requests_ahead, tokens, cost }
        }
    }

    prop_compose! {
        fn any_policy()(
            max_queue in proptest::option::of(1_usize..50),
            max_slowdown in 0.0..10.0,
        ) -> PrefillPolicy {
            PrefillPolicy { max_queue, max_slowdown, ..POLICY }
        }
    }

    proptest! {
        #[test]
        fn a_longer_queue_is_no_reason_to_wait(
            policy in any_policy(),
            prefill in any_backlog(),
            decode in any_backlog(),
            requests in 0_usize..10,
            tokens in 0_usize..10_000,
        ) {
            let longer = Backlog {
                requests_ahead: prefill.requests_ahead + requests,
                tokens: prefill.tokens + tokens,
                ..prefill
            };
            let passed = policy.passes_over(&prefill, &decode);
            prop_assert!(!passed || policy.passes_over(&longer, &decode));
        }

        #[test]
        fn a_busier_decode_worker_is_no_reason_to_stay(
            policy in any_policy(),
            prefill in any_backlog(),
            decode in any_backlog(),
            tokens in 0_usize..10_000,
        ) {
            let busier = Backlog { tokens: decode.tokens + tokens, ..decode };
            let passed = policy.passes_over(&prefill, &busier);
            prop_assert!(!passed || policy.passes_over(&prefill, &decode));
        }

        #[test]
        fn an_idle_prefill_worker_is_used(
            policy in any_policy(),
            prefill in any_backlog(),
            decode in any_backlog(),
        ) {
            let idle = Backlog { requests_ahead: 0, ..prefill };
            prop_assert!(!policy.passes_over(&idle, &decode));
        }

        #[test]
        fn equal_backlogs_are_for_the_prefill_worker(
            prefill in any_backlog(),
            cost in proptest::option::of(any_cost()),
        ) {
            let decode = Backlog { cost, ..prefill };
            prop_assert!(!POLICY.passes_over(&prefill, &decode));
        }

        #[test]
        fn enforced_disaggregation_waits(
            policy in any_policy(),
            prefill in any_backlog(),
            decode in any_backlog(),
        ) {
            let enforced = PrefillPolicy { enforced: true, ..policy };
            prop_assert!(!enforced.passes_over(&prefill, &decode));
        }
    }
}
