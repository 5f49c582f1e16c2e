//! Heads of every width, and every number of them per key-value head: the kernels are cut by both.

use std::collections::HashMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::json;
use tandem_worker::engine::Engine;
use tandem_worker::engine::embedded::model::{RandomWeights, TensorSource};
use tandem_worker::engine::embedded::{Device, EmbeddedConfig, EmbeddedEngine};

use crate::support::{Answer, answer, answer_all, config, prompt, request};

const HIDDEN: usize = 48;
const VOCAB: usize = 128;

/// Writes a Llama of one layer with random weights.
fn write_model(directory: &Path, head_dim: usize, heads: usize, kv_heads: usize) {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": 80,
        "num_hidden_layers": 1, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "head_dim": head_dim, "vocab_size": VOCAB, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 1e4, "hidden_act": "silu", "eos_token_id": 0,
        "tie_word_embeddings": true,
    });
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
    let mut shapes = HashMap::from([
        ("model.embed_tokens".to_owned(), vec![VOCAB, HIDDEN]),
        ("model.norm".to_owned(), vec![HIDDEN]),
    ]);
    for (part, shape) in [
        ("input_layernorm", vec![HIDDEN]),
        ("post_attention_layernorm", vec![HIDDEN]),
        ("self_attn.q_proj", vec![queries, HIDDEN]),
        ("self_attn.k_proj", vec![keys, HIDDEN]),
        ("self_attn.v_proj", vec![keys, HIDDEN]),
        ("self_attn.o_proj", vec![HIDDEN, queries]),
        ("mlp.gate_proj", vec![80, HIDDEN]),
        ("mlp.up_proj", vec![80, HIDDEN]),
        ("mlp.down_proj", vec![HIDDEN, 80]),
    ] {
        shapes.insert(format!("model.layers.0.{part}"), shape);
    }
    let source = RandomWeights {
        seed: 7,
        bf16: false,
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let name = format!("{name}.weight");
            let values = source.tensor(&name, &shape).unwrap().into_f32();
            let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name, view)
    });
    serialize_to_file(views, None, &directory.join("model.safetensors")).unwrap();
}

fn assert_close(found: &Answer, expect: &Answer, name: &str) {
    assert_eq!(found.tokens, expect.tokens, "{name}");
    for (found, expect) in found.log_probs.iter().zip(&expect.log_probs) {
        assert!((found - expect).abs() < 1e-3, "{name}: {found} {expect}");
    }
}

#[tokio::test]
async fn heads_of_every_width_attend_alike() {
    let directory = tempfile::tempdir().unwrap();
    for (head_dim, heads, kv_heads) in [
        (16, 3, 3),
        (32, 8, 2),
        (48, 4, 1),
        (64, 12, 1),
        (64, 32, 1),
        (80, 2, 2),
        (96, 8, 1),
        (128, 28, 4),
        (144, 4, 2),
        (192, 9, 1),
        (256, 8, 1),
        (256, 16, 1),
    ] {
        let name = format!("{heads} heads of {head_dim} on {kv_heads}");
        write_model(directory.path(), head_dim, heads, kv_heads);
        let load = |config| EmbeddedEngine::load(directory.path(), config).unwrap();
        let long = prompt(300, 3);
        let requests: Vec<_> = [300, 5, 260, 290]
            .into_iter()
            .map(|len| {
                let mut request = request(&long[..len], 6);
                request.output_options.logprobs = Some(1);
                request
            })
            .collect();
        let cpu = load(EmbeddedConfig {
            device: Device::Cpu,
            kv_blocks: Some(256),
            ..config()
        });
        let plain = load(EmbeddedConfig {
            prefix_reuse: false,
            kv_blocks: Some(256),
            ..config()
        });
        let mut expect = Vec::new();
        for request in &requests {
            let alone = answer(plain.submit(request.clone())).await;
            assert_close(&alone, &answer(cpu.submit(request.clone())).await, &name);
            expect.push(alone);
        }
        for max_batched_tokens in [37, 1024] {
            let together = load(EmbeddedConfig {
                max_batched_tokens,
                max_sequences: 4,
                kv_blocks: Some(256),
                ..config()
            });
            let found = answer_all(&together, &requests).await;
            assert_eq!(found, expect, "{name} by {max_batched_tokens}");
        }
    }
}
