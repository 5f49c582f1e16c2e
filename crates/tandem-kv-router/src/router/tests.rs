use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tandem_protocol::engine::RouterConfigOverride;
use tandem_protocol::kv::{
    HashScope, KvEvent, KvEventData, StorageTier, StoredBlock, StoredBlocks,
};

use super::*;
use crate::{ApproximateConfig, CostModel, TierWeights};

const BLOCK_SIZE: usize = 16;

fn candidates(count: u64) -> Vec<WorkerCandidate> {
    let candidate = |id| WorkerCandidate {
        worker: Worker::new(id),
        total_blocks: 512,
    };
    (1..=count).map(candidate).collect()
}

fn prompt(tokens: u32) -> Prompt {
    let tokens: Vec<_> = (0..tokens).collect();
    Prompt::new(&tokens, BLOCK_SIZE, HashScope::default())
}

fn request<'a>(id: &'a str, prompt: &'a Prompt) -> SelectRequest<'a> {
    SelectRequest {
        id,
        prompt,
        overrides: RouterConfigOverride::default(),
        remote_prefill: false,
    }
}

fn stored(worker_id: u64, prompt: &Prompt) -> RouterEvent {
    let blocks = prompt.sequence.iter().zip(&prompt.blocks);
    let block = |(&block_hash, &tokens_hash)| StoredBlock {
        block_hash,
        tokens_hash,
    };
    let data = KvEventData::Stored(StoredBlocks {
        parent_hash: None,
        blocks: blocks.map(block).collect(),
    });
    let event = KvEvent {
        event_id: 1,
        data,
        dp_rank: 0,
    };
    RouterEvent::new(worker_id, event)
}

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(1)
}

#[test]
fn the_captured_decisions_come_out_the_same() {
    let router = KvRouter::new(RouterConfig::new(BLOCK_SIZE));
    let prompt = prompt(101);
    let worker = [WorkerCandidate {
        worker: Worker::new(7_587_899_044_545_572_869),
        total_blocks: 512,
    }];
    let first = router
        .select(&request("a", &prompt), &worker, &mut rng())
        .unwrap();
    assert_eq!(
        first.chosen.formula(),
        "Formula for worker_id=7587899044545572869 dp_rank=0 with 0 cached blocks: 12.312 = 1.0 * prefill_blocks + decode_blocks = 1.0 * 6.312 + 6.000"
    );
    assert_eq!(
        first.summary(),
        "Selected worker: worker_id=7587899044545572869 dp_rank=0, logit: 12.312, cached blocks: 0, total blocks: 512"
    );
    router
        .apply(&stored(worker[0].worker.worker_id, &prompt))
        .unwrap();
    let second = router
        .select(&request("b", &prompt), &worker, &mut rng())
        .unwrap();
    assert_eq!(
        second.chosen.formula(),
        "Formula for worker_id=7587899044545572869 dp_rank=0 with 6 cached blocks: 6.312 = 1.0 * prefill_blocks + decode_blocks = 1.0 * 0.312 + 6.000"
    );
    assert_eq!(
        second.summary(),
        "Selected worker: worker_id=7587899044545572869 dp_rank=0, logit: 6.312, cached blocks: 6, total blocks: 512"
    );
}

#[test]
fn a_request_in_flight_counts_until_it_is_freed() {
    let router = KvRouter::new(RouterConfig::new(BLOCK_SIZE));
    let prompt = prompt(101);
    let workers = candidates(1);
    let cost = |id| {
        let selection = router
            .select(&request(id, &prompt), &workers, &mut rng())
            .unwrap();
        (
            selection.chosen.cost.prefill_blocks,
            selection.chosen.cost.decode_blocks,
        )
    };
    router
        .route(&request("a", &prompt), &workers, Instant::now(), &mut rng())
        .unwrap();
    assert_eq!(cost("b"), (202.0 / 16.0, 6.0));
    assert!(router.mark_prefill_completed("a"));
    assert_eq!(cost("b"), (101.0 / 16.0, 6.0));
    assert!(router.free("a"));
    assert_eq!(router.load(Worker::new(1)), WorkerLoad::default());
}

#[test]
fn a_cached_prefix_wins_until_its_worker_is_too_busy() {
    let router = KvRouter::new(RouterConfig::new(BLOCK_SIZE));
    let prompt = prompt(160);
    let workers = candidates(2);
    router.apply(&stored(2, &prompt)).unwrap();
    let chosen = |id: &str| {
        let selection = router.route(&request(id, &prompt), &workers, Instant::now(), &mut rng());
        selection.unwrap().chosen
    };
    assert_eq!(chosen("a").candidate.worker, Worker::new(2));
    assert_eq!(chosen("a").overlap.blocks(), 10);
    let other = Prompt::new(&[9; 640], BLOCK_SIZE, HashScope::default());
    router.add(&request("busy", &other), Worker::new(2), 0, Instant::now());
    assert_eq!(chosen("b").candidate.worker, Worker::new(1));
    router.remove_worker(2);
    assert!(router.overlaps(&prompt.blocks).is_empty());
    assert!(!router.free("busy"));
}

#[test]
fn a_cached_block_saves_less_the_slower_its_tier() {
    let prompt = prompt(160);
    let prefill_blocks = |storage_tier, weights| {
        let router = KvRouter::new(RouterConfig {
            tier_weights: weights,
            ..RouterConfig::new(BLOCK_SIZE)
        });
        let event = RouterEvent {
            storage_tier,
            ..stored(1, &prompt)
        };
        router.apply(&event).unwrap();
        let selection = router.select(&request("a", &prompt), &candidates(1), &mut rng());
        let chosen = selection.unwrap().chosen;
        (chosen.overlap.blocks(), chosen.cost.prefill_blocks)
    };
    let dynamo = TierWeights::DYNAMO;
    let check = |tier, expected| assert_eq!(prefill_blocks(tier, dynamo), expected);
    check(StorageTier::Device, (10, 0.0));
    check(StorageTier::HostPinned, (10, 2.5));
    check(StorageTier::Disk, (10, 7.5));
    check(StorageTier::External, (0, 10.0));
    let nothing = TierWeights {
        host: 0.0,
        disk: 0.0,
    };
    assert_eq!(prefill_blocks(StorageTier::HostPinned, nothing), (10, 10.0));
}

#[test]
fn a_rank_is_chosen_for_what_it_has_cached_itself() {
    let router = KvRouter::new(RouterConfig::new(BLOCK_SIZE));
    let prompt = prompt(160);
    let mut event = stored(1, &prompt);
    event.event.dp_rank = 1;
    router.apply(&event).unwrap();
    let rank = |dp_rank| Worker {
        worker_id: 1,
        dp_rank,
    };
    let ranks = [0, 1, 2].map(|dp_rank| WorkerCandidate {
        worker: rank(dp_rank),
        total_blocks: 512,
    });
    let now = Instant::now();
    let selection = router.route(&request("a", &prompt), &ranks, now, &mut rng());
    assert_eq!(selection.unwrap().chosen.candidate.worker, rank(1));
    assert_eq!(router.load(rank(1)).requests, 1);
    assert_eq!(router.load(rank(0)).requests, 0);
    router.remove_worker(1);
    assert_eq!(router.load(rank(1)).requests, 0);
    assert!(router.overlaps(&prompt.blocks).is_empty());
}

#[test]
fn a_request_can_override_weight_and_temperature() {
    let router = KvRouter::new(RouterConfig::new(BLOCK_SIZE));
    let prompt = prompt(160);
    router.apply(&stored(2, &prompt)).unwrap();
    let mut decode = request("a", &prompt);
    decode.overrides.overlap_score_weight = Some(0.0);
    let selection = router.select(&decode, &candidates(2), &mut rng()).unwrap();
    let logits: Vec<_> = selection
        .scores
        .iter()
        .map(|score| score.cost.logit())
        .collect();
    assert_eq!(logits, [10.0, 10.0]);

    let mut warm = request("b", &prompt);
    warm.overrides.router_temperature = Some(100.0);
    let mut rng = rng();
    let mut pick = || {
        router
            .select(&warm, &candidates(2), &mut rng)
            .unwrap()
            .chosen
    };
    let first = pick().candidate;
    assert!((0..50).any(|_| pick().candidate != first));
}

#[test]
fn the_other_cost_weighs_uncached_work_more_than_blocks_in_use() {
    let config = RouterConfig {
        cost: CostModel::TimeToFirstToken,
        ..RouterConfig::new(BLOCK_SIZE)
    };
    let router = KvRouter::new(config);
    let prompt = prompt(101);
    router.apply(&stored(1, &prompt)).unwrap();
    let selection = router
        .select(&request("a", &prompt), &candidates(2), &mut rng())
        .unwrap();
    assert_eq!(selection.chosen.candidate.worker, Worker::new(1));
    assert_eq!(
        selection.scores[1].formula(),
        "Formula for worker_id=2 dp_rank=0 with 0 cached blocks: 25.850 = 1.0 * (prefill_blocks + 3.0 * uncached_blocks) + 0.1 * decode_blocks = 1.0 * (6.312 + 3.0 * 6.312) + 0.1 * 6.000"
    );
}

#[test]
fn prefill_workers_do_not_count_active_blocks() {
    let config = RouterConfig {
        track_active_blocks: false,
        ..RouterConfig::new(BLOCK_SIZE)
    };
    let router = KvRouter::new(config);
    let prompt = prompt(101);
    let selection = router.route(
        &request("a", &prompt),
        &candidates(1),
        Instant::now(),
        &mut rng(),
    );
    assert_eq!(selection.unwrap().chosen.cost.decode_blocks, 0.0);
    assert_eq!(router.load(Worker::new(1)).active_blocks, 0);
}

#[test]
fn remote_prefill_leaves_nothing_to_compute() {
    let router = KvRouter::new(RouterConfig::new(BLOCK_SIZE));
    let prompt = prompt(101);
    let decode = SelectRequest {
        remote_prefill: true,
        ..request("a", &prompt)
    };
    router
        .route(&decode, &candidates(1), Instant::now(), &mut rng())
        .unwrap();
    let load = router.load(Worker::new(1));
    assert_eq!((load.prefill_tokens, load.active_blocks), (0, 6));
}

#[test]
fn without_events_the_router_remembers_where_prompts_went() {
    let config = RouterConfig {
        index: IndexConfig::Approximate(ApproximateConfig::default()),
        ..RouterConfig::new(BLOCK_SIZE)
    };
    let router = KvRouter::new(config);
    let prompt = prompt(101);
    let start = Instant::now();
    let route = |id: &str, at: u64| {
        let now = start + Duration::from_secs(at);
        let selection = router.route(&request(id, &prompt), &candidates(3), now, &mut rng());
        assert!(router.free(id));
        selection.unwrap().chosen
    };
    let first = route("a", 0);
    assert_eq!(first.overlap.blocks(), 0);
    let again = route("b", 1);
    assert_eq!(
        (again.candidate, again.overlap.blocks()),
        (first.candidate, 6)
    );
    router.remove_worker(first.candidate.worker.worker_id);
    assert!(router.overlaps(&prompt.blocks).is_empty());
}

#[test]
fn the_simple_modes_spread_requests() {
    let workers = candidates(4);
    let prompt = prompt(20);
    let check = |mode, most_uneven: usize| {
        let config = RouterConfig {
            mode,
            ..RouterConfig::new(BLOCK_SIZE)
        };
        let router = KvRouter::new(config);
        let mut rng = rng();
        for id in 0..400 {
            let id = id.to_string();
            router
                .route(&request(&id, &prompt), &workers, Instant::now(), &mut rng)
                .unwrap();
        }
        let counts = workers
            .iter()
            .map(|candidate| router.load(candidate.worker).requests);
        let counts: Vec<_> = counts.collect();
        assert_eq!(counts.iter().sum::<usize>(), 400);
        let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
        assert!(spread <= most_uneven, "{mode:?}: {counts:?}");
    };
    check(RouterMode::RoundRobin, 0);
    check(RouterMode::LeastLoaded, 1);
    check(RouterMode::PowerOfTwo, 8);
    check(RouterMode::Random, 60);
}

#[test]
fn nobody_is_picked_from_nobody() {
    let prompt = prompt(20);
    for mode in [
        RouterMode::Kv,
        RouterMode::RoundRobin,
        RouterMode::PowerOfTwo,
    ] {
        let router = KvRouter::new(RouterConfig {
            mode,
            ..RouterConfig::new(BLOCK_SIZE)
        });
        let picked = router.route(&request("a", &prompt), &[], Instant::now(), &mut rng());
        assert_eq!(picked, None);
    }
}
