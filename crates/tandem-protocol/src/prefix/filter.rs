//! A set of beginnings of prompts that fits into a small message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::PrefixHash;

/// Most beginnings in a filter. It takes 24 KiB then, and 32 KiB as text.
pub const MAX_PREFIXES: usize = 16 * 1024;

/// Bits per beginning, and bits that are set for each: about 3 of 1000 that are not in the filter
/// seem to be.
const BITS_PER_PREFIX: usize = 12;
const PROBES: u64 = 8;
/// Least bits of a filter that is not empty: in a very small one, probes fall on each other.
const LEAST_BITS: usize = 512;

/// A Bloom filter: it holds all beginnings that were put into it, and seems to hold a few others
/// (Bloom 1970, <https://doi.org/10.1145/362686.362692>).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PrefixFilter {
    bits: Vec<u8>,
}

/// The text is not that of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a prefix filter is base64 of at most {} bytes", MAX_PREFIXES * BITS_PER_PREFIX / 8)]
pub struct UndecodableFilter;

impl PrefixFilter {
    /// A filter of these; it is as large as their number asks for, up to [`MAX_PREFIXES`].
    pub fn new(prefixes: impl ExactSizeIterator<Item = PrefixHash>) -> Self {
        let wanted = match prefixes.len().min(MAX_PREFIXES) {
            0 => 0,
            count => LEAST_BITS.max(count * BITS_PER_PREFIX),
        };
        let mut filter = Self {
            bits: vec![0; wanted.div_ceil(8)],
        };
        for prefix in prefixes {
            for bit in filter.probes(prefix) {
                filter.bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        filter
    }

    /// Whether the beginning is in the filter, or seems to be.
    pub fn holds(&self, prefix: PrefixHash) -> bool {
        let set = |bit: usize| self.bits[bit / 8] & (1 << (bit % 8)) != 0;
        !self.bits.is_empty() && self.probes(prefix).all(set)
    }

    /// Double hashing: the halves of the hash give as many bits as are needed
    /// (Kirsch and Mitzenmacher 2006, <https://doi.org/10.1007/11841036_42>).
    fn probes(&self, PrefixHash(hash): PrefixHash) -> impl Iterator<Item = usize> + use<> {
        let size = self.bits.len() as u64 * 8;
        let (first, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
        let bits = (0..PROBES).map(move |i| (first + i * step) % size);
        bits.map(|bit| usize::try_from(bit).expect("less than the bits of a vector in memory"))
    }
}

impl From<PrefixFilter> for String {
    fn from(filter: PrefixFilter) -> Self {
        STANDARD.encode(filter.bits)
    }
}

impl TryFrom<String> for PrefixFilter {
    type Error = UndecodableFilter;

    fn try_from(text: String) -> Result<Self, UndecodableFilter> {
        let bits = STANDARD.decode(text).map_err(|_| UndecodableFilter)?;
        if bits.len() > MAX_PREFIXES * BITS_PER_PREFIX / 8 {
            return Err(UndecodableFilter);
        }
        Ok(Self { bits })
    }
}
