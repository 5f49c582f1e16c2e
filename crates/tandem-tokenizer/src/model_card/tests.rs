use super::*;

const CAPTURED: &str = include_str!("../../tests/data/mdc_061.json");

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny")
}

fn settings() -> CardSettings {
    CardSettings {
        display_name: None,
        max_context_length: None,
        kv_cache_block_size: 16,
        model_type: ModelType::CHAT.union(ModelType::COMPLETIONS),
        runtime_config: RuntimeConfig {
            total_kv_blocks: Some(512),
            max_num_seqs: Some(256),
            max_num_batched_tokens: Some(8192),
            data_parallel_size: Some(1),
            ..RuntimeConfig::default()
        },
    }
}

#[test]
fn the_captured_card_decodes_and_encodes_the_same() {
    let card: ModelCard = serde_json::from_str(CAPTURED).unwrap();
    assert_eq!(serde_json::to_string(&card).unwrap(), CAPTURED.trim());
    assert_eq!(
        card.mdcsum(),
        "6248f5dd1b3d928d2ef19e03516fc9f11b04c6c016e9e7b80a6064b682e60d60"
    );
}

#[test]
fn an_adapter_has_a_name() {
    let lora = r#""lora":{"name":"my-lora","max_gpu_lora_count":4}"#;
    let text = format!("{},{lora}}}", CAPTURED.trim().strip_suffix('}').unwrap());
    let card: ModelCard = serde_json::from_str(&text).unwrap();
    assert_eq!(card.lora.as_ref().unwrap().name, "my-lora");
    assert_eq!(serde_json::to_string(&card).unwrap(), text);
}

#[test]
fn the_same_directory_gives_the_captured_card() {
    let captured: ModelCard = serde_json::from_str(CAPTURED).unwrap();
    let mut card = ModelCard::from_dir(&tiny(), settings()).unwrap();
    assert_eq!(card.eos_token_ids().unwrap(), [2]);
    assert_eq!(card.directory().unwrap(), tiny());
    assert_eq!(card.mdcsum(), captured.mdcsum());
    // Only the paths differ.
    card.model_info = captured.model_info.clone();
    card.tokenizer = captured.tokenizer.clone();
    card.prompt_formatter = captured.prompt_formatter.clone();
    card.gen_config = captured.gen_config.clone();
    assert_eq!(card, captured);
}

#[test]
fn a_card_of_a_later_version_decodes() {
    let json = serde_json::json!({
        "display_name": "m", "slug": "m", "context_length": 8, "kv_cache_block_size": 16,
        "model_type": "Chat | Prefill | Rerank", "worker_type": "decode",
        "runtime_config": {"context_length": 8, "runtime_data": {"a": 1}},
    });
    let card: ModelCard = serde_json::from_value(json).unwrap();
    assert_eq!(card.model_type, ModelType::CHAT.union(ModelType::PREFILL));
    assert!(!card.model_type.contains(ModelType::EMBEDDING));
    assert_eq!(card.runtime_config.extra["runtime_data"]["a"], 1);
    assert_eq!(card.eos_token_ids().unwrap(), Vec::<u32>::new());
}

#[test]
fn what_a_model_lacks_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = |directory: &Path| {
        ModelCard::from_dir(directory, settings())
            .unwrap_err()
            .to_string()
    };
    let path = directory.path().display();
    assert_eq!(
        error(directory.path()),
        format!("failed to load model from {path}: config.json is missing")
    );
    std::fs::write(directory.path().join("config.json"), "{}").unwrap();
    assert!(error(directory.path()).ends_with("max_position_embeddings is missing"));
    std::fs::write(directory.path().join("config.json"), "{").unwrap();
    assert!(error(directory.path()).starts_with("failed to parse"));
}

#[test]
fn names_become_slugs() {
    let check = |name: &str, expected: &str| assert_eq!(slug(name), expected);
    check("Qwen/Qwen3-0.6B", "qwen_qwen3-0_6b");
    check("_x Y", "x_y");
}
