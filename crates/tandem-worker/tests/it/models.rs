//! Logits and greedy tokens against transformers.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tandem_kv_cache::{BlockPool, BlockStore};
use tandem_tokenizer::{ChatTemplate, Conversation, Tokenizer};
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::model::{
    Batch, Decoder, ModelConfig, ModelError, Span, Weights,
};
use tandem_worker::engine::embedded::{Compute, Device, EmbeddedConfig, EmbeddedEngine};

use crate::support::{answer, checkpoint, config, generate, request};

#[derive(Deserialize)]
pub(crate) struct Expected {
    pub(crate) prompt: Vec<u32>,
    pub(crate) logits: Vec<f32>,
    pub(crate) greedy: Vec<u32>,
}

pub(crate) fn expected(name: &str, file: &str) -> Vec<Expected> {
    let text = std::fs::read(checkpoint(name).join(file)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

pub(crate) fn logits(directory: &Path, config: &EmbeddedConfig, prompt: &[u32]) -> Vec<f32> {
    let model = ModelConfig::read(directory, config.context_length).unwrap();
    let weights = Weights::open(directory).unwrap();
    logits_of(
        &Decoder::load(model, &weights, config.quantization).unwrap(),
        prompt,
    )
}

/// The logits after `prompt`.
pub(crate) fn logits_of(decoder: &Decoder, prompt: &[u32]) -> Vec<f32> {
    adapted_logits(decoder, None, prompt)
}

/// The logits after `prompt`, with an adapter.
pub(crate) fn adapted_logits(
    decoder: &Decoder,
    adapter: Option<usize>,
    prompt: &[u32],
) -> Vec<f32> {
    let compute = Compute::new(2).unwrap();
    let shape = decoder.kv_shape(16);
    let blocks = BlockPool::new(8).allocate(8).unwrap();
    let mut store = BlockStore::new(shape, 8);
    let mut batch = Batch::default();
    batch.push(Span {
        tokens: prompt,
        start: 0,
        row: 0,
        adapter,
        blocks: &blocks,
        wanted: 1,
    });
    compute.run(|| decoder.forward(&compute, &batch, &mut store))
}

pub(crate) fn assert_close(found: &[f32], expected: &[f32], name: &str) {
    for (token, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error < 1e-4,
            "{name}: logit {token} is {found}, not {expected}"
        );
    }
}

/// What the engine says of its first token, on whatever device it is.
async fn check_logprobs(engine: &EmbeddedEngine, expected: &Expected, name: &str) {
    let mut request = request(&expected.prompt, 1);
    request.output_options.logprobs = Some(20);
    let found = answer(engine.submit(request)).await;
    let total: f64 = expected.logits.iter().map(|&x| f64::from(x).exp()).sum();
    assert_eq!(found.top.len(), 20, "{name}");
    // A GPU rounds the inputs of products as their weights are.
    let rounds = name.contains("bf16") && config().device != Device::Cpu;
    let tolerance = if rounds { 3e-2 } else { 2e-4 };
    for (token, logprob) in found.top {
        let expect = f64::from(expected.logits[token as usize]) - total.ln();
        let error = (logprob - expect).abs();
        assert!(
            error < tolerance,
            "{name}: token {token} has {logprob}, not {expect}"
        );
    }
}

async fn check(name: &str) {
    check_up_to(None, name, "expected.json").await;
}

async fn check_up_to(context_length: Option<usize>, name: &str, file: &str) {
    let config = EmbeddedConfig {
        context_length,
        ..config()
    };
    let engine = EmbeddedEngine::load(&checkpoint(name), config.clone()).unwrap();
    for expected in expected(name, file) {
        check_logprobs(&engine, &expected, name).await;
        let found = logits(&checkpoint(name), &config, &expected.prompt);
        assert_eq!(found.len(), expected.logits.len());
        assert_close(&found, &expected.logits, name);
        let count = u32::try_from(expected.greedy.len()).unwrap();
        let tokens = generate(&engine, request(&expected.prompt, count)).await;
        assert_eq!(tokens, expected.greedy, "{name}");
    }
}

#[tokio::test]
async fn llama_with_llama3_rope_and_tied_embeddings() {
    check("llama").await;
}

#[tokio::test]
async fn llama_with_linear_rope() {
    check("llama-linear").await;
}

#[tokio::test]
async fn qwen2_with_biases() {
    check("qwen2").await;
}

#[tokio::test]
async fn qwen3_with_head_norms() {
    check("qwen3").await;
}

#[tokio::test]
async fn qwen3_with_yarn_rope() {
    check("qwen3-yarn").await;
}

#[tokio::test]
async fn mistral_in_bf16_shards() {
    check("mistral-sharded-bf16").await;
}

#[tokio::test]
async fn mistral_with_a_window() {
    check("mistral-window").await;
}

#[tokio::test]
async fn gemma_with_gelu_and_scaled_embeddings() {
    check("gemma").await;
}

#[tokio::test]
async fn gemma_2_with_bounds_and_windows() {
    check("gemma2").await;
}

#[tokio::test]
async fn gemma_3_with_two_ropes() {
    check("gemma3").await;
}

#[tokio::test]
async fn phi_3_with_either_set_of_wavelengths() {
    check_up_to(Some(64), "phi3", "expected.json").await;
    check_up_to(None, "phi3", "expected-long.json").await;
}

/// The configuration of a checkpoint with some of its text replaced.
fn edited(name: &str, edits: &[(&str, &str)]) -> ModelConfig {
    let directory = tempfile::tempdir().unwrap();
    let mut text = std::fs::read_to_string(checkpoint(name).join("config.json")).unwrap();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    std::fs::write(directory.path().join("config.json"), text).unwrap();
    ModelConfig::read(directory.path(), None).unwrap()
}

#[test]
fn windows_are_those_of_the_architecture() {
    let windows = |config: &ModelConfig| -> Vec<Option<usize>> {
        (0..config.layers)
            .map(|layer| config.window(layer))
            .collect()
    };
    let layers = ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 7");
    let gemma2 = edited("gemma2", &[layers]);
    let (yes, no) = (Some(7), None);
    assert_eq!(windows(&gemma2), [yes, no, yes, no, yes, no, yes]);
    // Qwen has a window in the upper layers, if it is switched on.
    let window = "\"sliding_window\": 7, \"max_window_layers\": 5, \"model_type\"";
    let window = [layers, ("\"model_type\"", window)];
    assert_eq!(windows(&edited("qwen2", &window)), [no; 7]);
    let on = "\"use_sliding_window\": true, \"max_window_layers\"";
    let on = [&window[..], &[("\"max_window_layers\"", on)]].concat();
    assert_eq!(
        windows(&edited("qwen2", &on)),
        [no, no, no, no, no, yes, yes]
    );
}

#[test]
fn gemma_3_means_the_same_in_the_older_layout() {
    let directory = tempfile::tempdir().unwrap();
    let text = std::fs::read(checkpoint("gemma3").join("config.json")).unwrap();
    let mut json: Value = serde_json::from_slice(&text).unwrap();
    let object = json.as_object_mut().unwrap();
    object.remove("rope_parameters").unwrap();
    object.remove("layer_types").unwrap();
    object.insert("rope_theta".to_owned(), 1e6.into());
    object.insert("rope_local_base_freq".to_owned(), 1e4.into());
    object.insert("sliding_window_pattern".to_owned(), 2.into());
    let scaling = serde_json::json!({"rope_type": "linear", "factor": 8.0});
    object.insert("rope_scaling".to_owned(), scaling);
    std::fs::write(directory.path().join("config.json"), json.to_string()).unwrap();
    let old = ModelConfig::read(directory.path(), None).unwrap();
    assert_eq!(old, ModelConfig::read(&checkpoint("gemma3"), None).unwrap());
}

#[test]
fn what_is_not_supported_is_named() {
    let check = |from: &str, to: &str, expect: &str| {
        let directory = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(checkpoint("llama").join("config.json")).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(directory.path().join("config.json"), text.replace(from, to)).unwrap();
        let error = ModelConfig::read(directory.path(), None).unwrap_err();
        assert_eq!(error.to_string(), expect);
    };
    check(
        "LlamaForCausalLM",
        "GPT2LMHeadModel",
        "architecture \"GPT2LMHeadModel\" is not supported; supported: LlamaForCausalLM, \
         MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, GemmaForCausalLM, \
         Gemma2ForCausalLM, Gemma3ForCausalLM, Phi3ForCausalLM",
    );
    check(
        "\"llama3\"",
        "\"dynamic\"",
        "rope scaling \"dynamic\" is not supported; supported: default, linear, llama3, \
         longrope, yarn",
    );
    check(
        "\"silu\"",
        "\"gelu\"",
        "activation \"gelu\" is not supported; supported: silu",
    );
    check(
        "\"head_dim\": 16",
        "\"head_dim\": 20",
        "head_dim \"20\" is not supported; supported: multiples of 16",
    );
    check(
        "\"model_type\"",
        "\"quantization_config\": {\"quant_method\": \"gptq\"}, \"model_type\"",
        "quantization \"\\\"gptq\\\"\" is not supported; supported: none (f32, f16, bf16)",
    );
}

#[test]
fn a_broken_checkpoint_is_named() {
    let load = |directory: &Path| EmbeddedEngine::load(directory, config());
    let missing = tempfile::tempdir().unwrap();
    let error = load(missing.path()).unwrap_err();
    assert!(matches!(error, ModelError::Read { .. }), "{error}");

    let cut = tempfile::tempdir().unwrap();
    let config = std::fs::read(checkpoint("llama").join("config.json")).unwrap();
    std::fs::write(cut.path().join("config.json"), &config).unwrap();
    let weights = std::fs::read(checkpoint("llama").join("model.safetensors")).unwrap();
    let file = cut.path().join("model.safetensors");
    std::fs::write(&file, &weights[..weights.len() / 2]).unwrap();
    let error = load(cut.path()).unwrap_err();
    assert!(matches!(error, ModelError::Malformed { .. }), "{error}");

    let text = String::from_utf8(config).unwrap();
    let wider = text.replace("\"hidden_size\": 32", "\"hidden_size\": 64");
    std::fs::write(cut.path().join("config.json"), wider).unwrap();
    std::fs::write(&file, weights).unwrap();
    let error = load(cut.path()).unwrap_err();
    assert!(matches!(error, ModelError::Shape { .. }), "{error}");
}

/// A conversation with the shipped chat model, as transformers sees it.
#[derive(Deserialize)]
struct Chat {
    name: String,
    messages: Vec<Value>,
    text: String,
    prompt: Vec<u32>,
    /// The first few of the last position.
    logits: Vec<f32>,
    greedy: Vec<u32>,
    greedy_text: String,
}

#[tokio::test]
async fn the_shipped_chat_model() {
    #[derive(Deserialize)]
    struct Chats {
        cases: Vec<Chat>,
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tandem-nano-chat");
    let chats = std::fs::read(checkpoint("nano_chat.json")).unwrap();
    let chats: Chats = serde_json::from_slice(&chats).unwrap();
    let template = ChatTemplate::from_dir(&directory).unwrap();
    let tokenizer = Tokenizer::from_dir(&directory).unwrap();
    let engine = EmbeddedEngine::load(&directory, config()).unwrap();
    for chat in chats.cases {
        let name = chat.name.as_str();
        let text = template.render(&Conversation::new(&chat.messages)).unwrap();
        assert_eq!(text, chat.text, "{name}");
        assert_eq!(tokenizer.encode(&text, false).unwrap(), chat.prompt);
        let found = logits(&directory, &config(), &chat.prompt);
        assert_close(&found[..chat.logits.len()], &chat.logits, name);
        let count = u32::try_from(chat.greedy.len()).unwrap();
        let tokens = generate(&engine, request(&chat.prompt, count)).await;
        assert_eq!(tokens, chat.greedy, "{name}");
        assert_eq!(tokenizer.decode(&tokens, true).unwrap(), chat.greedy_text);
    }
}
