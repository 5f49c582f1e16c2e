//! LoRA adapters against PEFT, and beside each other.

use std::path::Path;

use tandem_kv_cache::tier::{DiskConfig, TierConfig};
use tandem_protocol::ErrorKind;
use tandem_protocol::engine::EngineRequest;
use tandem_worker::engine::embedded::model::{Decoder, ModelConfig, Weights};
use tandem_worker::engine::embedded::{
    Device, EmbeddedConfig, EmbeddedEngine, Quantization, Speculation,
};
use tandem_worker::engine::mock::{MockConfig, StepTime};
use tandem_worker::engine::{Engine, LoraModule};

use crate::disaggregation::{LONG, PrefillWorker};
use crate::models::{adapted_logits, assert_close, expected};
use crate::support::{
    Answer, answer, answer_all, checkpoint, config, generate, prompt, refusal, request,
};
use crate::tiers;

/// Base and adapter of each case.
const CASES: [(&str, &str); 8] = [
    ("llama", "llama-all"),
    ("llama", "llama-attention"),
    ("qwen2", "qwen2-all"),
    ("qwen3", "qwen3-all"),
    ("gemma2", "gemma2-all"),
    ("gemma3", "gemma3-all"),
    ("phi3", "phi3-fused"),
    ("mistral-sharded-bf16", "mistral-bf16"),
];

fn module(name: &str, directory: &str) -> LoraModule {
    LoraModule {
        name: name.to_owned(),
        directory: checkpoint("adapters").join(directory),
    }
}

/// The adapters of llama, under their own names. They run on a processor only.
fn adapted(config: EmbeddedConfig) -> EmbeddedConfig {
    with(
        vec![
            module("all", "llama-all"),
            module("attention", "llama-attention"),
        ],
        config,
    )
}

fn with(adapters: Vec<LoraModule>, config: EmbeddedConfig) -> EmbeddedConfig {
    EmbeddedConfig {
        device: Device::Cpu,
        adapters,
        ..config
    }
}

fn load(config: EmbeddedConfig) -> EmbeddedEngine {
    EmbeddedEngine::load(&checkpoint("llama"), config).unwrap()
}

fn by(adapter: Option<&str>, request: &EngineRequest) -> EngineRequest {
    EngineRequest {
        lora_name: adapter.map(str::to_owned),
        ..request.clone()
    }
}

/// The same prompts for the model and for each of its adapters, in turns.
fn requests() -> Vec<EngineRequest> {
    let mut requests = Vec::new();
    for len in [5, 33, 100, 120] {
        let mut request = request(&prompt(len, 3), 20);
        request.output_options.logprobs = Some(2);
        for adapter in [None, Some("all"), Some("attention")] {
            requests.push(by(adapter, &request));
        }
    }
    requests
}

/// Each by itself, without anything that could go wrong; those without an adapter by a model that
/// has none.
async fn reference(quantization: Quantization) -> Vec<Answer> {
    let plain = EmbeddedConfig {
        device: Device::Cpu,
        quantization,
        prefix_reuse: false,
        threads: Some(1),
        ..config()
    };
    let (base, engine) = (load(plain.clone()), load(adapted(plain)));
    let mut answers = Vec::new();
    for request in requests() {
        let engine = match request.lora_name {
            None => &base,
            Some(_) => &engine,
        };
        answers.push(answer(engine.submit(request)).await);
    }
    for three in answers.chunks(3) {
        assert!(three[0].tokens != three[1].tokens && three[1].tokens != three[2].tokens);
    }
    answers
}

#[tokio::test]
async fn adapters_answer_as_peft_does() {
    for (base, adapter) in CASES {
        let directory = checkpoint("adapters").join(adapter);
        // Phi-3 has other wavelengths for long contexts.
        let context_length = (base == "phi3").then_some(64);
        let model = ModelConfig::read(&checkpoint(base), context_length).unwrap();
        let weights = Weights::open(&checkpoint(base)).unwrap();
        let mut decoder = Decoder::load(model, &weights, Quantization::None).unwrap();
        let (index, _) = decoder.add_adapter(&directory).unwrap();
        let config = EmbeddedConfig {
            context_length,
            ..with(vec![module("adapter", adapter)], config())
        };
        let engine = EmbeddedEngine::load(&checkpoint(base), config).unwrap();
        for case in expected(&format!("adapters/{adapter}"), "expected.json") {
            let found = adapted_logits(&decoder, Some(index), &case.prompt);
            assert_close(&found, &case.logits, adapter);
            let request = by(Some("adapter"), &request(&case.prompt, 24));
            assert_eq!(generate(&engine, request).await, case.greedy, "{adapter}");
        }
        // The model itself is still there.
        for case in expected(base, "expected.json") {
            let tokens = generate(&engine, request(&case.prompt, 24)).await;
            assert_eq!(tokens, case.greedy, "{base} beside {adapter}");
        }
    }
}

#[tokio::test]
async fn company_and_chunks_and_reuse_and_guesses_change_nothing() {
    for quantization in [Quantization::None, Quantization::Q8_0] {
        let expect = reference(quantization).await;
        for (max_batched_tokens, kv_blocks, speculation) in [
            (512, 128, None),
            (9, 128, None),
            (48, 14, None),
            (
                512,
                128,
                Some(Speculation {
                    num_speculative_tokens: 4,
                    prompt_lookup_max: 2,
                    prompt_lookup_min: 1,
                }),
            ),
        ] {
            let engine = load(adapted(EmbeddedConfig {
                quantization,
                max_batched_tokens,
                max_sequences: 9,
                kv_blocks: Some(kv_blocks),
                speculation,
                ..config()
            }));
            let found = answer_all(&engine, &requests()).await;
            assert_eq!(found, expect, "{quantization:?} {max_batched_tokens}");
            let again = answer_all(&engine, &requests()).await;
            assert_eq!(
                again, expect,
                "{quantization:?} {max_batched_tokens}, again"
            );
            let load = engine.load();
            assert_eq!(load.active_blocks, 0);
            assert_eq!(load.counters.preemptions > 0, kv_blocks == 14);
        }
    }
}

#[tokio::test]
async fn nobody_reuses_the_blocks_of_another_adapter() {
    let engine = load(adapted(config()));
    let request = request(&prompt(64, 1), 2);
    let cached = || engine.load().counters.cached_prompt_tokens;
    for adapter in [None, Some("all"), Some("attention")] {
        let before = cached();
        generate(&engine, by(adapter, &request)).await;
        assert_eq!(cached(), before, "{adapter:?}");
        generate(&engine, by(adapter, &request)).await;
        assert_eq!(cached(), before + 48, "{adapter:?}");
    }
}

#[tokio::test]
async fn prompts_are_handed_over_between_workers_with_the_same_adapter() {
    let expect = reference(Quantization::None).await;
    let prefill = PrefillWorker::with(|config| load(adapted(config)), LONG).await;
    let decode = load(adapted(config()));
    for (request, expect) in requests().iter().zip(&expect) {
        let second_leg = prefill.prefill(request).await;
        assert_eq!(&answer(decode.submit(second_leg)).await, expect);
    }
    let counters = decode.load().counters;
    assert_eq!(counters.prefill_tokens_computed, 0);
    assert_eq!(counters.remote_prefills, 12);

    // One that only has the same name.
    let other = load(with(vec![module("all", "llama-attention")], config()));
    let second_leg = prefill.prefill(&requests()[7]).await;
    let expect = &expect[8];
    let found = answer(other.submit(second_leg)).await;
    // The first token was told before anybody knew.
    assert_eq!(found.tokens.len(), expect.tokens.len());
    let fallbacks = other.load().counters.remote_prefill_fallbacks;
    assert_eq!(
        fallbacks.into_iter().collect::<Vec<_>>(),
        [("model_mismatch", 1)]
    );
    assert_eq!(found.tokens, expect.tokens);
}

fn on_disk(directory: &Path, config: EmbeddedConfig) -> EmbeddedConfig {
    EmbeddedConfig {
        tiers: TierConfig {
            disk: Some(DiskConfig {
                bytes: 1 << 24,
                directory: directory.to_owned(),
            }),
            min_frequency: 1,
            ..TierConfig::default()
        },
        ..config
    }
}

#[tokio::test]
async fn blocks_on_disk_are_those_of_the_same_adapter() {
    let directory = tempfile::tempdir().unwrap();
    let requests: Vec<_> = (0..6)
        .map(|seed| by(Some("all"), &request(&prompt(90, seed), 8)))
        .collect();
    let run = async |adapter: &str, disk: bool| {
        let config = with(vec![module("all", adapter)], config());
        let engine = load(match disk {
            true => on_disk(directory.path(), config),
            false => config,
        });
        let answers = answer_all(&engine, &requests).await;
        if disk {
            tiers::on_disk(&engine, 36).await;
        }
        let tiers = engine.load().tiers;
        (
            answers,
            tiers.iter().map(|tier| tier.onboarded).sum::<u64>(),
        )
    };
    let first = run("llama-all", false).await.0;
    let second = run("llama-attention", false).await.0;
    assert_eq!(run("llama-all", true).await, (first.clone(), 0));
    let (again, onboarded) = run("llama-all", true).await;
    assert_eq!(again, first);
    assert_eq!(onboarded, 6 * 5);
    // Another adapter under the same name finds nothing that it could take for its own.
    assert_eq!(run("llama-attention", true).await, (second, 0));
}

#[test]
fn what_is_no_adapter_of_the_model_is_refused() {
    let refused = |name: &str, adapters: &str| {
        let config = with(vec![module(name, adapters)], config());
        let error = EmbeddedEngine::load(&checkpoint("llama"), config).unwrap_err();
        error.to_string()
    };
    for (directory, says) in [
        (
            "refused/dora",
            "adapter \"x\": adapter with \"use_dora=true\" is not supported",
        ),
        ("none", "adapter_config.json"),
    ] {
        let error = refused("x", directory);
        assert!(error.contains(says), "{error}");
    }
    // Phi's projections are those of another architecture.
    let error = refused("x", "phi3-fused");
    assert!(error.contains("has shape"), "{error}");

    let on_gpu = EmbeddedConfig {
        device: Device::Cuda(0),
        ..adapted(config())
    };
    let error = EmbeddedEngine::load(&checkpoint("llama"), on_gpu).unwrap_err();
    assert!(error.to_string().contains("adapter on a GPU"), "{error}");

    let mock = MockConfig {
        speedup: 1.0,
        step_time: StepTime::default(),
    };
    let error = EmbeddedEngine::mock(&checkpoint("llama"), mock, adapted(config())).unwrap_err();
    assert!(error.to_string().contains("adapter of a mock"), "{error}");
}

#[tokio::test]
async fn adapters_that_are_not_here_are_refused() {
    let engine = load(adapted(config()));
    let request = by(Some("other"), &request(&prompt(5, 1), 2));
    assert!(engine.check(&request).is_err());
    let refused = refusal(engine.submit(request)).await;
    assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
    assert!(refused.to_string().contains("\"other\""), "{refused}");
    assert_eq!(engine.info().adapters, ["all", "attention"]);
}
