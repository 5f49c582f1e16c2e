//! Blocks in one file of fixed slots, bounded in size and found again after a restart.
//!
//! ```text
//! 4096 preamble | group: 64 headers, 64 slots of whole pages | group | ...
//! ```
//!
//! A slot is overwritten when its block has to give way. A slot is what its header says only if the
//! checksum in there proves it (see [`super::record`]), so a process may be killed at any point of a
//! write: at worst, the block is computed again. Headers lie together so that a large file is opened
//! quickly.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tandem_protocol::kv::{SequenceHash, StorageTier};

use super::TierFailure;
use super::direct::{PAGE, PageBuffer};
use super::file::{BlockFile, PREAMBLE_LEN, begins_with, preamble};
use super::record::{self, HEADER_LEN, Header};
use super::residents::Residents;
use crate::block::BlockIdentity;
use crate::cache::BlockCache;
use crate::store::BlockData;

/// Slots whose headers share a page.
const GROUP: usize = PAGE / HEADER_LEN;
/// How long a file that could not grow is not made to.
const FULL_FOR: Duration = Duration::from_secs(60);

/// What a disk tier holds, and how much of it.
#[derive(Debug, Clone)]
pub(super) struct DiskLayout {
    /// Equal for two workers if and only if they can use each other's blocks.
    pub(super) fingerprint: String,
    /// Numbers per block.
    pub(super) block_len: usize,
    /// Most bytes of the file.
    pub(super) bytes: u64,
}

impl DiskLayout {
    pub(super) fn slot_bytes(&self) -> u64 {
        self.payload_len().next_multiple_of(PAGE) as u64
    }

    pub(super) fn preamble(&self) -> Vec<u8> {
        preamble(&self.fingerprint, self.slot_bytes())
    }

    /// Blocks that fit.
    pub(super) fn capacity(&self) -> usize {
        self.slots_in(self.bytes)
    }

    /// Bytes with which one block fits.
    pub(super) fn least_bytes(&self) -> u64 {
        self.payload_offset(0) + self.slot_bytes()
    }

    /// Bytes with which all blocks that fit are there.
    fn most_bytes(&self) -> u64 {
        self.payload_offset(self.capacity() - 1) + self.slot_bytes()
    }

    /// Whole slots in the first `bytes` of a file.
    fn slots_in(&self, bytes: u64) -> usize {
        let bytes = bytes.saturating_sub(PREAMBLE_LEN as u64);
        let (groups, rest) = (bytes / self.group_bytes(), bytes % self.group_bytes());
        let slots = groups * GROUP as u64 + rest.saturating_sub(PAGE as u64) / self.slot_bytes();
        usize::try_from(slots).unwrap_or(usize::MAX)
    }

    fn payload_len(&self) -> usize {
        self.block_len * size_of::<f32>()
    }

    fn group_bytes(&self) -> u64 {
        PAGE as u64 + GROUP as u64 * self.slot_bytes()
    }

    fn group_offset(&self, group: usize) -> u64 {
        PREAMBLE_LEN as u64 + group as u64 * self.group_bytes()
    }

    fn header_offset(&self, slot: usize) -> u64 {
        self.group_offset(slot / GROUP) + (slot % GROUP * HEADER_LEN) as u64
    }

    fn payload_offset(&self, slot: usize) -> u64 {
        self.group_offset(slot / GROUP) + PAGE as u64 + (slot % GROUP) as u64 * self.slot_bytes()
    }
}

/// The blocks of a file. One thread writes, any number read.
#[derive(Debug)]
pub(super) struct DiskStore {
    file: Box<dyn BlockFile>,
    layout: DiskLayout,
    /// Is told what the file holds, under the lock of `index`: the order of events is that of the
    /// changes.
    cache: Arc<BlockCache>,
    index: Mutex<Index>,
}

#[derive(Debug)]
struct Index {
    residents: Residents,
    places: FxHashMap<SequenceHash, Place>,
    /// Slots below `used` that hold nothing.
    free: Vec<usize>,
    /// Slots that the file has been grown to.
    used: usize,
    /// Number of the next record.
    next: u64,
    full_until: Option<Instant>,
}

/// Where a block is, and what proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    slot: usize,
    header: Header,
}

/// A slot to write to.
#[derive(Debug, Clone, Copy)]
struct Reserved {
    slot: usize,
    number: u64,
    /// The block that gave way.
    evicted: Option<SequenceHash>,
}

/// Why a block was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is not here, or not any more.
    Gone,
    /// Something is wrong with it, and it is forgotten.
    Failed(TierFailure),
}

impl DiskStore {
    /// Takes over what `file` holds if it is of the same layout, and starts anew otherwise.
    pub(super) fn open(
        file: Box<dyn BlockFile>,
        layout: DiskLayout,
        cache: Arc<BlockCache>,
    ) -> io::Result<Self> {
        let preamble = layout.preamble();
        let mut index = Index {
            residents: Residents::default(),
            places: FxHashMap::default(),
            free: Vec::new(),
            used: 0,
            next: 0,
            full_until: None,
        };
        if begins_with(&*file, &preamble) {
            let len = file.len()?;
            // The last slot need not be a whole one: earlier versions wrote what its block takes.
            let kept = len.next_multiple_of(PAGE as u64).min(layout.most_bytes());
            if kept != len {
                file.set_len(kept)?;
            }
            index.scan(&*file, &layout)?;
        } else {
            file.set_len(0)?;
            match file.write_all_at(&preamble, 0) {
                // It may have room later; until then, nothing is found again after a restart.
                Err(error) if is_full(&error) => index.full_until = Some(Instant::now() + FULL_FOR),
                written => written?,
            }
        }
        let held: Vec<_> = index.residents.identities().collect();
        cache.note_stored(StorageTier::Disk, &held);
        Ok(Self {
            file,
            layout,
            cache,
            index: Mutex::new(index),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.index.lock().residents.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.layout.capacity()
    }

    pub(super) fn contains(&self, identity: &BlockIdentity) -> bool {
        self.index.lock().residents.contains(identity)
    }

    /// Notes that a block was used, wherever it was found. False if it is not here.
    pub(super) fn touch(&self, identity: &BlockIdentity) -> bool {
        let mut index = self.index.lock();
        let here = index.residents.contains(identity);
        if here {
            index.residents.touch(identity.sequence);
        }
        here
    }

    /// The numbers of a block; `buffer` is scratch space.
    pub(super) fn read(
        &self,
        identity: &BlockIdentity,
        buffer: &mut PageBuffer,
    ) -> Result<BlockData, Unread> {
        let place = self.index.lock().place(identity).ok_or(Unread::Gone)?;
        let len = self.layout.payload_len();
        let bytes = buffer.hold(len);
        let read = self
            .file
            .read_exact_at(bytes, self.layout.payload_offset(place.slot));
        let failure = match read {
            Ok(()) => match place.header.open(&bytes[..len], &self.layout.fingerprint) {
                Some(data) => return Ok(data),
                None => TierFailure::Corrupted,
            },
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => TierFailure::ShortRead,
            Err(_) => TierFailure::Read,
        };
        let mut index = self.index.lock();
        if index.place(identity) != Some(place) {
            // It gave way to another block while it was read.
            return Err(Unread::Gone);
        }
        index.forget(identity.sequence);
        self.cache
            .note_removed(StorageTier::Disk, &[identity.sequence]);
        Err(Unread::Failed(failure))
    }

    /// Stores a block that is not here; `buffer` is scratch space. Returns how many blocks had to
    /// give way.
    pub(super) fn write(
        &self,
        identity: BlockIdentity,
        data: &[f32],
        buffer: &mut PageBuffer,
    ) -> Result<usize, TierFailure> {
        let reserved = {
            let mut index = self.index.lock();
            let reserved = index.reserve(self.layout.capacity(), Instant::now());
            let reserved = reserved.ok_or(TierFailure::Full)?;
            self.cache
                .note_removed(StorageTier::Disk, reserved.evicted.as_slice());
            reserved
        };
        let Reserved { slot, number, .. } = reserved;
        let len = self.layout.payload_len();
        let bytes = buffer.hold(len);
        record::encode(&mut bytes[..len], data);
        let header = Header::seal(identity, number, &bytes[..len], &self.layout.fingerprint);
        let payload = self
            .file
            .write_all_at(bytes, self.layout.payload_offset(slot));
        let written = payload.and_then(|()| {
            let at = self.layout.header_offset(slot);
            self.file.write_all_at(&header.bytes(), at)
        });
        let mut index = self.index.lock();
        match written {
            Ok(()) => {
                if index.settle(Place { slot, header }) {
                    self.cache.note_stored(StorageTier::Disk, &[identity]);
                }
                Ok(reserved.evicted.as_slice().len())
            }
            Err(error) if is_full(&error) => {
                index.abandon(slot, Some(Instant::now() + FULL_FOR));
                Err(TierFailure::Full)
            }
            Err(_) => {
                index.abandon(slot, None);
                Err(TierFailure::Write)
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl Index {
    /// Finds the blocks of an earlier process, in the order in which they were written.
    fn scan(&mut self, file: &dyn BlockFile, layout: &DiskLayout) -> io::Result<()> {
        self.used = layout.slots_in(file.len()?).min(layout.capacity());
        let mut found = Vec::new();
        let mut headers = [0; PAGE];
        for slot in 0..self.used {
            if slot % GROUP == 0 {
                file.read_exact_at(&mut headers, layout.header_offset(slot))?;
            }
            match Header::parse(&headers[slot % GROUP * HEADER_LEN..]) {
                Some(header) => found.push(Place { slot, header }),
                None => self.free.push(slot),
            }
        }
        found.sort_unstable_by_key(|place| place.header.number);
        for place in found {
            // Of two records of one block, the later counts.
            self.forget(place.header.identity.sequence);
            self.settle(place);
            self.next = place.header.number.saturating_add(1);
        }
        Ok(())
    }

    fn place(&self, identity: &BlockIdentity) -> Option<Place> {
        if !self.residents.contains(identity) {
            return None;
        }
        self.places.get(&identity.sequence).copied()
    }

    fn reserve(&mut self, capacity: usize, now: Instant) -> Option<Reserved> {
        let may_grow = self.full_until.is_none_or(|until| until <= now);
        let mut evicted = None;
        // A free slot may be a hole that the file system has no room for either.
        let free = if may_grow { self.free.pop() } else { None };
        let slot = if let Some(slot) = free {
            slot
        } else if self.used < capacity && may_grow {
            self.used += 1;
            self.used - 1
        } else {
            let identity = self.residents.evict()?;
            let place = self.places.remove(&identity.sequence)?;
            evicted = Some(identity.sequence);
            place.slot
        };
        let number = self.next;
        self.next = self.next.saturating_add(1);
        Some(Reserved {
            slot,
            number,
            evicted,
        })
    }

    /// Notes that a block is in its place. False if it is in another one already.
    fn settle(&mut self, place: Place) -> bool {
        let identity = place.header.identity;
        let fresh = self.residents.insert(identity);
        if fresh {
            self.places.insert(identity.sequence, place);
        } else {
            self.free.push(place.slot);
        }
        fresh
    }

    /// Gives a slot back that could not be written.
    fn abandon(&mut self, slot: usize, full_until: Option<Instant>) {
        if full_until.is_some() {
            self.full_until = full_until;
        }
        if full_until.is_some() && slot + 1 == self.used {
            self.used -= 1;
        } else {
            self.free.push(slot);
        }
    }

    fn forget(&mut self, hash: SequenceHash) {
        self.residents.remove(hash);
        if let Some(place) = self.places.remove(&hash) {
            self.free.push(place.slot);
        }
    }
}
