//! Prompts computed by one worker and continued by another.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tandem_kv_cache::transfer::serve;
use tandem_protocol::engine::{EngineRequest, FinishReason};
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine, TransferConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{answer, checkpoint, config, device, engine, prompt, request};

/// A worker that hands prompts over.
pub(crate) struct PrefillWorker {
    engine: EmbeddedEngine,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl PrefillWorker {
    pub(crate) async fn start(model: &str, lease: Duration) -> Self {
        let load = |config| EmbeddedEngine::load(&checkpoint(model), config).unwrap();
        Self::with(load, lease).await
    }

    /// One with the engine that `load` starts.
    pub(crate) async fn with(
        load: impl FnOnce(EmbeddedConfig) -> EmbeddedEngine,
        lease: Duration,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = EmbeddedConfig {
            transfer: Some(TransferConfig { address, lease }),
            device: device("TANDEM_TEST_PREFILL_DEVICE").unwrap_or(config().device),
            ..config()
        };
        let engine = load(config);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, engine.offer(), stop.clone()));
        Self {
            engine,
            tasks,
            stop,
        }
    }

    /// Runs the first leg and returns the request of the second.
    pub(crate) async fn prefill(&self, request: &EngineRequest) -> EngineRequest {
        let mut first_leg = request.clone();
        first_leg.stop_conditions.max_tokens = Some(1);
        let mut outputs = self.engine.submit_prefill(first_leg);
        let output = outputs.next().await.unwrap().unwrap();
        assert_eq!(output.finish_reason, Some(FinishReason::Length));
        assert_eq!(output.token_ids.len(), 1);
        EngineRequest {
            disaggregated_params: Some(output.disaggregated_params.unwrap()),
            ..request.clone()
        }
    }

    fn outstanding(&self) -> usize {
        self.engine.offer().leases.unwrap().outstanding()
    }
}

pub(crate) const LONG: Duration = Duration::from_secs(60);

fn requests() -> Vec<EngineRequest> {
    let mut requests = Vec::new();
    for (len, seed) in [
        (5, None),
        (16, Some(1)),
        (33, None),
        (100, Some(2)),
        (150, Some(3)),
    ] {
        let mut request = request(&prompt(len, len), 25);
        request.output_options.logprobs = Some(1);
        if seed.is_some() {
            request.sampling_options.temperature = Some(0.8);
            request.sampling_options.top_k = Some(50);
            request.sampling_options.presence_penalty = Some(0.3);
            request.sampling_options.seed = seed;
        }
        requests.push(request);
    }
    requests
}

#[tokio::test]
async fn the_answer_is_the_same_and_the_prompt_is_computed_once() {
    let prefill = PrefillWorker::start("llama", LONG).await;
    let decode = engine(config());
    let aggregated = engine(config());
    let mut prompt_tokens = 0;
    for request in requests() {
        prompt_tokens += request.token_ids.len() as u64;
        let second_leg = prefill.prefill(&request).await;
        let expect = answer(aggregated.submit(request)).await;
        assert_eq!(answer(decode.submit(second_leg)).await, expect);
    }
    let counters = decode.load().counters;
    assert_eq!(counters.prefill_tokens_computed, 0);
    assert_eq!(counters.remote_prefills, 5);
    assert!(counters.remote_prefill_fallbacks.is_empty());
    assert_eq!(
        prefill.engine.load().counters.prefill_tokens_computed,
        prompt_tokens
    );
    assert_eq!(prefill.outstanding(), 0);
    assert_eq!(prefill.engine.load().active_blocks, 0);
}

#[tokio::test]
async fn many_at_once_with_little_room() {
    let prefill = PrefillWorker::start("llama", LONG).await;
    let decode = engine(EmbeddedConfig {
        kv_blocks: Some(12),
        max_sequences: 3,
        ..config()
    });
    let aggregated = engine(config());
    let requests = requests();
    let mut second_legs = Vec::new();
    for request in &requests {
        second_legs.push(prefill.prefill(request).await);
    }
    let answers = second_legs
        .into_iter()
        .map(|request| answer(decode.submit(request)));
    let answers = futures::future::join_all(answers).await;
    for (request, found) in requests.into_iter().zip(answers) {
        assert_eq!(found, answer(aggregated.submit(request)).await);
    }
    assert_eq!(decode.load().active_blocks, 0);
}

#[tokio::test]
async fn only_what_is_missing_is_fetched() {
    let prefill = PrefillWorker::start("llama", LONG).await;
    let decode = engine(config());
    let request = requests()[3].clone();
    let first = answer(decode.submit(prefill.prefill(&request).await)).await;
    let mut longer = request.clone();
    longer.token_ids.extend(&first.tokens);
    let expect = answer(engine(config()).submit(longer.clone())).await;
    assert_eq!(
        answer(decode.submit(prefill.prefill(&longer).await)).await,
        expect
    );
    let counters = decode.load().counters;
    assert_eq!(
        (counters.prefill_tokens_computed, counters.remote_prefills),
        (0, 2)
    );
    // 100 tokens and 24 of the answer are here: 7 full blocks.
    assert_eq!(counters.cached_prompt_tokens, 112);
}

/// A second leg whose blocks do not come must give the same answer, and say why.
async fn check_fallback(reason: &'static str, break_it: impl AsyncFn(&mut PrefillWorker)) {
    let mut prefill = PrefillWorker::start("llama", LONG).await;
    let decode = engine(config());
    let request = requests()[3].clone();
    let second_leg = prefill.prefill(&request).await;
    break_it(&mut prefill).await;
    let expect = answer(engine(config()).submit(request)).await;
    assert_eq!(answer(decode.submit(second_leg)).await, expect, "{reason}");
    let counters = decode.load().counters;
    let fallbacks: Vec<_> = counters.remote_prefill_fallbacks.into_iter().collect();
    assert_eq!(fallbacks, [(reason, 1)]);
    assert_eq!(counters.prefill_tokens_computed, 100);
}

#[tokio::test]
async fn a_lost_prefill_worker_costs_a_recomputation() {
    check_fallback("unreachable", async |prefill| {
        prefill.stop.cancel();
        prefill.tasks.join_next().await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_expired_lease_costs_a_recomputation() {
    check_fallback("unknown_handle", async |prefill| {
        let leases = prefill.engine.offer().leases.unwrap();
        assert_eq!(leases.expire(std::time::Instant::now() + LONG), 1);
        assert_eq!(prefill.engine.load().active_blocks, 0);
    })
    .await;
}

#[tokio::test]
async fn another_model_or_nonsense_costs_a_recomputation() {
    let other = PrefillWorker::start("llama-linear", LONG).await;
    let decode = engine(config());
    let request = requests()[3].clone();
    let expect = answer(engine(config()).submit(request.clone())).await;
    let mismatched = other.prefill(&request).await;
    assert_eq!(answer(decode.submit(mismatched)).await, expect);
    let mut nonsense = request.clone();
    nonsense.disaggregated_params = Some(serde_json::json!({"bootstrap_room": 1}));
    let expect = answer(engine(config()).submit(request)).await;
    let found = answer(decode.submit(nonsense)).await;
    assert_eq!(found.tokens, expect.tokens);
    let fallbacks = decode.load().counters.remote_prefill_fallbacks;
    let fallbacks: Vec<_> = fallbacks.into_iter().collect();
    assert_eq!(fallbacks, [("invalid_params", 1), ("model_mismatch", 1)]);
}

#[tokio::test]
async fn an_answer_of_one_token_releases_the_lease() {
    let prefill = PrefillWorker::start("llama", LONG).await;
    let decode = engine(config());
    let mut request = requests()[2].clone();
    request.stop_conditions.max_tokens = Some(1);
    let second_leg = prefill.prefill(&request).await;
    let expect = answer(engine(config()).submit(request)).await;
    assert_eq!(answer(decode.submit(second_leg)).await, expect);
    let leases = Arc::clone(&prefill.engine.offer().leases.unwrap());
    while leases.outstanding() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(decode.load().counters.requests, 0);
}
