//! Blocks that leave the device and come back change no answer, whatever happens to them meanwhile.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tandem_kv_cache::tier::{DiskConfig, TierConfig, TierFigures};
use tandem_protocol::engine::EngineRequest;
use tandem_protocol::kv::{KvEventData, SequenceHash, StorageTier, TierEvent};
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine};

use crate::disaggregation::{LONG, PrefillWorker};
use crate::support::{
    Answer, answer, answer_all, checkpoint, config, engine, prompt, request, varied,
};

/// KV blocks of the device: a quarter of what `requests` needs.
const DEVICE: usize = 12;
/// Bytes of a block.
const BLOCK: u64 = 2 * 2 * 2 * 16 * 16 * 4;
/// Bytes of more blocks than there are.
const MANY: u64 = 1024 * BLOCK;

fn requests() -> Vec<EngineRequest> {
    varied((0..8).map(|seed| prompt(90 + seed, seed)))
}

async fn reference(requests: &[EngineRequest]) -> Vec<Answer> {
    let plain = engine(EmbeddedConfig {
        prefix_reuse: false,
        ..config()
    });
    let mut answers = Vec::new();
    for request in requests {
        answers.push(answer(plain.submit(request.clone())).await);
    }
    answers
}

fn tiers(host_bytes: u64, disk: Option<&Path>) -> TierConfig {
    TierConfig {
        host_bytes,
        disk: disk.map(|directory| DiskConfig {
            bytes: MANY,
            directory: directory.to_owned(),
        }),
        min_frequency: 1,
        peers: false,
    }
}

fn small(tiers: TierConfig) -> EmbeddedConfig {
    EmbeddedConfig {
        kv_blocks: Some(DEVICE),
        tiers,
        ..config()
    }
}

fn figures(engine: &EmbeddedEngine, tier: StorageTier) -> TierFigures {
    let mut figures = engine.load().tiers.into_iter();
    figures.find(|figures| figures.tier == tier).unwrap()
}

/// Waits until `blocks` are on disk: they are written behind the answers.
pub(crate) async fn on_disk(engine: &EmbeddedEngine, blocks: usize) {
    let deadline = tokio::time::Instant::now() + LONG;
    while figures(engine, StorageTier::Disk).blocks < blocks {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            engine.load()
        );
        tokio::task::yield_now().await;
    }
}

/// Full blocks of all prompts and answers.
fn blocks(requests: &[EngineRequest]) -> usize {
    // The last generated token is never an input.
    requests
        .iter()
        .map(|one| (one.token_ids.len() + 7) / 16)
        .sum()
}

fn reversed<T: Clone>(items: &[T]) -> Vec<T> {
    items.iter().rev().cloned().collect()
}

#[tokio::test]
async fn tiers_change_nothing() {
    let requests = requests();
    let expect = reference(&requests).await;
    assert!(blocks(&requests) >= 4 * DEVICE, "the device is too large");
    let directory = tempfile::tempdir().unwrap();
    let host_only = tiers(MANY, None);
    let disk_only = tiers(0, Some(&directory.path().join("disk")));
    // The rest is on disk.
    let both = tiers(24 * BLOCK, Some(&directory.path().join("both")));
    for (tiers, places) in [
        (host_only, vec![StorageTier::HostPinned]),
        (disk_only, vec![StorageTier::Disk]),
        (both, vec![StorageTier::HostPinned, StorageTier::Disk]),
    ] {
        for (max_batched_tokens, max_sequences) in [(512, 1), (48, 3), (7, 2)] {
            let engine = engine(EmbeddedConfig {
                max_batched_tokens,
                max_sequences,
                ..small(tiers.clone())
            });
            assert_eq!(answer_all(&engine, &requests).await, expect);
            // The latest first: a turn in the same order finds nothing in what is too small for all.
            let (requests, expect) = (reversed(&requests), reversed(&expect));
            for _ in 0..2 {
                assert_eq!(answer_all(&engine, &requests).await, expect);
            }
            let load = engine.load();
            assert_eq!(load.active_blocks, 0);
            for place in &places {
                let figures = figures(&engine, *place);
                assert!(figures.onboarded > 0, "{figures:?}");
                assert!(figures.failures.is_empty(), "{figures:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_tiers_have_is_not_computed() {
    let requests = requests();
    let engine = engine(small(tiers(MANY, None)));
    for request in &requests {
        answer(engine.submit(request.clone())).await;
    }
    let before = engine.load().counters;
    for request in &requests {
        answer(engine.submit(request.clone())).await;
    }
    let after = engine.load().counters;
    let computed = after.prefill_tokens_computed - before.prefill_tokens_computed;
    // All but the last, partial block.
    let expect: usize = requests
        .iter()
        .map(|one| (one.token_ids.len() - 1) % 16 + 1)
        .sum();
    assert_eq!(computed, expect as u64);
    let cached = after.cached_prompt_tokens - before.cached_prompt_tokens;
    assert_eq!(
        cached + computed,
        after.prompt_tokens - before.prompt_tokens
    );
}

#[tokio::test]
async fn a_restarted_worker_finds_its_blocks_and_another_model_does_not() {
    let requests = requests();
    let expect = reference(&requests).await;
    let directory = tempfile::tempdir().unwrap();
    let config = small(tiers(0, Some(directory.path())));
    let first = engine(config.clone());
    assert_eq!(answer_all(&first, &requests).await, expect);
    on_disk(&first, blocks(&requests)).await;
    drop(first);

    let second = engine(config.clone());
    let found = figures(&second, StorageTier::Disk).blocks;
    assert_eq!(found, blocks(&requests));
    assert_eq!(answer_all(&second, &requests).await, expect);
    let disk = figures(&second, StorageTier::Disk);
    let whole: usize = requests
        .iter()
        .map(|one| (one.token_ids.len() - 1) / 16)
        .sum();
    assert_eq!(
        second.load().counters.cached_prompt_tokens,
        16 * whole as u64
    );
    assert!(disk.onboarded > 0 && disk.failures.is_empty(), "{disk:?}");
    drop(second);

    let other = EmbeddedEngine::load(&checkpoint("llama-linear"), config).unwrap();
    assert_eq!(figures(&other, StorageTier::Disk).blocks, 0);
    let plain =
        EmbeddedEngine::load(&checkpoint("llama-linear"), crate::support::config()).unwrap();
    assert_eq!(
        answer_all(&other, &requests).await,
        answer_all(&plain, &requests).await
    );
}

#[tokio::test]
async fn damaged_blocks_are_computed_again() {
    let requests = requests();
    let expect = reference(&requests).await;
    let directory = tempfile::tempdir().unwrap();
    let config = small(tiers(0, Some(directory.path())));
    let first = engine(config.clone());
    answer_all(&first, &requests).await;
    on_disk(&first, blocks(&requests)).await;
    drop(first);
    // One bit of every fourth block.
    let path = directory.path().join("blocks-0.kv");
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    for damaged in (0..blocks(&requests) as u64).step_by(4) {
        // After two pages: what the file is, and what its blocks are.
        let at = 2 * 4096 + damaged * BLOCK + 17 * damaged;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 32], at).unwrap();
    }
    let second = engine(config);
    for _ in 0..2 {
        assert_eq!(answer_all(&second, &requests).await, expect);
    }
    let disk = figures(&second, StorageTier::Disk);
    assert!(disk.failures["corrupted"] > 0, "{disk:?}");
    assert!(disk.onboarded > 0, "{disk:?}");
}

#[tokio::test]
async fn preemption_with_tiers_changes_nothing() {
    let requests: Vec<_> = (0..6).map(|seed| request(&prompt(40, seed), 60)).collect();
    let expect = reference(&requests).await;
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(EmbeddedConfig {
        kv_blocks: Some(9),
        ..small(tiers(8 * BLOCK, Some(directory.path())))
    });
    assert_eq!(answer_all(&engine, &requests).await, expect);
    let load = engine.load();
    assert!(load.counters.preemptions > 0);
    assert!(figures(&engine, StorageTier::HostPinned).onboarded > 0);
    assert_eq!(load.active_blocks, 0);
}

#[tokio::test]
async fn tiers_and_remote_prefill_go_together() {
    let prefill = PrefillWorker::with(
        |base| {
            let tiers = tiers(MANY, None);
            engine(EmbeddedConfig {
                kv_blocks: Some(DEVICE),
                tiers,
                ..base
            })
        },
        LONG,
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let decode = engine(small(tiers(24 * BLOCK, Some(directory.path()))));
    let requests = requests();
    let expect = reference(&requests).await;
    let both_ways = requests.iter().zip(&expect);
    for (request, expect) in both_ways.clone().chain(both_ways.rev()) {
        let second_leg = prefill.prefill(request).await;
        assert_eq!(&answer(decode.submit(second_leg)).await, expect);
    }
    let counters = decode.load().counters;
    assert_eq!(counters.prefill_tokens_computed, 0);
    assert!(figures(&decode, StorageTier::HostPinned).onboarded > 0);
}

/// What a subscriber that was told `changes` knows.
fn known(changes: &[TierEvent]) -> BTreeSet<(StorageTier, SequenceHash)> {
    let mut known = BTreeSet::new();
    for change in changes {
        let tier = change.storage_tier;
        match &change.event.data {
            KvEventData::Cleared => known.clear(),
            KvEventData::Stored(run) => {
                known.extend(run.blocks.iter().map(|block| (tier, block.block_hash)));
            }
            KvEventData::Removed { block_hashes } => {
                for hash in block_hashes {
                    assert!(known.remove(&(tier, *hash)), "removed what was not there");
                }
            }
        }
    }
    known
}

#[tokio::test]
async fn subscribers_know_what_each_tier_holds() {
    let requests = requests();
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(small(tiers(8 * BLOCK, Some(directory.path()))));
    let mut events = engine.subscribe_kv_events();
    drop(events.take_snapshot());
    answer_all(&engine, &requests).await;
    on_disk(&engine, blocks(&requests)).await;
    let snapshot = engine.subscribe_kv_events().take_snapshot();
    let mut live = Vec::new();
    while live.len() < usize::try_from(snapshot[0].event.event_id).unwrap() {
        let change = events.next().await.unwrap().unwrap();
        live.push(change);
        assert_eq!(live.last().unwrap().event.event_id, live.len() as u64);
    }
    let live = known(&live);
    assert_eq!(live, known(&snapshot));
    for tier in [StorageTier::HostPinned, StorageTier::Disk] {
        let count = live.iter().filter(|(known, _)| *known == tier).count();
        assert_eq!(count, figures(&engine, tier).blocks, "{tier:?}");
    }
}
