//! What serving planes told lately about their load, and when a first token would come.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tandem_protocol::prefix::{PrefixFilter, PromptPrefixes};
use tandem_protocol::serving_load::ModelLoad;

/// How long a view counts: an older one says nothing of the queue, and perhaps the server is gone.
const LIFETIME: Duration = Duration::from_secs(5);

/// The load of every model that is known, by its name in the configuration; of a model with several
/// servers, one view each.
pub type LoadViews = HashMap<String, Vec<LoadView>>;

/// The load of a model at one server.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadView {
    /// What the server told.
    pub load: ModelLoad,
    /// What it told last of the prompts that it has cached.
    pub prefixes: PrefixFilter,
    /// When it told.
    pub at: Instant,
}

impl LoadView {
    /// Seconds until the first token if the server also got this prompt, and `since` others like it
    /// that it did not know of when it told; `None` if nobody is there to serve it. A server that
    /// has not computed a prompt yet counts as the fastest, so that it gets observed.
    #[allow(
        clippy::cast_precision_loss,
        reason = "tokens and bytes are far below 2^53, where the cast is exact"
    )]
    fn first_token(&self, prompt: &PromptPrefixes, since: f64) -> Option<f64> {
        if self.load.workers == 0 {
            return None;
        }
        let Some(cost) = self.load.prefill else {
            return Some(0.0);
        };
        let tokens = |bytes: usize| bytes as f64 / cost.bytes_per_token.max(f64::MIN_POSITIVE);
        let uncached = tokens(prompt.bytes) - tokens(prompt.overlap(&self.prefixes));
        let queued = self.load.queued_prefill_tokens as f64 + since * uncached;
        let before = queued / f64::from(self.load.workers);
        Some(cost.seconds + cost.seconds_per_token * (before + uncached))
    }
}

/// Seconds until a model's first token, on average over the servers that told lately; `None` if
/// none did. `since` requests were sent to the model that its servers did not know of.
#[allow(
    clippy::cast_precision_loss,
    reason = "requests and servers are far below 2^53, where the cast is exact"
)]
pub(crate) fn first_token(
    views: &[LoadView],
    prompt: &PromptPrefixes,
    since: u64,
    now: Instant,
) -> Option<f64> {
    let fresh = |view: &&LoadView| now.saturating_duration_since(view.at) < LIFETIME;
    let each = since as f64 / views.len().max(1) as f64;
    let seconds = views.iter().filter(fresh);
    let seconds: Vec<f64> = seconds
        .filter_map(|view| view.first_token(prompt, each))
        .collect();
    (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64)
}

#[cfg(test)]
mod tests {
    use tandem_protocol::serving_load::PrefillCost;

    use super::*;

    /// Two workers that need 10 ms and 1 ms a token of 4 bytes.
    fn view(queued: u64, cached: &str) -> LoadView {
        let prefixes = PromptPrefixes::of_text(cached);
        LoadView {
            load: ModelLoad {
                workers: 2,
                queued_prefill_tokens: queued,
                prefill: Some(PrefillCost {
                    seconds: 0.01,
                    seconds_per_token: 0.001,
                    bytes_per_token: 4.0,
                }),
                ..ModelLoad::default()
            },
            prefixes: PrefixFilter::new(prefixes.hashes.iter().copied()),
            at: Instant::now(),
        }
    }

    fn check(views: &[LoadView], since: u64, want: Option<f64>) {
        let text = "a".repeat(2048);
        let prompt = PromptPrefixes::of_text(&text);
        let got = first_token(views, &prompt, since, Instant::now());
        let good = match (got, want) {
            (Some(got), Some(want)) => (got - want).abs() < 1e-9,
            (got, want) => got.is_none() && want.is_none(),
        };
        assert!(good, "{got:?} instead of {want:?}");
    }

    #[test]
    fn a_first_token_waits_for_the_queue_and_for_what_is_not_cached() {
        check(&[view(0, "")], 0, Some(0.522));
        check(&[view(1000, "")], 0, Some(1.022));
        check(&[view(0, &"a".repeat(1100))], 0, Some(0.266));
        check(&[view(0, &"a".repeat(4096))], 0, Some(0.01));
        // Two more of the same that nobody has told of.
        check(&[view(0, "")], 2, Some(1.034));
        check(&[view(0, ""), view(1000, "")], 0, Some(0.772));
    }

    #[test]
    fn old_views_and_servers_without_workers_say_nothing() {
        check(&[], 0, None);
        let mut old = view(1000, "");
        old.at = Instant::now().checked_sub(LIFETIME).unwrap();
        check(&[old.clone()], 0, None);
        check(&[old, view(0, "")], 0, Some(0.522));
        let mut empty = view(0, "");
        empty.load.workers = 0;
        check(&[empty], 0, None);
        let mut new = view(0, "");
        new.load.prefill = None;
        check(&[new], 0, Some(0.0));
    }
}
