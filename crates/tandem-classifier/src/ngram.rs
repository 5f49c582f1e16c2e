//! A linear model over hashed word and byte n-grams.
//!
//! It sees spelling and phrases that a small encoder has no capacity for; its logits are added to
//! those of the encoder's heads.

use std::path::Path;

use serde::Deserialize;

use crate::encoder::Weights;
use crate::error::LoadError;

/// Sizes, as `config.json` has them.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct NgramConfig {
    buckets: usize,
    columns: usize,
    max_bytes: usize,
}

/// The weights.
#[derive(Debug)]
pub(crate) struct Ngram {
    config: NgramConfig,
    weight: Vec<i8>,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

/// How often each bucket occurs among the n-grams of a group.
type Counts = rustc_hash::FxHashMap<u32, u32>;

impl Ngram {
    pub(crate) fn load(
        config: NgramConfig,
        weights: &Weights,
        path: &Path,
    ) -> Result<Self, LoadError> {
        if !config.buckets.is_power_of_two() || u32::try_from(config.buckets).is_err() {
            return Err(LoadError::invalid(
                path,
                "ngram.buckets is not a power of two",
            ));
        }
        weights.expect_shape("ngram.weight", &[config.buckets, config.columns])?;
        Ok(Self {
            config,
            weight: weights.integers("ngram.weight")?,
            scale: weights.vector("ngram.scale", config.columns)?,
            bias: weights.vector("ngram.bias", config.columns)?,
        })
    }

    /// Logits of a text that the tokenizer has normalised.
    pub(crate) fn logits(&self, normalised: &str) -> Vec<f32> {
        let text = normalised.trim_matches(' ').as_bytes();
        let text = &text[..text.len().min(self.config.max_bytes)];
        let mut logits = self.bias.clone();
        self.add(&self.word_buckets(text), &mut logits);
        self.add(&self.byte_buckets(text), &mut logits);
        logits
    }

    fn add(&self, buckets: &[u32], logits: &mut [f32]) {
        let mut counts = Counts::default();
        for bucket in buckets {
            *counts.entry(*bucket).or_default() += 1;
        }
        // In a fixed order, so that the same text always gives the same sum.
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^24")]
        for (bucket, count) in counts {
            let value = (count as f32 / buckets.len() as f32).sqrt();
            let row = &self.weight[bucket as usize * self.config.columns..];
            for ((logit, weight), scale) in logits.iter_mut().zip(row).zip(&self.scale) {
                *logit += value * f32::from(*weight) * scale;
            }
        }
    }

    /// Buckets of words and pairs of words, in the order of the text.
    fn word_buckets(&self, text: &[u8]) -> Vec<u32> {
        let is_word =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte >= 0x80;
        let mut buckets = Vec::new();
        let mut previous: Option<Hash> = None;
        for word in text
            .split(|byte| !is_word(byte))
            .filter(|word| !word.is_empty())
        {
            if let Some(pair) = previous {
                buckets.push(self.bucket(pair.bytes(b" ").bytes(word)));
            }
            buckets.push(self.bucket(Hash::tagged(1).bytes(word)));
            previous = Some(Hash::tagged(2).bytes(word));
        }
        buckets
    }

    /// Buckets of all runs of 3, 4 and 5 bytes.
    fn byte_buckets(&self, text: &[u8]) -> Vec<u32> {
        let mut buckets = Vec::with_capacity(3 * text.len());
        for (tag, size) in [(3, 3), (4, 4), (5, 5)] {
            let grams = text.windows(size);
            buckets.extend(grams.map(|gram| self.bucket(Hash::tagged(tag).bytes(gram))));
        }
        buckets
    }

    fn bucket(&self, hash: Hash) -> u32 {
        let mask = self.config.buckets as u64 - 1;
        u32::try_from(((hash.0 >> 32) ^ hash.0) & mask).expect("there are at most 2^32 buckets")
    }
}

/// FNV-1a, 64 bits.
#[derive(Debug, Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn tagged(tag: u8) -> Self {
        Self(0xcbf2_9ce4_8422_2325).bytes(&[tag])
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}
