//! How a block lies in a file: numbers, and a header apart from them that proves them.
//!
//! ```text
//! 8 magic | 8 sequence hash | 8 local hash | 8 parent | 1 has parent | 7 zero | 8 number
//! 16 xxh3-128 of the fingerprint, the 48 bytes before, and the numbers as bytes
//! ```
//!
//! All little-endian; numbers are `f32`. The checksum covers what the block is and whose it is, so
//! numbers that were half written, overwritten or damaged, or that belong to another model, are never
//! taken for the block that was asked for. No order of writes and no flush is needed for that.

use tandem_protocol::kv::{BlockHash, SequenceHash};
use xxhash_rust::xxh3::Xxh3;

use crate::block::BlockIdentity;
use crate::store::BlockData;

const MAGIC: [u8; 8] = *b"TNDMKVB1";
const CHECKSUM_AT: usize = 48;
/// Bytes of a header.
pub(super) const HEADER_LEN: usize = 64;

/// What a block in a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: BlockIdentity,
    /// Larger for what was written later.
    pub(super) number: u64,
    checksum: u128,
}

impl Header {
    /// The header of a block whose numbers are `bytes`.
    pub(super) fn seal(
        identity: BlockIdentity,
        number: u64,
        bytes: &[u8],
        fingerprint: &str,
    ) -> Self {
        let mut header = Self {
            identity,
            number,
            checksum: 0,
        };
        header.checksum = header.sum(bytes, fingerprint);
        header
    }

    /// Reads a header; `None` if there is none, or half of one: a block has the hash that follows
    /// from its parent and its tokens, or what is here would not be a tree.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_LEN || bytes[..8] != MAGIC {
            return None;
        }
        let parent = match bytes[32] {
            0 => None,
            1 => Some(SequenceHash(word(bytes, 24))),
            _ => return None,
        };
        let identity = BlockIdentity::after(parent, BlockHash(word(bytes, 16)));
        if identity.sequence != SequenceHash(word(bytes, 8)) {
            return None;
        }
        let checksum = bytes[CHECKSUM_AT..HEADER_LEN].try_into().ok()?;
        Some(Self {
            identity,
            number: word(bytes, 40),
            checksum: u128::from_le_bytes(checksum),
        })
    }

    pub(super) fn bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..CHECKSUM_AT].copy_from_slice(&self.prefix());
        bytes[CHECKSUM_AT..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    /// The numbers in `bytes`, if they are those of exactly this block.
    pub(super) fn open(&self, bytes: &[u8], fingerprint: &str) -> Option<BlockData> {
        if self.checksum != self.sum(bytes, fingerprint) {
            return None;
        }
        let (words, _) = bytes.as_chunks::<4>();
        Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    fn prefix(&self) -> [u8; CHECKSUM_AT] {
        let mut bytes = [0; CHECKSUM_AT];
        let BlockIdentity {
            sequence,
            local,
            parent,
        } = self.identity;
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&sequence.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&local.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&parent.map_or(0, |parent| parent.0).to_le_bytes());
        bytes[32] = u8::from(parent.is_some());
        bytes[40..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    fn sum(&self, bytes: &[u8], fingerprint: &str) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(&(fingerprint.len() as u64).to_le_bytes());
        hash.update(fingerprint.as_bytes());
        hash.update(&self.prefix());
        hash.update(bytes);
        hash.digest128()
    }
}

/// Writes numbers as bytes into `bytes`, which are four for each.
pub(super) fn encode(bytes: &mut [u8], data: &[f32]) {
    debug_assert_eq!(bytes.len(), size_of_val(data));
    let (words, _) = bytes.as_chunks_mut::<4>();
    for (word, number) in words.iter_mut().zip(data) {
        *word = number.to_le_bytes();
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seal(parent: Option<u64>, data: &[f32]) -> (Header, Vec<u8>) {
        let identity = BlockIdentity::after(parent.map(SequenceHash), BlockHash(5));
        let mut bytes = vec![7; 4 * data.len()];
        encode(&mut bytes, data);
        (Header::seal(identity, 7, &bytes, "model"), bytes)
    }

    proptest! {
        #[test]
        fn a_block_is_read_back_and_any_changed_bit_is_noticed(
            data in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 1..40),
            parent in any::<Option<u64>>(),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let (header, mut bytes) = seal(parent, &data);
            prop_assert_eq!(bytes.len(), 4 * data.len());
            prop_assert_eq!(Header::parse(&header.bytes()), Some(header));
            let bits = |data: &[f32]| data.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            let found = header.open(&bytes, "model").unwrap();
            prop_assert_eq!(bits(&found), bits(&data));
            prop_assert!(header.open(&bytes, "other").is_none());
            prop_assert!(header.open(&bytes[..bytes.len() - 4], "model").is_none());
            // Numbers that are damaged.
            let damaged = at.index(bytes.len());
            bytes[damaged] ^= 1 << bit;
            prop_assert!(header.open(&bytes, "model").is_none());
            bytes[damaged] ^= 1 << bit;
            // A header that is damaged: no header, or one that its numbers do not fit. Only bytes
            // that say nothing may change: seven always, and the parent where there is none.
            let damaged = at.index(HEADER_LEN);
            let mut head = header.bytes();
            head[damaged] ^= 1 << bit;
            let parsed = Header::parse(&head);
            let opened = parsed.and_then(|header| header.open(&bytes, "model"));
            let silent = parent.is_none() && (24..32).contains(&damaged);
            prop_assert_eq!(opened.is_some(), silent || (33..40).contains(&damaged));
            prop_assert!(opened.is_none() || parsed == Some(header));
        }
    }

    #[test]
    fn the_layout_is_kept() {
        let (header, bytes) = seal(Some(3), &[1.5]);
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let head = hex(&header.bytes());
        assert_eq!(&head[..16], "544e444d4b564231");
        let rest = "0500000000000000030000000000000001000000000000000700000000000000";
        assert_eq!(&head[32..96], rest);
        assert_eq!(hex(&bytes), "0000c03f");
    }
}
