//! Which blocks a tier holds, and which it gives up first.
//!
//! A block is of no use without those before it, so the victim is always one that no other block
//! here follows: of those, the least recently used.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use tandem_protocol::kv::SequenceHash;

use crate::block::BlockIdentity;

/// The blocks of a tier. Pure bookkeeping: where a block's numbers are is the tier's business.
#[derive(Debug, Default)]
pub(super) struct Residents {
    blocks: FxHashMap<SequenceHash, Resident>,
    /// How many blocks here come directly after each block, which itself need not be here.
    followers: FxHashMap<SequenceHash, u32>,
    /// Blocks that none here follows, least recently used first.
    leaves: BTreeMap<u64, SequenceHash>,
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
struct Resident {
    identity: BlockIdentity,
    used: u64,
}

impl Residents {
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether exactly this block is here. Comparing the whole identity makes a collision of one
    /// hash harmless.
    pub(super) fn contains(&self, identity: &BlockIdentity) -> bool {
        let resident = self.blocks.get(&identity.sequence);
        resident.is_some_and(|resident| resident.identity == *identity)
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = BlockIdentity> {
        self.blocks.values().map(|resident| resident.identity)
    }

    /// Adds a block as the most recently used one. False if there is one of that hash already.
    pub(super) fn insert(&mut self, identity: BlockIdentity) -> bool {
        let hash = identity.sequence;
        if self.blocks.contains_key(&hash) {
            return false;
        }
        let used = self.tick();
        self.blocks.insert(hash, Resident { identity, used });
        if !self.followers.contains_key(&hash) {
            self.leaves.insert(used, hash);
        }
        if let Some(parent) = identity.parent {
            *self.followers.entry(parent).or_default() += 1;
            if let Some(parent) = self.blocks.get(&parent) {
                self.leaves.remove(&parent.used);
            }
        }
        true
    }

    /// Makes a block the most recently used one.
    pub(super) fn touch(&mut self, hash: SequenceHash) {
        let now = self.tick();
        let Some(resident) = self.blocks.get_mut(&hash) else {
            return;
        };
        let before = std::mem::replace(&mut resident.used, now);
        if self.leaves.remove(&before).is_some() {
            self.leaves.insert(now, hash);
        }
    }

    pub(super) fn remove(&mut self, hash: SequenceHash) -> Option<BlockIdentity> {
        let resident = self.blocks.remove(&hash)?;
        self.leaves.remove(&resident.used);
        if let Some(parent) = resident.identity.parent {
            self.unfollow(parent);
        }
        Some(resident.identity)
    }

    /// Removes the block to give up first.
    pub(super) fn evict(&mut self) -> Option<BlockIdentity> {
        // Every block is followed by another only if hashes collided.
        let (_, &hash) = self.leaves.first_key_value()?;
        self.remove(hash)
    }

    fn unfollow(&mut self, parent: SequenceHash) {
        let Some(count) = self.followers.get_mut(&parent) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.followers.remove(&parent);
        if let Some(resident) = self.blocks.get(&parent) {
            self.leaves.insert(resident.used, parent);
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use tandem_protocol::kv::BlockHash;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Insert(Vec<u64>),
        Touch(Vec<u64>),
        Remove(Vec<u64>),
        Evict,
    }

    fn op() -> impl Strategy<Value = Op> {
        let path = || prop::collection::vec(0..3_u64, 1..5);
        prop_oneof![
            6 => path().prop_map(Op::Insert),
            2 => path().prop_map(Op::Touch),
            1 => path().prop_map(Op::Remove),
            4 => Just(Op::Evict),
        ]
    }

    fn identity(path: &[u64]) -> BlockIdentity {
        let parent = (path.len() > 1).then(|| identity(&path[..path.len() - 1]).sequence);
        BlockIdentity::after(parent, BlockHash(path[path.len() - 1]))
    }

    proptest! {
        #[test]
        fn the_victim_is_the_least_recently_used_leaf(ops in prop::collection::vec(op(), 1..80)) {
            let mut residents = Residents::default();
            // Least recently used first.
            let mut naive: Vec<BlockIdentity> = Vec::new();
            for op in ops {
                match op {
                    Op::Insert(path) => {
                        let block = identity(&path);
                        let fresh = !naive.contains(&block);
                        prop_assert_eq!(residents.insert(block), fresh);
                        if fresh {
                            naive.push(block);
                        }
                    }
                    Op::Touch(path) => {
                        let block = identity(&path);
                        residents.touch(block.sequence);
                        if let Some(at) = naive.iter().position(|one| *one == block) {
                            naive.remove(at);
                            naive.push(block);
                        }
                    }
                    Op::Remove(path) => {
                        let block = identity(&path);
                        let known = naive.contains(&block).then_some(block);
                        prop_assert_eq!(residents.remove(block.sequence), known);
                        naive.retain(|one| *one != block);
                    }
                    Op::Evict => {
                        let followed: BTreeSet<_> = naive.iter().filter_map(|one| one.parent).collect();
                        let at = naive.iter().position(|one| !followed.contains(&one.sequence));
                        let expect = at.map(|at| naive.remove(at));
                        prop_assert_eq!(residents.evict(), expect);
                    }
                }
                let here: BTreeSet<_> = residents.identities().map(|one| one.sequence).collect();
                let expect: BTreeSet<_> = naive.iter().map(|one| one.sequence).collect();
                prop_assert_eq!(residents.len(), naive.len());
                prop_assert_eq!(here, expect);
                prop_assert!(naive.iter().all(|one| residents.contains(one)));
            }
        }
    }
}
