use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tandem_protocol::kv::{BlockHash, KvEventData, SequenceHash, TierEvent};

use super::direct::Access;
use super::file::BlockFile;
use super::*;
use crate::KvEventSubscription;

const SHAPE: KvShape = KvShape {
    layers: 1,
    kv_heads: 1,
    head_dim: 24,
    block_size: 16,
};

/// What goes wrong with one access to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The system reports an error.
    Error,
    /// There is no room; part of the block is written.
    Full,
    /// Half of the block is written or read, and that is called a success.
    Torn,
    /// A bit is another one.
    Flipped,
    /// The file ends too early.
    Short,
}

/// A file in memory.
#[derive(Debug, Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl BlockFile for MemoryFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let file = self.0.lock();
        let found = file.get(start..start + buffer.len());
        let found = found.ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let mut file = self.0.lock();
        let end = file.len().max(start + bytes.len());
        file.resize(end, 0);
        file[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }
}

/// A file whose accesses fail as they are told to.
#[derive(Debug, Clone)]
struct FaultyFile {
    file: Arc<dyn BlockFile>,
    reads: Arc<Mutex<Vec<Option<Fault>>>>,
    writes: Arc<Mutex<Vec<Option<Fault>>>>,
    /// Most bytes, as on a small disk.
    room: Option<u64>,
}

impl Default for FaultyFile {
    fn default() -> Self {
        Self::over(Box::new(MemoryFile::default()))
    }
}

impl FaultyFile {
    fn over(file: Box<dyn BlockFile>) -> Self {
        Self {
            file: Arc::from(file),
            reads: Arc::default(),
            writes: Arc::default(),
            room: None,
        }
    }

    /// One that lies in memory, or on disk and is used past the cache.
    fn any(on_disk: bool) -> Self {
        if !on_disk {
            return Self::default();
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let again = file.reopen().unwrap();
        Self::over(Access::Direct.to(again, file.path()))
    }
}

impl BlockFile for FaultyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)?;
        let half = buffer.len() / 2;
        match self.reads.lock().pop().flatten() {
            None => {}
            Some(Fault::Error | Fault::Full) => return Err(io::Error::other("broken")),
            Some(Fault::Short) => return Err(ErrorKind::UnexpectedEof.into()),
            Some(Fault::Torn) => buffer[half..].fill(7),
            Some(Fault::Flipped) => buffer[half] ^= 4,
        }
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let half = &bytes[..bytes.len() / 2];
        if self
            .room
            .is_some_and(|room| offset + bytes.len() as u64 > room)
        {
            return Err(ErrorKind::StorageFull.into());
        }
        match self.writes.lock().pop().flatten() {
            None => self.file.write_all_at(bytes, offset)?,
            Some(Fault::Error) => return Err(io::Error::other("broken")),
            Some(Fault::Full) => {
                self.file.write_all_at(half, offset)?;
                return Err(ErrorKind::StorageFull.into());
            }
            Some(Fault::Torn | Fault::Short) => self.file.write_all_at(half, offset)?,
            Some(Fault::Flipped) => {
                let mut bytes = bytes.to_vec();
                bytes[half.len()] ^= 16;
                self.file.write_all_at(&bytes, offset)?;
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

/// Identities of the blocks of a sequence.
fn blocks(path: &[u64]) -> Vec<BlockIdentity> {
    let mut parent = None;
    let identify = |token: &u64| {
        let identity = BlockIdentity::after(parent, BlockHash(*token));
        parent = Some(identity.sequence);
        identity
    };
    path.iter().map(identify).collect()
}

/// The numbers of a block: no two blocks have the same.
fn data(identity: &BlockIdentity) -> BlockData {
    let seed = identity.sequence.0.to_le_bytes();
    let number =
        |at: u32| at ^ u32::from_le_bytes([0, 1, 2, 3].map(|byte| seed[byte + at as usize % 5]));
    let numbers = 0..u32::try_from(SHAPE.block_len()).unwrap();
    numbers.map(|at| f32::from_bits(number(at))).collect()
}

fn bits(data: &[f32]) -> Vec<u32> {
    data.iter().map(|number| number.to_bits()).collect()
}

fn layout(slots: u64) -> DiskLayout {
    let layout = DiskLayout {
        fingerprint: "model".to_owned(),
        block_len: SHAPE.block_len(),
        bytes: 0,
    };
    let bytes = layout.least_bytes() + (slots - 1) * layout.slot_bytes();
    DiskLayout { bytes, ..layout }
}

/// Tiers with a disk that may fail, and what a subscriber knows of them.
struct Checked {
    tiers: KvTiers,
    events: KvEventSubscription,
    known: HashMap<StorageTier, HashSet<SequenceHash>>,
}

impl Checked {
    fn start(file: &FaultyFile, (host, slots): (u64, u64), min_frequency: u32) -> Self {
        let cache = Arc::new(BlockCache::new(1));
        let host = host_pool(host * SHAPE.block_bytes() as u64, &SHAPE).unwrap();
        let disk = DiskStore::open(Box::new(file.clone()), layout(slots), Arc::clone(&cache));
        let wake = Wake(Arc::new(|| {}));
        let disk = DiskTier::start(disk.unwrap(), min_frequency, 1 << 20, &wake).unwrap();
        let events = cache.subscribe();
        let disk = Some(disk);
        let mut checked = Self {
            tiers: KvTiers {
                cache,
                host,
                disk,
                peers: None,
                read_ahead: ReadAhead::new(1 << 10),
            },
            events,
            known: HashMap::new(),
        };
        for change in checked.events.take_snapshot() {
            checked.apply(&change);
        }
        checked
    }

    fn disk(&self) -> &DiskTier {
        self.tiers.disk.as_ref().unwrap()
    }

    fn apply(&mut self, change: &TierEvent) {
        let known = self.known.entry(change.storage_tier).or_default();
        match &change.event.data {
            KvEventData::Cleared => known.clear(),
            KvEventData::Stored(run) => {
                for block in &run.blocks {
                    assert!(known.insert(block.block_hash), "stored twice");
                }
            }
            KvEventData::Removed { block_hashes } => {
                for hash in block_hashes {
                    assert!(known.remove(hash), "removed what was not there");
                }
            }
        }
    }

    /// The device computes or uses a sequence, and may give it up then.
    fn use_sequence(&self, path: &[u64], evict: bool) {
        let blocks = blocks(path);
        for identity in &blocks {
            self.tiers.saw(*identity, || data(identity));
        }
        if evict {
            let given = blocks.iter().map(|identity| (*identity, data(identity)));
            self.tiers.evicted(given.collect());
        }
    }

    /// What the tiers give back for a sequence; whatever it is must be right.
    fn onboard(&self, path: &[u64], ahead: bool) -> usize {
        let wanted = blocks(path);
        let ahead = if ahead {
            self.tiers.read_ahead(&wanted, None)
        } else {
            Onboarding::default()
        };
        let onboarding = self.tiers.onboard(&wanted, &ahead, None);
        drop(ahead);
        wait_for(&onboarding);
        let found = self.tiers.take(onboarding);
        for (identity, found) in wanted.iter().zip(&found) {
            assert_eq!(
                bits(found),
                bits(&data(identity)),
                "another block's numbers"
            );
        }
        found.len()
    }

    /// Lets the disk come to rest and compares what is said with what is.
    async fn settle(&mut self) {
        self.disk().offloader.flush();
        // The feed ends with the cache, so only what is there already is taken.
        while let Some(change) = futures_now(self.events.next()).await {
            self.apply(&change.unwrap().unwrap());
        }
        let figures = self.tiers.figures();
        for figures in &figures {
            let known = self.known.get(&figures.tier).map_or(0, HashSet::len);
            assert_eq!(known, figures.blocks, "{figures:?}");
            assert!(figures.blocks <= figures.capacity, "{figures:?}");
        }
    }

    fn failures(&self) -> u64 {
        let figures = self.tiers.figures();
        let failures = figures.iter().flat_map(|tier| tier.failures.values());
        failures.sum()
    }
}

/// The result of a future that is ready, else nothing.
async fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::ZERO, future).await.ok()
}

fn wait_for(onboarding: &Onboarding) {
    let until = Instant::now() + Duration::from_secs(60);
    while !onboarding.is_ready() {
        assert!(Instant::now() < until, "a read never ends");
        std::thread::yield_now();
    }
}

#[derive(Debug, Clone)]
enum Op {
    Use(Vec<u64>, bool),
    Onboard(Vec<u64>, bool),
    FailReads(Vec<Option<Fault>>),
    FailWrites(Vec<Option<Fault>>),
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let path = || prop::collection::vec(0..3_u64, 1..6);
    let fault = prop_oneof![
        Just(None),
        Just(Some(Fault::Error)),
        Just(Some(Fault::Full)),
        Just(Some(Fault::Torn)),
        Just(Some(Fault::Flipped)),
        Just(Some(Fault::Short)),
    ];
    let faults = prop::collection::vec(fault, 1..4);
    prop_oneof![
        6 => (path(), any::<bool>()).prop_map(|(path, evict)| Op::Use(path, evict)),
        6 => (path(), any::<bool>()).prop_map(|(path, ahead)| Op::Onboard(path, ahead)),
        1 => faults.clone().prop_map(Op::FailReads),
        1 => faults.prop_map(Op::FailWrites),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_wrong_comes_back_whatever_fails(
        sizes in (0..6_u64, 1..12_u64),
        min_frequency in 1..3_u32,
        ops in prop::collection::vec(op(), 1..60),
        on_disk in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let file = FaultyFile::any(on_disk);
        let mut checked = Checked::start(&file, sizes, min_frequency);
        for op in ops {
            match op {
                Op::Use(path, evict) => checked.use_sequence(&path, evict),
                Op::Onboard(path, ahead) => {
                    checked.onboard(&path, ahead);
                }
                Op::FailReads(faults) => *file.reads.lock() = faults,
                Op::FailWrites(faults) => *file.writes.lock() = faults,
                Op::Restart => {
                    runtime.block_on(checked.settle());
                    // Opening reads, and must not fail.
                    file.reads.lock().clear();
                    drop(checked);
                    checked = Checked::start(&file, sizes, min_frequency);
                }
            }
            runtime.block_on(checked.settle());
        }
    }

    /// Without failures, everything that the tiers say they hold can be had, also after a restart.
    #[test]
    fn what_is_told_is_there(
        sizes in (0..6_u64, 1..12_u64),
        paths in prop::collection::vec((prop::collection::vec(0..3_u64, 1..6), any::<bool>()), 1..40),
        on_disk in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let file = FaultyFile::any(on_disk);
        let mut checked = Checked::start(&file, sizes, 1);
        for (path, evict) in &paths {
            checked.use_sequence(path, *evict);
            runtime.block_on(checked.settle());
        }
        let held = |checked: &Checked, tier| checked.known.get(&tier).cloned().unwrap_or_default();
        let on_disk = held(&checked, StorageTier::Disk);
        let anywhere = &held(&checked, StorageTier::HostPinned) | &on_disk;
        let expect = |held: &HashSet<SequenceHash>, path: &[u64]| {
            let blocks = blocks(path);
            blocks.iter().take_while(|block| held.contains(&block.sequence)).count()
        };
        for (path, ahead) in &paths {
            prop_assert_eq!(checked.onboard(path, *ahead), expect(&anywhere, path));
        }
        prop_assert_eq!(checked.failures(), 0);
        drop(checked);
        let again = Checked::start(&file, sizes, 1);
        prop_assert_eq!(&held(&again, StorageTier::Disk), &on_disk);
        for (path, ahead) in &paths {
            prop_assert_eq!(again.onboard(path, *ahead), expect(&on_disk, path));
        }
        prop_assert_eq!(again.failures(), 0);
    }
}

#[tokio::test]
async fn each_failure_costs_a_block_and_is_counted() {
    for (fault, reason) in [
        (Fault::Error, "read_error"),
        (Fault::Short, "short_read"),
        (Fault::Torn, "corrupted"),
        (Fault::Flipped, "corrupted"),
    ] {
        let file = FaultyFile::default();
        let mut checked = Checked::start(&file, (0, 8), 1);
        checked.use_sequence(&[1, 2, 3], false);
        checked.settle().await;
        assert_eq!(checked.onboard(&[1, 2, 3], false), 3);
        // The last is taken first: the second block of three fails.
        *file.reads.lock() = vec![None, Some(fault), None];
        assert_eq!(checked.onboard(&[1, 2, 3], false), 1, "{fault:?}");
        checked.settle().await;
        let disk = &checked.tiers.figures()[0];
        assert_eq!(disk.failures, [(reason, 1)].into());
        assert_eq!(disk.blocks, 2, "what failed is forgotten");
        // It is computed and stored again.
        checked.use_sequence(&[1, 2, 3], false);
        checked.settle().await;
        assert_eq!(checked.onboard(&[1, 2, 3], false), 3);
    }
}

#[tokio::test]
async fn a_full_disk_keeps_what_it_has_and_goes_on_with_that() {
    let file = FaultyFile {
        room: Some(layout(3).bytes),
        ..FaultyFile::default()
    };
    let mut checked = Checked::start(&file, (0, 8), 1);
    checked.use_sequence(&[1, 2, 3, 4], false);
    checked.settle().await;
    assert_eq!(checked.onboard(&[1, 2, 3, 4], false), 3);
    assert_eq!(
        checked.tiers.figures()[0].failures,
        [("disk_full", 1)].into()
    );
    // It does not try to grow again at once, but replaces what is oldest.
    checked.use_sequence(&[7, 8], false);
    checked.settle().await;
    assert_eq!(checked.onboard(&[7, 8], false), 2);
    assert_eq!(checked.onboard(&[1, 2, 3, 4], false), 1);
    assert_eq!(checked.failures(), 1);
}

#[tokio::test]
async fn a_smaller_budget_shrinks_the_file() {
    let file = FaultyFile::default();
    let mut checked = Checked::start(&file, (0, 8), 1);
    checked.use_sequence(&[1, 2, 3, 4, 5], false);
    checked.settle().await;
    drop(checked);
    let checked = Checked::start(&file, (0, 2), 1);
    assert_eq!(checked.onboard(&[1, 2, 3, 4, 5], false), 2);
    assert!(file.len().unwrap() <= layout(2).bytes);
}

/// As earlier versions left it, or a file system that has lost the end.
#[tokio::test]
async fn the_last_slot_need_not_be_whole() {
    for on_disk in [false, true] {
        for (cut, found) in [(0, 2), (1, 2), (SHAPE.block_bytes(), 1)] {
            let file = FaultyFile::any(on_disk);
            let mut checked = Checked::start(&file, (0, 8), 1);
            checked.use_sequence(&[1, 2], false);
            checked.settle().await;
            drop(checked);
            let whole = layout(2).bytes;
            assert_eq!(file.len().unwrap(), whole);
            file.set_len(whole - cut as u64).unwrap();
            let checked = Checked::start(&file, (0, 8), 1);
            assert_eq!(checked.onboard(&[1, 2], false), found, "{on_disk} {cut}");
            assert_eq!(checked.failures(), u64::from(found < 2));
        }
    }
}

#[tokio::test]
async fn a_block_goes_to_disk_when_it_was_seen_often_enough() {
    let mut checked = Checked::start(&FaultyFile::default(), (2, 8), 3);
    checked.use_sequence(&[1, 2], true);
    checked.use_sequence(&[1, 2], false);
    checked.settle().await;
    assert_eq!(checked.disk().store.len(), 0);
    checked.use_sequence(&[1], false);
    checked.settle().await;
    let stored = checked.disk().store.contains(&blocks(&[1])[0]);
    assert_eq!((stored, checked.disk().store.len()), (true, 1));
}

#[test]
fn what_waits_shares_its_memory_and_gives_it_back() {
    let ahead = ReadAhead::new(3);
    let first = ahead.take(2);
    let second = ahead.take(2);
    assert_eq!((first.blocks, second.blocks), (2, 1));
    assert_eq!(ahead.take(1).blocks, 0);
    drop(first);
    assert_eq!(ahead.take(9).blocks, 2);
    drop(second);
    assert_eq!(ahead.take(9).blocks, 3);
}

#[test]
fn a_tier_without_room_for_a_block_is_refused() {
    let open = |host_bytes, disk_bytes: Option<u64>| {
        let directory = tempfile::tempdir().unwrap();
        let config = TierConfig {
            host_bytes,
            disk: disk_bytes.map(|bytes| DiskConfig {
                bytes,
                directory: directory.path().to_owned(),
            }),
            min_frequency: 1,
            peers: false,
        };
        let blocks = TierBlocks {
            fingerprint: "model",
            shape: SHAPE,
        };
        KvTiers::open(&config, blocks, Arc::new(BlockCache::new(1)), || {})
    };
    assert!(open(0, None).unwrap().is_empty());
    let block = SHAPE.block_bytes() as u64;
    assert_eq!(open(3 * block, None).unwrap().figures()[0].capacity, 3);
    for error in [open(block - 1, None), open(0, Some(8192))] {
        assert!(
            matches!(error, Err(TierError::TooSmall { .. })),
            "{error:?}"
        );
    }
    let both = open(block, Some(24_000)).unwrap();
    let capacities: Vec<_> = both.figures().iter().map(|tier| tier.capacity).collect();
    assert_eq!(capacities, [1, 3]);
}
