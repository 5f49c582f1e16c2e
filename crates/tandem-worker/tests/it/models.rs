//! Logits and greedy tokens against transformers.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tandem_kv_cache::{BlockPool, BlockStore};
use tandem_tokenizer::{ChatTemplate, Conversation, Tokenizer};
use tandem_worker::engine::embedded::model::{
    Batch, Checkpoint, Decoder, ModelConfig, ModelError, Span,
};
use tandem_worker::engine::embedded::{Compute, EmbeddedEngine};

use crate::support::{checkpoint, config, generate, request};

#[derive(Deserialize)]
struct Expected {
    prompt: Vec<u32>,
    logits: Vec<f32>,
    greedy: Vec<u32>,
}

fn expected(name: &str) -> Vec<Expected> {
    let text = std::fs::read(checkpoint(name).join("expected.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn logits(directory: &Path, prompt: &[u32]) -> Vec<f32> {
    let compute = Compute::new(2).unwrap();
    let model = ModelConfig::read(directory).unwrap();
    let decoder = Decoder::load(model, &Checkpoint::open(directory).unwrap()).unwrap();
    let shape = decoder.kv_shape(16);
    let blocks = BlockPool::new(4).allocate(4).unwrap();
    let mut store = BlockStore::new(shape, 4);
    let mut batch = Batch::default();
    batch.push(Span {
        tokens: prompt,
        start: 0,
        row: 0,
        blocks: &blocks,
        logits: true,
    });
    compute.run(|| decoder.forward(&compute, &batch, &mut store))
}

fn assert_close(found: &[f32], expected: &[f32], name: &str) {
    for (token, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error < 1e-4,
            "{name}: logit {token} is {found}, not {expected}"
        );
    }
}

async fn check(name: &str) {
    let engine = EmbeddedEngine::load(&checkpoint(name), config()).unwrap();
    for expected in expected(name) {
        let found = logits(&checkpoint(name), &expected.prompt);
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

#[test]
fn what_is_not_supported_is_named() {
    let check = |from: &str, to: &str, expect: &str| {
        let directory = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(checkpoint("llama").join("config.json")).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(directory.path().join("config.json"), text.replace(from, to)).unwrap();
        let error = ModelConfig::read(directory.path()).unwrap_err();
        assert_eq!(error.to_string(), expect);
    };
    check(
        "LlamaForCausalLM",
        "GPT2LMHeadModel",
        "architecture \"GPT2LMHeadModel\" is not supported; supported: LlamaForCausalLM, \
         MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM",
    );
    check(
        "\"llama3\"",
        "\"dynamic\"",
        "rope scaling \"dynamic\" is not supported; supported: default, linear, llama3, yarn",
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
        let found = logits(&directory, &chat.prompt);
        assert_close(&found[..chat.logits.len()], &chat.logits, name);
        let count = u32::try_from(chat.greedy.len()).unwrap();
        let tokens = generate(&engine, request(&chat.prompt, count)).await;
        assert_eq!(tokens, chat.greedy, "{name}");
        assert_eq!(tokenizer.decode(&tokens, true).unwrap(), chat.greedy_text);
    }
}
