use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::*;

/// The tokenizer of the shipped test data: byte-level BPE, `<s>` is 1 and `</s>` is 2.
pub(crate) fn byte_level() -> Arc<Tokenizer> {
    static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny");
        Arc::new(Tokenizer::from_dir(&directory).unwrap())
    });
    Arc::clone(&TOKENIZER)
}

/// A tokenizer with the given tokens, of which the first two are special, and decoder.
pub(crate) fn with_decoder(tokens: &[String], decoder: &Value) -> Arc<Tokenizer> {
    let vocabulary: serde_json::Map<_, _> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), json!(id)))
        .collect();
    let special = |id: usize| {
        json!({"id": id, "content": tokens[id], "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true})
    };
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0), special(1)],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": decoder,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": true, "vocab": vocabulary, "merges": []},
    });
    Arc::new(Tokenizer::from_json(file.to_string().as_bytes()).unwrap())
}

/// SentencePiece as Llama 2 has it: byte tokens are 2 to 257, then text.
pub(crate) fn sentence_piece() -> Arc<Tokenizer> {
    let mut tokens = vec!["<s>".to_owned(), "</s>".to_owned()];
    tokens.extend((0..=0xff).map(|byte: u8| format!("<0x{byte:02X}>")));
    let text = ["▁", "▁hello", "▁world", "a", "é", "▁▁", "!", "字"];
    tokens.extend(text.map(str::to_owned));
    let decoder = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
    with_decoder(&tokens, &decoder)
}

pub(crate) fn metaspace() -> Arc<Tokenizer> {
    let tokens = ["<s>", "</s>", "▁", "▁hello", "▁world", "a", "é", "▁▁x"].map(str::to_owned);
    let decoder =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    with_decoder(&tokens, &decoder)
}

#[test]
fn text_survives_a_round_trip() {
    let tokenizer = byte_level();
    let check = |text: &str| {
        let ids = tokenizer.encode(text, false).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        let bytes: Vec<_> = ids
            .iter()
            .flat_map(|id| tokenizer.token_bytes(*id).unwrap())
            .collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    };
    check("Hello, world! 1234\n\n  x = 5;");
    check("naïve 🦀 漢字 \u{200d}");
    check("");
}

#[test]
fn special_tokens_are_recognised_and_can_be_left_out() {
    let tokenizer = byte_level();
    let ids = tokenizer.encode("<s>a</s>", false).unwrap();
    assert_eq!((ids.first(), ids.last()), (Some(&1), Some(&2)));
    assert!(tokenizer.is_special(1) && !tokenizer.is_special(ids[1]));
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "a");
    assert_eq!(tokenizer.token(1).unwrap(), "<s>");
    assert_eq!(tokenizer.id("</s>"), Some(2));
    assert_eq!(tokenizer.token_bytes(9_999_999), None);
}

#[test]
fn offsets_are_bytes_of_the_text() {
    let tokenizer = byte_level();
    let text = "naïve words 漢字 end";
    let encoding = tokenizer.encode_with_offsets(text, false).unwrap();
    assert_eq!(encoding.ids, tokenizer.encode(text, false).unwrap());
    let end = encoding.offsets.last().unwrap().clone();
    assert!(text[end].trim() == "end" || text.ends_with("end"));
    assert_eq!(encoding.offsets.last().unwrap().end, text.len());
    assert!(
        encoding
            .offsets
            .windows(2)
            .all(|pair| pair[0].start <= pair[1].start)
    );
}

#[test]
fn bytes_of_a_token_show_what_it_adds_inside_a_text() {
    let tokenizer = sentence_piece();
    let check = |token: &str, bytes: &[u8]| {
        let id = tokenizer.id(token).unwrap();
        assert_eq!(tokenizer.token_bytes(id).unwrap(), bytes);
    };
    check("▁hello", b" hello");
    check("<0xF0>", &[0xf0]);
    check("字", "字".as_bytes());
}

#[test]
fn a_broken_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_dir(directory.path())
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("tokenizer.json is missing"), "{error}");
    std::fs::write(directory.path().join("tokenizer.json"), "{}").unwrap();
    let error = Tokenizer::from_dir(directory.path())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("failed to parse") && error.contains("tokenizer.json"),
        "{error}"
    );
}
