//! What the frontend tells routers about the load of its models.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tandem_protocol::openai::body::JsonObject;
use tandem_protocol::prefix::PromptPrefixes;
use tandem_protocol::serving_load::{ModelLoad, PrefillCost, ServingLoad};

use crate::metrics::Metrics;
use crate::model_registry::Model;

/// Counts the changes of the prefixes of all models.
#[derive(Debug)]
pub(crate) struct LoadBoard {
    /// A number of its own for every frontend: versions of another one, perhaps behind the same
    /// address, say nothing here.
    id: u64,
    /// The last change, from 1; 0 is before all of them.
    changes: AtomicU64,
}

impl Default for LoadBoard {
    fn default() -> Self {
        Self {
            id: rand::random(),
            changes: AtomicU64::new(0),
        }
    }
}

impl LoadBoard {
    /// A request with this body was served; its prompts had so many tokens.
    pub(crate) fn served(&self, model: &Model, body: &[u8], tokens: &[usize]) {
        let Ok(body) = JsonObject::parse(body) else {
            return;
        };
        let prompts = PromptPrefixes::of(&body);
        let pool = model.prefill_workers();
        let load = pool.as_ref().unwrap_or(&model.decode).load();
        let block_size = model.decode.block_size() as u64;
        let capacity = load.total_blocks.saturating_mul(block_size);
        let mut known = model.prefixes.lock();
        for (prompt, tokens) in std::iter::zip(&prompts, tokens) {
            let change = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
            known.served(prompt, *tokens, capacity, change);
        }
    }

    /// The answer of `GET /load`; `since` is the version of an earlier one.
    pub(crate) fn tell(
        &self,
        models: &[Arc<Model>],
        metrics: &Metrics,
        since: Option<&str>,
    ) -> ServingLoad {
        // Read first: what changes in the meantime is told again the next time.
        let version = self.version(self.changes.load(Ordering::Relaxed));
        let since = since.and_then(|since| self.change(since)).unwrap_or(0);
        let models = models.iter().map(|model| {
            let name = model.card.display_name.clone();
            let load = load(model, metrics.waiting(&name), since);
            (name, load)
        });
        ServingLoad {
            version,
            models: models.collect(),
        }
    }

    fn version(&self, change: u64) -> String {
        format!("{:016x}-{change}", self.id)
    }

    /// The change that a version of this frontend names.
    fn change(&self, version: &str) -> Option<u64> {
        let change = version.split_once('-')?.1.parse().ok()?;
        (self.version(change) == version).then_some(change)
    }
}

fn load(model: &Model, waiting_requests: u64, since: u64) -> ModelLoad {
    let decode = model.decode.load();
    let prefill = model.prefill_workers();
    let computing = prefill.as_ref().map(|pool| pool.load());
    let by_decode = model.decode.prefill_line();
    let line = match &prefill {
        // A prompt that was computed elsewhere has to come over.
        Some(pool) => pool.prefill_line().map(|mut line| {
            line.floor += by_decode.map_or(0.0, |line| line.floor);
            line
        }),
        None => by_decode,
    };
    let known = model.prefixes.lock();
    let cost = line.zip(known.bytes_per_token());
    ModelLoad {
        workers: computing.unwrap_or(decode).workers,
        waiting_requests,
        queued_prefill_tokens: computing.unwrap_or(decode).prefill_tokens,
        active_kv_blocks: decode.active_blocks,
        total_kv_blocks: decode.total_blocks,
        prefill: cost.map(|(line, bytes_per_token)| PrefillCost {
            seconds: line.floor,
            seconds_per_token: line.slope,
            bytes_per_token,
        }),
        prefixes: known.since(since),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_versions_are_understood() {
        let board = LoadBoard::default();
        let check = |version: &str, want: Option<u64>| {
            assert_eq!(board.change(version), want, "{version}");
        };
        check(&board.version(7), Some(7));
        let other = LoadBoard {
            id: !board.id,
            ..LoadBoard::default()
        };
        check(&other.version(7), None);
        for wrong in ["", "7", "-", "x-7", &board.version(7)[..17]] {
            check(wrong, None);
        }
    }
}
