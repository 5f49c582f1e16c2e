use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::tokenizer::tests::{byte_level, metaspace, sentence_piece, with_decoder};

/// Text of the tokens, pushed one by one after `prompt`.
fn stream(tokenizer: &Arc<Tokenizer>, prompt: &[u32], ids: &[u32], skip: bool) -> String {
    let mut detokenizer = Detokenizer::new(Arc::clone(tokenizer), prompt, skip);
    let mut text: String = ids.iter().filter_map(|id| detokenizer.push(*id)).collect();
    text.extend(detokenizer.finish());
    assert_eq!(detokenizer.finish(), None);
    text
}

/// What a prompt shows by itself, without a character that it leaves incomplete.
fn whole_characters(tokenizer: &Arc<Tokenizer>, prompt: &[u32], skip: bool) -> String {
    let mut detokenizer = Detokenizer::new(Arc::clone(tokenizer), &[], skip);
    prompt
        .iter()
        .filter_map(|id| detokenizer.push(*id))
        .collect()
}

#[test]
fn characters_are_never_split() {
    let tokenizer = byte_level();
    let text = "naïve 🦀 漢字!";
    let ids = tokenizer.encode(text, false).unwrap();
    let mut detokenizer = Detokenizer::new(Arc::clone(&tokenizer), &[], true);
    let pieces: Vec<_> = ids.iter().filter_map(|id| detokenizer.push(*id)).collect();
    assert!(pieces.len() < ids.len(), "the crab takes several tokens");
    assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')));
    assert_eq!(pieces.concat(), text);
    assert_eq!(detokenizer.finish(), None);
}

#[test]
fn an_incomplete_character_shows_at_the_end() {
    let tokenizer = sentence_piece();
    let bytes = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| u32::from(*byte) + 2)
            .collect::<Vec<_>>()
    };
    let check = |ids: &[u32], expected: &str| {
        assert_eq!(stream(&tokenizer, &[], ids, true), expected);
        assert_eq!(tokenizer.decode(ids, true).unwrap(), expected);
    };
    check(&bytes("🦀".as_bytes()), "🦀");
    check(&bytes(&[0xf0, 0x9f]), "\u{fffd}\u{fffd}");
    check(&bytes(b"\n\n"), "\n\n");
}

#[test]
fn the_first_space_is_cut_only_at_the_start_of_the_text() {
    let check = |tokenizer: &Arc<Tokenizer>| {
        let id = |token| tokenizer.id(token).unwrap();
        let ids = [1, id("▁hello"), id("▁world")];
        assert_eq!(stream(tokenizer, &[], &ids, true), "hello world");
        assert_eq!(stream(tokenizer, &ids[..1], &ids[1..], true), "hello world");
        assert_eq!(stream(tokenizer, &ids[..2], &ids[2..], true), " world");
        let long = [id("a"); 40];
        assert_eq!(stream(tokenizer, &long, &ids[2..], true), " world");
    };
    check(&sentence_piece());
    check(&metaspace());
}

#[test]
fn other_decoders_work_on_a_window() {
    let tokens = ["[CLS]", "[SEP]", "hello", "##ing", "world", "!"].map(str::to_owned);
    let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    let tokenizer = with_decoder(&tokens, &decoder);
    assert!(tokenizer.pieces().is_none());
    assert_eq!(
        stream(&tokenizer, &[], &[0, 2, 3, 4, 1], true),
        "helloing world"
    );
    assert_eq!(stream(&tokenizer, &[0, 2], &[3, 4], true), "ing world");
}

/// Ids of the vocabulary, and some beyond it.
fn any_ids(size: u32) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..size + 2, 0..60)
}

proptest! {
    #[test]
    fn incremental_equals_whole_for_byte_level(
        ids in any_ids(6000),
        // Mostly single bytes, which make characters that span tokens, and broken ones.
        bytes in prop::collection::vec(3_u32..259, 0..60),
        cut in any::<prop::sample::Index>(),
        skip: bool,
    ) {
        let tokenizer = byte_level();
        for ids in [ids, bytes] {
            let whole = tokenizer.decode(&ids, skip).unwrap();
            prop_assert_eq!(&stream(&tokenizer, &[], &ids, skip), &whole);
            let (prompt, generated) = ids.split_at(cut.index(ids.len() + 1));
            let shown = whole_characters(&tokenizer, prompt, skip);
            prop_assert_eq!(shown + &stream(&tokenizer, prompt, generated, skip), whole);
        }
    }

    #[test]
    fn incremental_equals_whole_for_sentence_piece(
        parts in prop::collection::vec(prop_oneof![
            // A token of text, or one that is not in the vocabulary.
            (258_u32..268).prop_map(|id| vec![id]),
            (0_u32..2).prop_map(|id| vec![id]),
            // A character written in bytes.
            any::<char>().prop_map(|char| char.to_string().bytes().map(|byte| u32::from(byte) + 2).collect()),
        ], 0..30),
        cut in any::<prop::sample::Index>(),
        skip: bool,
    ) {
        let tokenizer = sentence_piece();
        let ids = parts.concat();
        let whole = tokenizer.decode(&ids, skip).unwrap();
        prop_assert_eq!(&stream(&tokenizer, &[], &ids, skip), &whole);
        let (prompt, generated) = ids.split_at(cut.index(ids.len() + 1));
        let shown = whole_characters(&tokenizer, prompt, skip);
        prop_assert_eq!(shown + &stream(&tokenizer, prompt, generated, skip), whole);
    }

    #[test]
    fn invalid_bytes_never_take_text_with_them(ids in any_ids(266)) {
        let tokenizer = sentence_piece();
        let text = stream(&tokenizer, &[], &ids, true);
        let hellos = ids.iter().filter(|id| **id == tokenizer.id("▁hello").unwrap()).count();
        prop_assert_eq!(text.matches("hello").count(), hellos);
    }

    #[test]
    fn incremental_equals_whole_for_metaspace(ids in any_ids(8), skip: bool) {
        let tokenizer = metaspace();
        let whole = tokenizer.decode(&ids, skip).unwrap();
        prop_assert_eq!(stream(&tokenizer, &[], &ids, skip), whole);
    }
}
