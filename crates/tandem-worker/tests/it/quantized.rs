//! Weights of 8 and 4 bits: rounded at load, or from GGUF files.

use std::collections::BTreeMap;

use serde::Deserialize;
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::model::{
    Decoder, Gguf, ModelConfig, ModelError, TensorSource, Values,
};
use tandem_worker::engine::embedded::{EmbeddedConfig, EmbeddedEngine, Quantization};

use crate::disaggregation::{LONG, PrefillWorker};
use crate::models::{expected, logits, logits_of};
use crate::support::{answer, answer_all, checkpoint, config, generate, prompt, request};

/// Cosine of the angle between what was computed and what should be.
fn likeness(found: &[f32], expected: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt()
}

#[test]
fn rounded_weights_give_nearly_the_same_logits() {
    let check = |name: &str, quantization, least: f32| {
        for expected in expected(name, "expected.json") {
            let run = EmbeddedConfig {
                quantization,
                ..config()
            };
            let found = logits(&checkpoint(name), &run, &expected.prompt);
            let likeness = likeness(&found, &expected.logits);
            assert!(likeness > least, "{name} {quantization:?}: {likeness}");
        }
    };
    for name in ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"] {
        check(name, Quantization::Q8_0, 0.99);
    }
    // 4 bits are coarse for random weights of such a small model.
    for name in ["llama", "qwen2", "qwen3"] {
        check(name, Quantization::Q4K, 0.88);
    }
}

#[tokio::test]
async fn rounded_weights_answer_alike_however_they_are_run() {
    for quantization in [Quantization::Q8_0, Quantization::Q4K] {
        let load = |config: EmbeddedConfig| {
            let config = EmbeddedConfig {
                quantization,
                ..config
            };
            EmbeddedEngine::load(&checkpoint("qwen3"), config).unwrap()
        };
        let mut requests: Vec<_> = [5, 40, 120, 90]
            .map(|len| request(&prompt(120, 4)[..len], 15))
            .into();
        for request in &mut requests {
            request.output_options.logprobs = Some(2);
        }
        let plain = load(EmbeddedConfig {
            prefix_reuse: false,
            threads: Some(1),
            ..config()
        });
        let mut expect = Vec::new();
        for request in &requests {
            expect.push(answer(plain.submit(request.clone())).await);
        }
        for max_batched_tokens in [7, 512] {
            let engine = load(EmbeddedConfig {
                max_batched_tokens,
                max_sequences: 4,
                ..config()
            });
            assert_eq!(answer_all(&engine, &requests).await, expect);
            assert_eq!(answer_all(&engine, &requests).await, expect);
        }
        let prefill = PrefillWorker::with(load, LONG).await;
        let decode = load(config());
        for (request, expect) in requests.iter().zip(&expect) {
            let second_leg = prefill.prefill(request).await;
            assert_eq!(&answer(decode.submit(second_leg)).await, expect);
        }
        assert_eq!(decode.load().counters.remote_prefills, 4);
    }
}

#[tokio::test]
async fn workers_with_other_weights_do_not_take_over_prompts() {
    let prefill = PrefillWorker::start("llama", LONG).await;
    let config = EmbeddedConfig {
        quantization: Quantization::Q8_0,
        ..config()
    };
    let decode = EmbeddedEngine::load(&checkpoint("llama"), config).unwrap();
    let second_leg = prefill.prefill(&request(&prompt(40, 1), 5)).await;
    generate(&decode, second_leg).await;
    let counters = decode.load().counters;
    assert_eq!(counters.remote_prefills, 0);
    assert_eq!(counters.prefill_tokens_computed, 40);
}

/// Some numbers of a tensor, as the library of llama.cpp reads them.
#[derive(Deserialize)]
struct Sample {
    shape: Vec<usize>,
    format: String,
    numbers: Vec<(usize, f32)>,
}

#[test]
fn gguf_files_hold_what_their_library_says() {
    let mut formats = BTreeMap::new();
    for name in ["gguf-llama", "gguf-gemma2", "gguf-phi3"] {
        let gguf = Gguf::open(&checkpoint(name).join("model.gguf")).unwrap();
        let samples = std::fs::read(checkpoint(name).join("samples.json")).unwrap();
        let samples: BTreeMap<String, Sample> = serde_json::from_slice(&samples).unwrap();
        for (tensor, sample) in samples {
            let values = gguf.tensor(&tensor, &sample.shape).unwrap();
            let kind = match &values {
                Values::F32(_) => "f32",
                Values::Bf16(_) => "bf16",
                Values::Q8(_) => "8 bits",
                Values::Q4(_) => "4 bits",
            };
            // What has no product of its own is rounded to 8 bits.
            let allowed = if sample.format == "Q6_K" { 2e-3 } else { 1e-6 };
            for (place, number) in sample.numbers {
                let found = values.get(place);
                assert!(
                    (found - number).abs() < allowed,
                    "{tensor}: {found} {number}"
                );
            }
            formats.insert(sample.format, kind);
        }
    }
    let expect = [
        ("BF16", "bf16"),
        ("F16", "f32"),
        ("F32", "f32"),
        ("Q4_K", "4 bits"),
        ("Q6_K", "8 bits"),
        ("Q8_0", "8 bits"),
    ];
    let formats: Vec<_> = formats
        .iter()
        .map(|(name, kind)| (&**name, *kind))
        .collect();
    assert_eq!(formats, expect);
}

/// Weights whose products are computed without rounding the inputs.
struct Widened(Gguf);

impl TensorSource for Widened {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        Ok(Values::F32(self.0.tensor(name, shape)?.into_f32().into()))
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}

#[test]
fn gguf_models_compute_what_transformers_does() {
    // Weights of 6 bits are read as 8 bits, in the reference by another program.
    for (name, allowed) in [
        ("gguf-gemma2", 1e-4),
        ("gguf-phi3", 1e-4),
        ("gguf-llama", 0.08),
    ] {
        let directory = checkpoint(name);
        let gguf = Widened(Gguf::open(&directory.join("model.gguf")).unwrap());
        for expected in expected(name, "expected.json") {
            let model = ModelConfig::read(&directory, None).unwrap();
            let decoder = Decoder::load(model, &gguf, Quantization::None).unwrap();
            let found = logits_of(&decoder, &expected.prompt);
            for (found, expected) in found.iter().zip(&expected.logits) {
                let error = (found - expected).abs();
                assert!(error < allowed, "{name}: {found} {expected}");
            }
            // As it is run.
            let found = logits(&directory, &config(), &expected.prompt);
            let likeness = likeness(&found, &expected.logits);
            assert!(likeness > 0.99, "{name}: {likeness}");
        }
    }
}

#[tokio::test]
async fn gguf_models_of_exact_weights_answer_as_transformers_does() {
    let engine = EmbeddedEngine::load(&checkpoint("gguf-gemma2"), config()).unwrap();
    for expected in expected("gguf-gemma2", "expected.json") {
        let tokens = generate(&engine, request(&expected.prompt, 24)).await;
        assert_eq!(tokens, expected.greedy);
    }
}

#[test]
fn a_directory_has_one_model() {
    let directory = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        let from = checkpoint("gguf-phi3").join(from);
        std::fs::copy(from, directory.path().join(to)).unwrap();
    };
    copy("config.json", "config.json");
    copy("model.gguf", "a.gguf");
    EmbeddedEngine::load(directory.path(), config()).unwrap();
    copy("model.gguf", "b.gguf");
    let error = EmbeddedEngine::load(directory.path(), config()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "number of GGUF files \"2\" is not supported; supported: one file in a directory, with \
         config.json and tokenizer.json"
    );
}
