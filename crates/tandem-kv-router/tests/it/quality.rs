//! Routing decisions are worth their cost.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tandem_kv_router::{CostModel, KvRouter, Prompt, RouterConfig, RouterMode};
use tandem_protocol::kv::{BlockHash, hash_sequence};

use crate::simulation::{Arrival, Fleet, Outcome, run};

const BLOCK_SIZE: usize = 512;

/// Conversations of a few turns, each turn repeating what came before, under a handful of system
/// prompts; about as much work as the fleet can do.
fn conversations() -> Vec<Arrival> {
    let mut rng = SmallRng::seed_from_u64(5);
    let mut arrivals = Vec::new();
    for conversation in 0..400_u64 {
        let system = rng.random_range(0..4_u64);
        let mut blocks: Vec<_> = (0..6)
            .map(|block| BlockHash(system * 100 + block))
            .collect();
        let mut at = rng.random_range(0.0..600.0);
        for turn in 0..rng.random_range(1..6_u64) {
            let new = rng.random_range(4..24_u64);
            let fresh =
                (0..new).map(|block| BlockHash((conversation + 1) << 20 | turn << 10 | block));
            blocks.extend(fresh);
            let prompt = Prompt {
                tokens: blocks.len() * BLOCK_SIZE + 100,
                sequence: hash_sequence(&blocks),
                blocks: blocks.clone(),
            };
            arrivals.push(Arrival {
                at: Duration::from_secs_f64(at),
                prompt,
                output_tokens: rng.random_range(50..400),
            });
            at += rng.random_range(20.0..120.0);
        }
    }
    arrivals
}

fn outcome(config: RouterConfig) -> Outcome {
    let fleet = Fleet {
        workers: 6,
        capacity_blocks: 800,
        prefill_tokens_per_second: 8000.0,
        seconds_per_output_token: 0.02,
    };
    run(&KvRouter::new(config), &fleet, &conversations())
}

#[test]
fn cached_prefixes_pay_and_predicting_the_first_token_pays_more() {
    let config = RouterConfig::new(BLOCK_SIZE);
    let round_robin = outcome(RouterConfig {
        mode: RouterMode::RoundRobin,
        ..config
    });
    let blocks = outcome(config);
    let first_token = outcome(RouterConfig {
        cost: CostModel::TimeToFirstToken,
        ..config
    });
    let all = format!("{round_robin:?} {blocks:?} {first_token:?}");
    assert!(blocks.hit_ratio > 1.3 * round_robin.hit_ratio, "{all}");
    assert!(blocks.mean < round_robin.mean, "{all}");
    assert!(first_token.hit_ratio > 1.1 * blocks.hit_ratio, "{all}");
    assert!(first_token.mean < 0.9 * blocks.mean, "{all}");
}
