//! KV events as vLLM, SGLang and TensorRT-LLM publish them over ZMQ.
//!
//! A message is three frames: a topic, a number (`u64`, big-endian, from 0), and a batch in
//! MessagePack: `[time, [event, …], data-parallel rank]`. Events are maps that name their `type`,
//! or, from older versions, arrays that begin with it. What is not known is left alone.

use bytes::Bytes;
use tandem_protocol::kv::StorageTier;

use super::msgpack::{self, Value};

/// Bytes of a hash that name the block: vLLM sends the last eight of 32 unless told otherwise.
const HASH_BYTES: usize = 8;

/// A message of a publisher.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// Its number, from 0 for each start of the publisher.
    pub(super) sequence: u64,
    pub(super) batch: Batch,
}

/// What happened in a step of the engine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    /// Seconds since 1970, by the engine's clock.
    pub(super) time: f64,
    /// Data-parallel rank, if it is said.
    pub(super) rank: Option<u32>,
    pub(super) changes: Vec<Change>,
    /// Events that were not understood.
    pub(super) skipped: usize,
}

/// What happened to an engine's cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Stored(Stored),
    Removed {
        hashes: Vec<u64>,
        place: Place,
    },
    /// Everything is gone.
    Cleared,
}

/// A run of blocks that can be reused now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) hashes: Vec<u64>,
    /// The block before the first; `None` at the start of a sequence.
    pub(super) parent: Option<u64>,
    /// Tokens of all blocks.
    pub(super) tokens: Vec<u32>,
    pub(super) block_size: usize,
    pub(super) place: Place,
    pub(super) lora: Option<String>,
    /// What tells a block apart beside its tokens, for each block.
    pub(super) keys: Vec<BlockKey>,
    /// Whether the blocks are of an attention that needs all of them: a window or a state that
    /// moves on says nothing about how much of a prompt can be reused.
    pub(super) full_attention: bool,
}

/// Where an engine keeps a copy of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tier: StorageTier,
    /// Group of layers that share a kind of attention.
    pub(super) group: u32,
}

/// What tells a block apart beside its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BlockKey {
    None,
    /// A salt, in the first block of a sequence.
    Salt(String),
    /// Something that a router cannot compute, such as a picture.
    Opaque,
}

/// Why a message is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a KV event does not decode: {0}")]
pub(super) struct Undecodable(String);

fn undecodable(reason: &(impl ToString + ?Sized)) -> Undecodable {
    Undecodable(reason.to_string())
}

/// Reads the frames of a message; what comes before the last three does not matter, and neither
/// does the topic.
pub(super) fn message(frames: &[Bytes]) -> Result<Message, Undecodable> {
    let [.., _topic, sequence, payload] = frames else {
        return Err(undecodable(&format!(
            "{} frames instead of 3",
            frames.len()
        )));
    };
    Ok(Message {
        sequence: sequence_number(sequence)?,
        batch: batch(payload)?,
    })
}

/// Reads the number of a message.
pub(super) fn sequence_number(frame: &[u8]) -> Result<u64, Undecodable> {
    let bytes = frame
        .try_into()
        .map_err(|_| undecodable("the number is not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn batch(payload: &[u8]) -> Result<Batch, Undecodable> {
    let value = msgpack::decode(payload).map_err(|error| undecodable(&error))?;
    let Value::Array(members) = value else {
        return Err(undecodable("the batch is not an array"));
    };
    let mut members = members.into_iter();
    let time = members.next().and_then(|time| time.float());
    let Some(Value::Array(events)) = members.next() else {
        return Err(undecodable("the batch has no events"));
    };
    let count = events.len();
    let changes: Vec<Change> = events.into_iter().filter_map(change).collect();
    Ok(Batch {
        time: time.unwrap_or(0.0),
        rank: members.next().and_then(|rank| rank.number()),
        skipped: count - changes.len(),
        changes,
    })
}

/// The members of an event, by name.
struct Members(Vec<(String, Value)>);

impl Members {
    /// Of an event in either form: those of an array have no names of their own.
    fn of(event: Value) -> Option<(String, Self)> {
        match event {
            Value::Map(members) => {
                let mut members: Vec<(String, Value)> = members
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.text()?, value)))
                    .collect();
                let at = members.iter().position(|(name, _)| name == "type")?;
                let kind = members.swap_remove(at).1.text()?;
                Some((kind, Self(members)))
            }
            Value::Array(members) => {
                let mut members = members.into_iter();
                let kind = members.next()?.text()?;
                let names = positions(&kind)?.iter().map(|name| (*name).to_owned());
                Some((kind, Self(names.zip(members).collect())))
            }
            _ => None,
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        match self.0.swap_remove(at).1 {
            Value::Nil => None,
            value => Some(value),
        }
    }

    /// Device and first group if nothing is said: engines with one of each do not say it.
    fn place(&mut self) -> Option<Place> {
        let tier = match self.take("medium") {
            None => StorageTier::Device,
            Some(medium) => tier(&medium.text()?)?,
        };
        let group = self.take("group_idx").and_then(|group| group.number());
        Some(Place {
            tier,
            group: group.unwrap_or(0),
        })
    }
}

/// The names of the members of events that are arrays.
fn positions(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "BlockStored" => Some(&[
            "block_hashes",
            "parent_block_hash",
            "token_ids",
            "block_size",
            "lora_id",
            "medium",
            "lora_name",
            "extra_keys",
            "group_idx",
            "kv_cache_spec_kind",
        ]),
        "BlockRemoved" => Some(&["block_hashes", "medium", "group_idx"]),
        "AllBlocksCleared" => Some(&[]),
        _ => None,
    }
}

/// Where a medium is; `None` for one that is not known.
fn tier(medium: &str) -> Option<StorageTier> {
    match medium {
        "GPU" | "XPU" | "TPU" => Some(StorageTier::Device),
        "CPU" | "CPU_PINNED" => Some(StorageTier::HostPinned),
        "DISK" | "STORAGE" => Some(StorageTier::Disk),
        "EXTERNAL" => Some(StorageTier::External),
        _ => None,
    }
}

fn change(event: Value) -> Option<Change> {
    let (kind, mut members) = Members::of(event)?;
    match kind.as_str() {
        "BlockStored" => stored(&mut members).map(Change::Stored),
        "BlockRemoved" => Some(Change::Removed {
            hashes: hashes(members.take("block_hashes")?)?,
            place: members.place()?,
        }),
        "AllBlocksCleared" => Some(Change::Cleared),
        _ => None,
    }
}

fn stored(members: &mut Members) -> Option<Stored> {
    let hashes = hashes(members.take("block_hashes")?)?;
    let parent = match members.take("parent_block_hash") {
        None => None,
        Some(parent) => Some(hash(parent)?),
    };
    let Value::Array(tokens) = members.take("token_ids")? else {
        return None;
    };
    let tokens: Option<Vec<u32>> = tokens.into_iter().map(|token| token.number()).collect();
    let block_size: usize = members.take("block_size")?.number()?;
    let lora = members.take("lora_name").and_then(Value::text);
    let mut keys = keys(members.take("extra_keys"), hashes.len(), lora.as_deref());
    if let Some(salt) = members.take("cache_salt").and_then(Value::text)
        && parent.is_none()
        && let Some(first @ BlockKey::None) = keys.first_mut()
    {
        *first = BlockKey::Salt(salt);
    }
    let kind = members.take("kv_cache_spec_kind").and_then(Value::text);
    let stored = Stored {
        parent,
        tokens: tokens?,
        block_size,
        place: members.place()?,
        lora,
        keys,
        full_attention: kind.is_none_or(|kind| kind == "full_attention" || kind == "mla_attention"),
        hashes,
    };
    (stored.tokens.len() == stored.hashes.len() * block_size && block_size > 0).then_some(stored)
}

/// One key for each of `count` blocks.
fn keys(extra: Option<Value>, count: usize, lora: Option<&str>) -> Vec<BlockKey> {
    let mut keys = vec![BlockKey::None; count];
    if let Some(Value::Array(blocks)) = extra {
        for (key, extra) in keys.iter_mut().zip(blocks) {
            *key = block_key(extra, lora);
        }
    }
    keys
}

fn block_key(extra: Value, lora: Option<&str>) -> BlockKey {
    let parts = match extra {
        Value::Nil => return BlockKey::None,
        Value::Array(parts) => parts,
        _ => return BlockKey::Opaque,
    };
    let mut key = BlockKey::None;
    for part in parts {
        let text = part.text();
        key = match (key, text) {
            // The adapter is said beside the keys as well.
            (key, Some(text)) if Some(&*text) == lora => key,
            (BlockKey::None, Some(text)) => BlockKey::Salt(text),
            _ => return BlockKey::Opaque,
        };
    }
    key
}

fn hashes(value: Value) -> Option<Vec<u64>> {
    match value {
        Value::Array(values) => values.into_iter().map(hash).collect(),
        _ => None,
    }
}

/// A hash is a number, signed or not, or bytes of which the last eight name the block.
fn hash(value: Value) -> Option<u64> {
    match value {
        Value::Unsigned(hash) => Some(hash),
        Value::Signed(hash) => Some(hash.cast_unsigned()),
        Value::Bytes(bytes) => {
            let at = bytes.len().checked_sub(HASH_BYTES)?;
            Some(u64::from_be_bytes(bytes[at..].try_into().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
