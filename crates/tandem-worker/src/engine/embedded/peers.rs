//! The blocks that workers give to each other without being asked to keep them.

use std::sync::mpsc::Sender;

use tandem_kv_cache::tier::{Peer, PeerAsk};
use tandem_kv_cache::transfer::{BlockSource, Lookup};
use tandem_kv_cache::{BlockData, BlockId, BlockIdentity};
use tandem_protocol::engine::EngineRequest;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_128;

use super::adapters::{Adapters, LoadedAdapter};
use super::disagg::KvIdentity;
use super::scheduler::Scheduler;
use super::sequence::Sequence;
use super::thread::Command;

/// Finds blocks of this engine for other workers.
#[derive(Debug)]
pub(super) struct SharedBlocks {
    commands: Sender<Command>,
    /// Whose blocks there are here: the model's, and each adapter's.
    fingerprints: Vec<String>,
    block_bytes: usize,
}

impl SharedBlocks {
    pub(super) fn new(commands: Sender<Command>, kv: &KvIdentity, adapters: &Adapters) -> Self {
        let of_adapters = adapters.iter().map(Some);
        let all = of_adapters.chain([None]);
        Self {
            commands,
            fingerprints: all.map(|adapter| fingerprint(kv, adapter)).collect(),
            block_bytes: kv.shape.block_bytes(),
        }
    }
}

impl BlockSource for SharedBlocks {
    fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    fn find(&self, lookup: Lookup) -> Option<oneshot::Receiver<Vec<BlockData>>> {
        if !self.fingerprints.contains(&lookup.fingerprint) {
            return None;
        }
        let (reply, found) = oneshot::channel();
        let blocks = lookup.blocks;
        // A failure means that the engine has stopped, which closes `found`.
        self.commands.send(Command::Find { blocks, reply }).ok();
        Some(found)
    }
}

/// What the frontend said of who has the prompt's first blocks.
pub(super) fn hint(
    request: &EngineRequest,
    kv: &KvIdentity,
    adapter: Option<&LoadedAdapter>,
) -> Option<Peer> {
    let peer = request.kv_peer.as_ref()?;
    Some(Peer {
        address: peer.address.clone(),
        fingerprint: fingerprint(kv, adapter),
        blocks: peer.blocks as usize,
    })
}

/// Differs between blocks that may have the same hashes and are not interchangeable: those of
/// adapters have the adapter's name in them, but not its numbers. Nor are those of machines that
/// round in other ways: an answer must not depend on who had its prompt.
fn fingerprint(kv: &KvIdentity, adapter: Option<&LoadedAdapter>) -> String {
    let adapter = adapter.map(|adapter| (&adapter.name, &adapter.digest));
    let text = format!("{} {} {adapter:?}", kv.fingerprint, kv.arithmetic);
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

impl Scheduler {
    /// Whom to ask for the blocks of a sequence after the first `here`.
    pub(super) fn ask<'a>(&self, sequence: &'a Sequence, here: usize) -> Option<PeerAsk<'a>> {
        let peer = sequence.peer.as_ref()?;
        Some(PeerAsk {
            peer,
            blocks: peer.blocks.saturating_sub(here),
            pace: self.pace.of(self.limits.block_size),
        })
    }

    /// The numbers of blocks that are on the device or in the host's memory, up to the first that
    /// is in neither.
    pub(super) fn find(&self, blocks: &[BlockIdentity]) -> Vec<BlockData> {
        let on_device: Vec<_> = self.cache.update(|pool| {
            let find = |identity| pool.find(identity);
            blocks.iter().map(find).collect()
        });
        let places = blocks.iter().zip(on_device);
        let places = places.map_while(|(identity, block)| match block {
            Some(block) => Some(Place::Device(block)),
            None => self.tiers.in_host(identity).map(Place::Host),
        });
        let places: Vec<_> = places.collect();
        let on_device = places.iter().filter_map(|place| match place {
            Place::Device(block) => Some(*block),
            Place::Host(_) => None,
        });
        let mut shared = self
            .blocks
            .share_all(&on_device.collect::<Vec<_>>())
            .into_iter();
        let numbers = places.into_iter().filter_map(|place| match place {
            Place::Device(_) => shared.next(),
            Place::Host(data) => Some(data),
        });
        numbers.collect()
    }
}

/// Where a block is that another worker asks for.
enum Place {
    Device(BlockId),
    Host(BlockData),
}

#[cfg(test)]
mod tests {
    use tandem_kv_cache::KvShape;

    use super::*;

    #[test]
    fn blocks_are_of_a_model_its_arithmetic_and_an_adapter() {
        let kv = |fingerprint: &str, arithmetic: &str| KvIdentity {
            fingerprint: fingerprint.to_owned(),
            arithmetic: arithmetic.to_owned(),
            shape: KvShape {
                layers: 1,
                kv_heads: 1,
                head_dim: 1,
                block_size: 16,
            },
        };
        let adapter = |name: &str, digest: &str| LoadedAdapter {
            name: name.to_owned(),
            index: 0,
            digest: digest.to_owned(),
        };
        let of = |kv: &KvIdentity, adapter: Option<&LoadedAdapter>| fingerprint(kv, adapter);
        let model = kv("a", "Avx2");
        let plain = of(&model, None);
        assert_eq!(plain, of(&kv("a", "Avx2"), None));
        let mut all = vec![
            plain,
            of(&kv("b", "Avx2"), None),
            of(&kv("a", "cuda 9.0"), None),
            of(&model, Some(&adapter("poet", "1"))),
            of(&model, Some(&adapter("poet", "2"))),
            of(&model, Some(&adapter("clerk", "1"))),
        ];
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
    }
}
