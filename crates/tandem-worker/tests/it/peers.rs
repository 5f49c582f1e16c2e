//! Workers that give their blocks to each other: no answer changes, whatever becomes of the blocks.

use std::time::{Duration, Instant};

use tandem_kv_cache::tier::{TierConfig, TierFigures};
use tandem_kv_cache::transfer::serve;
use tandem_protocol::engine::{EngineRequest, KvPeer};
use tandem_protocol::kv::StorageTier;
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine};
use tandem_worker::engine::{Engine, LoraModule};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::disaggregation::{LONG, PrefillWorker};
use crate::support::{
    Answer, answer, answer_all, checkpoint, config, device, prompt, request, varied,
};

/// Bytes of a block of the checkpoint.
const BLOCK: u64 = 2 * 2 * 2 * 16 * 16 * 4;

/// A worker that shares its blocks.
struct Sharing {
    engine: EmbeddedEngine,
    address: String,
    _tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Sharing {
    async fn start(config: EmbeddedConfig) -> Self {
        Self::of("llama", config).await
    }

    async fn of(model: &str, config: EmbeddedConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let engine = EmbeddedEngine::load(&checkpoint(model), config).unwrap();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, engine.offer(), stop.clone()));
        Self {
            engine,
            address,
            _tasks: tasks,
            stop,
        }
    }

    /// What is said of it to the one that gets `request`.
    fn hint(&self, request: &EngineRequest) -> EngineRequest {
        hint(&self.address, request)
    }

    fn served(&self) -> u64 {
        self.engine.load().counters.peer_blocks_served
    }

    /// What it took from others.
    fn taken(&self) -> TierFigures {
        let tiers = self.engine.load().tiers.into_iter();
        let mut peers = tiers.filter(|figures| figures.tier == StorageTier::External);
        peers.next().unwrap()
    }
}

/// Whole blocks of a prompt of which something is left to compute.
fn whole(request: &EngineRequest) -> usize {
    (request.token_ids.len() - 1) / 16
}

fn hint(address: &str, request: &EngineRequest) -> EngineRequest {
    EngineRequest {
        kv_peer: Some(KvPeer {
            address: address.to_owned(),
            blocks: u32::try_from(whole(request)).unwrap(),
        }),
        ..request.clone()
    }
}

fn sharing(config: EmbeddedConfig) -> EmbeddedConfig {
    EmbeddedConfig {
        tiers: TierConfig {
            peers: true,
            ..config.tiers
        },
        ..config
    }
}

/// One that computes elsewhere, where there are several GPUs.
fn elsewhere() -> EmbeddedConfig {
    EmbeddedConfig {
        device: device("TANDEM_TEST_PREFILL_DEVICE").unwrap_or(config().device),
        ..config()
    }
}

fn requests() -> Vec<EngineRequest> {
    varied((0..6).map(|seed| prompt(60 + 20 * seed, seed)))
}

async fn reference(requests: &[EngineRequest]) -> Vec<Answer> {
    let plain = EmbeddedEngine::load(&checkpoint("llama"), elsewhere()).unwrap();
    answer_all(&plain, requests).await
}

#[tokio::test]
async fn what_a_peer_has_is_not_computed() {
    let (requests, first) = (requests(), Sharing::start(sharing(elsewhere())).await);
    let expect = reference(&requests).await;
    assert_eq!(answer_all(&first.engine, &requests).await, expect);
    let second = Sharing::start(sharing(config())).await;
    let hinted: Vec<_> = requests.iter().map(|one| first.hint(one)).collect();
    assert_eq!(answer_all(&second.engine, &hinted).await, expect);
    let blocks: usize = requests.iter().map(whole).sum();
    let counters = second.engine.load().counters;
    assert_eq!(counters.cached_prompt_tokens, 16 * blocks as u64);
    assert_eq!(
        counters.prefill_tokens_computed + counters.cached_prompt_tokens,
        counters.prompt_tokens
    );
    let taken = second.taken();
    assert_eq!(
        (taken.onboarded, taken.stored, first.served()),
        (blocks as u64, blocks as u64, blocks as u64)
    );
    assert!(taken.failures.is_empty(), "{taken:?}");
    // They are the second one's own now.
    first.stop.cancel();
    assert_eq!(answer_all(&second.engine, &hinted).await, expect);
    assert_eq!(second.taken(), taken);
    assert_eq!(second.engine.load().active_blocks, 0);
}

#[tokio::test]
async fn only_what_is_missing_is_asked_for() {
    let (requests, first) = (requests(), Sharing::start(sharing(elsewhere())).await);
    let expect = reference(&requests).await;
    answer_all(&first.engine, &requests).await;
    let second = Sharing::start(sharing(config())).await;
    let mut beginning = requests[5].clone();
    beginning.token_ids.truncate(70);
    answer(second.engine.submit(beginning)).await;
    let hinted = first.hint(&requests[5]);
    assert_eq!(answer(second.engine.submit(hinted)).await, expect[5]);
    // Four whole blocks of the 70 tokens were there.
    assert_eq!(first.served(), whole(&requests[5]) as u64 - 4);
}

#[tokio::test]
async fn workers_may_ask_each_other_at_the_same_time() {
    let little = |config| EmbeddedConfig {
        kv_blocks: Some(24),
        max_sequences: 3,
        max_batched_tokens: 48,
        ..sharing(config)
    };
    let one = Sharing::start(little(elsewhere())).await;
    let other = Sharing::start(little(config())).await;
    let requests = requests();
    let expect = reference(&requests).await;
    for _ in 0..3 {
        let to_one: Vec<_> = requests.iter().map(|request| other.hint(request)).collect();
        let to_other: Vec<_> = requests.iter().map(|request| one.hint(request)).collect();
        let both = tokio::join!(
            answer_all(&one.engine, &to_one),
            answer_all(&other.engine, &to_other)
        );
        assert_eq!(both, (expect.clone(), expect.clone()));
    }
    for worker in [&one, &other] {
        assert_eq!(worker.engine.load().active_blocks, 0);
        // What was driven out meanwhile is no sign of a defect.
        let failures = worker.taken().failures;
        assert!(
            failures.keys().all(|reason| *reason == "gone"),
            "{failures:?}"
        );
    }
    assert!(one.served() + other.served() > 0);
}

#[tokio::test]
async fn peers_give_what_is_in_their_memory_too() {
    let small = |config| {
        let config = sharing(config);
        EmbeddedConfig {
            kv_blocks: Some(12),
            tiers: TierConfig {
                host_bytes: 1024 * BLOCK,
                ..config.tiers
            },
            ..config
        }
    };
    let first = Sharing::start(small(elsewhere())).await;
    let second = Sharing::start(small(config())).await;
    let requests = requests();
    let expect = reference(&requests).await;
    for request in &requests {
        answer(first.engine.submit(request.clone())).await;
    }
    for (request, expect) in requests.iter().zip(&expect) {
        let hinted = first.hint(request);
        assert_eq!(&answer(second.engine.submit(hinted)).await, expect);
    }
    let blocks: usize = requests.iter().map(whole).sum();
    assert!(blocks > 24, "both devices are too large");
    assert_eq!(second.taken().onboarded, blocks as u64);
    // Its own memory comes before another's.
    for (request, expect) in requests.iter().zip(&expect).rev() {
        let hinted = first.hint(request);
        assert_eq!(&answer(second.engine.submit(hinted)).await, expect);
    }
    assert_eq!(second.taken().onboarded, blocks as u64);
}

/// The answer must be the same without the blocks of the worker at `address`, and say why they did
/// not come.
async fn check_failure(reason: &'static str, address: &str) {
    let asking = Sharing::start(sharing(config())).await;
    let request = requests().remove(5);
    let expect = reference(std::slice::from_ref(&request)).await.remove(0);
    let hinted = hint(address, &request);
    assert_eq!(answer(asking.engine.submit(hinted)).await, expect);
    let failures: Vec<_> = asking.taken().failures.into_iter().collect();
    assert_eq!(failures, [(reason, whole(&request) as u64)]);
    let computed = asking.engine.load().counters.prefill_tokens_computed;
    assert_eq!(computed, request.token_ids.len() as u64);
}

#[tokio::test]
async fn what_a_peer_does_not_have_any_more_is_computed() {
    let forgetful = Sharing::start(sharing(elsewhere())).await;
    check_failure("gone", &forgetful.address).await;
}

#[tokio::test]
async fn a_lost_peer_costs_a_computation() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    check_failure("unreachable", &address).await;
}

#[tokio::test]
async fn a_peer_of_another_model_costs_a_computation() {
    let other = Sharing::of("llama-linear", sharing(elsewhere())).await;
    check_failure("model_mismatch", &other.address).await;
}

#[tokio::test]
async fn a_worker_that_shares_nothing_costs_a_computation() {
    let prefill = PrefillWorker::start("llama", LONG).await;
    let handoff = prefill.prefill(&requests()[0]).await;
    let params = handoff.disaggregated_params.unwrap();
    check_failure("not_shared", params["address"].as_str().unwrap()).await;
}

/// A server that sends `bytes` to whoever comes, and nothing more.
async fn saying(bytes: &'static [u8], tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tasks.spawn(async move {
        let mut streams = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            streams.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn nonsense_from_a_peer_costs_a_computation() {
    let mut tasks = JoinSet::new();
    let http = saying(b"HTTP/1.1 400 Bad Request\r\n\r\n", &mut tasks).await;
    check_failure("protocol", &http).await;
    // A block without numbers whose checksum is another.
    let damaged = saying(&[0, 0, 0, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1], &mut tasks).await;
    check_failure("checksum", &damaged).await;
}

#[tokio::test]
async fn a_silent_peer_costs_little_more_than_a_computation_and_is_left_alone() {
    let mut tasks = JoinSet::new();
    let silent = saying(b"", &mut tasks).await;
    check_failure("timeout", &silent).await;
    let asking = Sharing::start(sharing(config())).await;
    let requests = requests();
    let expect = reference(&requests).await;
    // It knows now how long it computes.
    answer(asking.engine.submit(request(&prompt(90, 99), 2))).await;
    let begun = Instant::now();
    for (request, expect) in requests.iter().zip(&expect) {
        let hinted = hint(&silent, request);
        assert_eq!(&answer(asking.engine.submit(hinted)).await, expect);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "it waited");
    let failures: Vec<_> = asking.taken().failures.into_iter().collect();
    assert_eq!(failures, [("timeout", whole(&requests[0]) as u64)]);
}

#[tokio::test]
async fn blocks_of_an_adapter_are_those_of_the_same_numbers() {
    let with = |directory: &str, config| EmbeddedConfig {
        adapters: vec![LoraModule {
            name: "all".to_owned(),
            directory: checkpoint("adapters").join(directory),
        }],
        // Adapters are computed on processors only.
        device: Default::default(),
        ..sharing(config)
    };
    let first = Sharing::start(with("llama-all", config())).await;
    let mut requests = requests();
    for request in &mut requests {
        request.lora_name = Some("all".to_owned());
    }
    let expect = answer_all(&first.engine, &requests).await;
    let same = Sharing::start(with("llama-all", config())).await;
    let hinted: Vec<_> = requests.iter().map(|one| first.hint(one)).collect();
    assert_eq!(answer_all(&same.engine, &hinted).await, expect);
    let blocks: usize = requests.iter().map(whole).sum();
    assert_eq!(same.taken().onboarded, blocks as u64);

    let other = Sharing::start(with("llama-attention", config())).await;
    let plain = answer_all(&other.engine, &requests[..1]).await;
    assert_ne!(plain[0], expect[0]);
    let other = Sharing::start(with("llama-attention", config())).await;
    assert_eq!(answer_all(&other.engine, &hinted[..1]).await, plain);
    let failures: Vec<_> = other.taken().failures.into_iter().collect();
    assert_eq!(failures, [("model_mismatch", whole(&requests[0]) as u64)]);
}
