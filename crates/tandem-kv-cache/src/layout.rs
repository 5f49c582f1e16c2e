//! Where the numbers of a block lie.
//!
//! One block is one run of `f32`, by layer, keys before values:
//!
//! ```text
//! layer: keys   [kv_head][group of 16 tokens][head_dim][16]
//!        values [kv_head][token][head_dim]
//! ```
//!
//! Keys are transposed within groups of 16 tokens so that the scores of 16 tokens are computed
//! together, one vector lane each; values are read one token at a time, along `head_dim`.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Tokens in a key group: what one step of the attention kernel computes together.
pub const LANES: usize = 16;

/// Shape of a model's KV blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KvShape {
    /// Decoder layers.
    pub layers: usize,
    /// Key-value heads per layer.
    pub kv_heads: usize,
    /// Numbers per head and token.
    pub head_dim: usize,
    /// Tokens per block; a multiple of [`LANES`].
    pub block_size: usize,
}

impl KvShape {
    /// Numbers in one block.
    pub fn block_len(&self) -> usize {
        self.layers * self.layer_len()
    }

    /// Bytes of one block.
    pub fn block_bytes(&self) -> usize {
        self.block_len() * size_of::<f32>()
    }

    /// Blocks that `tokens` tokens need.
    pub fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_size)
    }

    /// The keys of one head: groups of `[head_dim][LANES]`.
    pub fn keys(&self, layer: usize, kv_head: usize) -> Range<usize> {
        let start = layer * self.layer_len() + kv_head * self.head_len();
        start..start + self.head_len()
    }

    /// The values of one head: `[token][head_dim]`.
    pub fn values(&self, layer: usize, kv_head: usize) -> Range<usize> {
        let start = layer * self.layer_len() + (self.kv_heads + kv_head) * self.head_len();
        start..start + self.head_len()
    }

    /// Writes one token's keys and values (`[kv_head][head_dim]` each) into `block`.
    pub fn write(&self, block: &mut [f32], layer: usize, slot: usize, key_value: (&[f32], &[f32])) {
        debug_assert!(slot < self.block_size);
        let (group, lane) = (slot / LANES, slot % LANES);
        let (keys, values) = key_value;
        let keys = keys.chunks_exact(self.head_dim);
        let values = values.chunks_exact(self.head_dim);
        for (head, (key, value)) in keys.zip(values).enumerate() {
            let lanes = &mut block[self.keys(layer, head)][group * self.head_dim * LANES..];
            for (target, &number) in lanes.iter_mut().skip(lane).step_by(LANES).zip(key) {
                *target = number;
            }
            let row = &mut block[self.values(layer, head)][slot * self.head_dim..];
            row[..self.head_dim].copy_from_slice(value);
        }
    }

    fn head_len(&self) -> usize {
        self.block_size * self.head_dim
    }

    fn layer_len(&self) -> usize {
        2 * self.kv_heads * self.head_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_place() {
        let shape = KvShape {
            layers: 2,
            kv_heads: 2,
            head_dim: 3,
            block_size: 32,
        };
        let mut block = vec![0.0; shape.block_len()];
        let mut next = 0.0;
        for layer in 0..shape.layers {
            for slot in 0..shape.block_size {
                let mut row = || -> Vec<f32> {
                    let width = shape.kv_heads * shape.head_dim;
                    (0..width)
                        .map(|_| {
                            next += 1.0;
                            next
                        })
                        .collect()
                };
                let (keys, values) = (row(), row());
                shape.write(&mut block, layer, slot, (&keys, &values));
                let lanes = &block[shape.keys(layer, 1)];
                let at = (slot / LANES * shape.head_dim + 2) * LANES + slot % LANES;
                assert_eq!(lanes[at], keys[5]);
                assert_eq!(block[shape.values(layer, 1)][slot * 3 + 2], values[5]);
            }
        }
        block.sort_by(f32::total_cmp);
        block.dedup();
        assert_eq!(block.len(), shape.block_len());
        assert!(block[0] > 0.0);
    }
}
