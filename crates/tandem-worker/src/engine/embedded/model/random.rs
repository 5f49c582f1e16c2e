//! Weights for measuring speed without a checkpoint.

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::{ModelError, TensorSource, Values};

/// Small pseudo-random weights, the same for the same name and seed.
#[derive(Debug, Clone, Copy)]
pub struct RandomWeights {
    /// Start of the pseudo-random sequence.
    pub seed: u64,
    /// Whether matrices are bf16.
    pub bf16: bool,
}

impl TensorSource for RandomWeights {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        let length = shape.iter().product();
        let seed = xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), self.seed);
        let is_norm = name.ends_with("norm.weight");
        // Keeps the variance of a product's outputs that of its inputs.
        let inputs = *shape.last().unwrap_or(&1);
        let scale = (3.0 / inputs as f32).sqrt();
        let mut values = vec![1.0; length];
        if !is_norm {
            values
                .par_chunks_mut(1 << 16)
                .enumerate()
                .for_each(|(index, chunk)| fill(chunk, seed ^ index as u64, scale));
        }
        if self.bf16 {
            let upper = |value: f32| half::bf16::from_f32(value).to_bits();
            let values: Vec<_> = values.into_iter().map(upper).collect();
            return Ok(Values::Bf16(values.into()));
        }
        Ok(Values::F32(values.into()))
    }

    fn contains(&self, name: &str) -> bool {
        name.ends_with(".weight")
    }

    fn fingerprint(&self) -> String {
        format!("{self:?}")
    }
}

/// Uniform in `-scale..scale`, by xorshift.
fn fill(values: &mut [f32], seed: u64, scale: f32) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for value in values {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // 23 random bits as the fraction of a number in 1..2.
        let bits = u32::try_from(state >> 41).expect("23 bits") | 0x3f80_0000;
        *value = (f32::from_bits(bits) * 2.0 - 3.0) * scale;
    }
}
