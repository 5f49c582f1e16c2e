//! A worker that is killed while it writes loses what it was writing, and nothing is ever wrong.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tandem_kv_cache::tier::{DiskConfig, KvTiers, Onboarding, TierBlocks, TierConfig};
use tandem_kv_cache::{BlockCache, BlockData, BlockIdentity, KvShape};
use tandem_protocol::kv::BlockHash;

/// Names the directory to the process that is killed.
const DIRECTORY: &str = "TANDEM_CRASH_TEST_DIRECTORY";
/// Tells it how much memory there is for blocks.
const HOST_BYTES: &str = "TANDEM_CRASH_TEST_HOST_BYTES";
/// Slots of the file: fewer than blocks, so that some are overwritten.
const SLOTS: u64 = 64;
const BLOCKS: u64 = 100;
const SHAPE: KvShape = KvShape {
    layers: 8,
    kv_heads: 2,
    head_dim: 64,
    block_size: 16,
};
const PATIENCE: Duration = Duration::from_secs(60);

fn open(directory: &Path, host_bytes: u64) -> KvTiers {
    let slot = SHAPE.block_bytes().next_multiple_of(4096) as u64;
    let config = TierConfig {
        host_bytes,
        disk: Some(DiskConfig {
            bytes: 2 * 4096 + SLOTS * slot,
            directory: directory.to_owned(),
        }),
        min_frequency: 1,
        peers: false,
    };
    let blocks = TierBlocks {
        fingerprint: "model",
        shape: SHAPE,
    };
    KvTiers::open(&config, blocks, Arc::new(BlockCache::new(1)), || {}).unwrap()
}

fn block(number: u64) -> BlockIdentity {
    BlockIdentity::after(None, BlockHash(number))
}

/// Numbers that no other block has, at any place.
fn data(number: u64) -> BlockData {
    let first = u32::try_from(number).unwrap() << 20;
    let numbers = first..first + u32::try_from(SHAPE.block_len()).unwrap();
    numbers.map(f32::from_bits).collect()
}

/// The process that is killed: does nothing unless it is told where.
#[test]
fn write_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let host_bytes = std::env::var_os(HOST_BYTES).unwrap();
    let host_bytes = host_bytes.to_str().unwrap().parse().unwrap();
    let tiers = open(Path::new(&directory), host_bytes);
    for number in (0..BLOCKS).cycle() {
        tiers.saw(block(number), || data(number));
    }
}

/// Blocks that are there and right; whatever is wrong fails the test.
fn check(tiers: &KvTiers) -> usize {
    let mut found = 0;
    for number in 0..BLOCKS {
        let onboarding = tiers.onboard(&[block(number)], &Onboarding::default(), None);
        let until = Instant::now() + PATIENCE;
        while !onboarding.is_ready() {
            assert!(Instant::now() < until, "a read never ends");
            std::thread::yield_now();
        }
        for came in tiers.take(onboarding) {
            let same = came
                .iter()
                .zip(data(number).iter())
                .all(|(one, two)| one.to_bits() == two.to_bits());
            assert!(same, "block {number} has other numbers");
            found += 1;
        }
    }
    found
}

#[test]
fn a_killed_writer_costs_blocks_and_no_more() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("blocks-0.kv");
    for round in 0..16 {
        // With memory for blocks, those on disk do not go through the system's cache: who writes and
        // who reads afterwards does so either way.
        let memory = |is_there| u64::from(is_there) * SHAPE.block_bytes() as u64;
        let (writer, reader) = (memory(round % 2 == 1), memory(round / 2 % 2 == 1));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::write_until_killed", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(HOST_BYTES, writer.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Killed once the file has grown, and then at any point of what it does.
        let size = || file.metadata().map_or(0, |file| file.len());
        let least = if round == 0 {
            SHAPE.block_bytes() as u64 * SLOTS / 2
        } else {
            1
        };
        let until = Instant::now() + PATIENCE;
        while size() < least {
            assert!(Instant::now() < until, "nothing is written");
            std::thread::yield_now();
        }
        let until = Instant::now() + Duration::from_micros(random.random_range(0..30_000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        assert_eq!(
            child.wait().unwrap().signal(),
            Some(9),
            "it was still writing"
        );
        // The lock died with the process, and the file is the same one.
        let tiers = open(directory.path(), reader);
        let found = check(&tiers);
        assert!(found > 0, "nothing was found again");
        let figures = tiers.figures().pop().unwrap();
        let lost: u64 = figures.failures.values().sum();
        println!(
            "round {round}: {found} blocks found, {lost} of {} torn",
            figures.capacity
        );
        assert!(
            lost <= 2,
            "more than what was being written: {:?}",
            figures.failures
        );
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
