//! Which prompts were served lately, as hashes of their text: what should be in the workers' caches.

use std::collections::{BTreeMap, HashMap};

use tandem_protocol::prefix::{CHUNK, MAX_PREFIXES, PrefixFilter, PrefixHash, PromptPrefixes};

/// Share of a new prompt in the bytes per token.
const NEW: f64 = 0.05;

/// The beginnings of the prompts that were served last.
#[derive(Debug, Default)]
pub(crate) struct ServedPrefixes {
    /// When each was served last.
    served: HashMap<PrefixHash, u64>,
    /// The same, the oldest first.
    order: BTreeMap<u64, PrefixHash>,
    next: u64,
    bytes_per_token: Option<f64>,
    /// Number of the last change, as the caller counts.
    changed: u64,
}

impl ServedPrefixes {
    /// A prompt of so many tokens was served to workers that can hold `capacity` tokens in all, 0
    /// if that is not known. `change` numbers what follows from it.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes of prompts and caches are far below 2^53 and not negative"
    )]
    pub(crate) fn served(
        &mut self,
        prompt: &PromptPrefixes,
        tokens: usize,
        capacity: u64,
        change: u64,
    ) {
        let ratio = prompt.bytes as f64 / tokens.max(1) as f64;
        let ratio = self
            .bytes_per_token
            .map_or(ratio, |known| known + NEW * (ratio - known));
        self.bytes_per_token = Some(ratio);
        // Backwards: the end of a prompt is forgotten before its beginning, as caches do it.
        for hash in prompt.hashes.iter().rev() {
            let stamp = self.next;
            self.next += 1;
            match self.served.insert(*hash, stamp) {
                Some(old) => drop(self.order.remove(&old)),
                None => self.changed = change,
            }
            self.order.insert(stamp, *hash);
        }
        let limit = match capacity {
            0 => MAX_PREFIXES,
            tokens => MAX_PREFIXES.min((tokens as f64 * ratio) as usize / CHUNK),
        };
        while self.served.len() > limit {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            self.served.remove(&oldest);
        }
    }

    /// Bytes of a prompt per token, lately.
    pub(crate) fn bytes_per_token(&self) -> Option<f64> {
        self.bytes_per_token
    }

    /// The beginnings, if they have changed after this change.
    pub(crate) fn since(&self, change: u64) -> Option<PrefixFilter> {
        (self.changed > change).then(|| PrefixFilter::new(self.served.keys().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(letter: char, chunks: usize) -> PromptPrefixes {
        PromptPrefixes::of_text(&letter.to_string().repeat(chunks * CHUNK))
    }

    #[test]
    fn the_ends_of_old_prompts_are_forgotten_first() {
        let mut served = ServedPrefixes::default();
        let (a, b) = (prompt('a', 3), prompt('b', 2));
        // Four bytes a token, so 512 tokens are four chunks.
        served.served(&a, 3 * CHUNK / 4, 512, 1);
        served.served(&b, 2 * CHUNK / 4, 512, 2);
        let filter = served.since(0).unwrap();
        assert_eq!(a.overlap(&filter), 2 * CHUNK);
        assert_eq!(b.overlap(&filter), 2 * CHUNK);
        assert!((served.bytes_per_token().unwrap() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_prompt_that_is_known_changes_nothing() {
        let mut served = ServedPrefixes::default();
        assert_eq!(served.since(0), None);
        let prompt = prompt('a', 2);
        served.served(&prompt, 256, 0, 5);
        assert!(served.since(4).is_some());
        served.served(&prompt, 256, 0, 6);
        assert_eq!(served.since(5), None);
    }

    #[test]
    fn there_is_an_end_to_memory() {
        let mut served = ServedPrefixes::default();
        let long = prompt('a', MAX_PREFIXES + 50);
        served.served(&long, 1, 0, 1);
        assert_eq!(served.served.len(), MAX_PREFIXES);
        assert_eq!(served.order.len(), MAX_PREFIXES);
    }
}
